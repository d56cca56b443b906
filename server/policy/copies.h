// Which frames are copies of frames that another transport of the session has brought already. Decides; session/ does.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "policy/frame_key.h"

namespace fairlead {

// Of fairlead.v1.Dedupe, which documents each.
struct Dedupe {
  std::string json_pointer = {};  // Empty: the whole payload.
  Duration window = std::chrono::seconds(5);

  friend bool operator==(const Dedupe&, const Dedupe&) = default;
};

// Two transports at most are there at once: each has a lane, 0 or 1.
//
// Of a key the transports together bring as many frames as the one that has brought the most: the first of each are
// passed on, the others are copies.
class Copies {
 public:
  // At most max_keys are remembered: those that came last.
  Copies(Dedupe dedupe, size_t max_keys);

  // A transport is being made, or is there: keys are remembered from now on.
  void Begin(size_t lane);
  // It is there. Whole payloads may repeat: none that came before now is one of which it may bring a copy. A key that
  // stands in the frame names one frame, whenever it came.
  void Join(size_t lane);
  // It brings, from now on, what the exchange sends: before, it can neither win nor miss anything.
  void Open(size_t lane, SteadyTime now);
  // It is gone; the other one may still bring copies of what it has brought.
  void End(size_t lane, SteadyTime now);

  // A frame came on this lane: whether it is a copy.
  bool IsCopy(size_t lane, std::string_view payload, SteadyTime now);

  // For how long this lane has not brought what the other one has; zero: it is not behind.
  Duration Behind(size_t lane, SteadyTime now) const;

  // Of the latest transport of this lane.
  struct Tally {
    uint64_t copies = 0;
    uint64_t wins = 0;    // Brought while the other was there, too, and before it.
    uint64_t misses = 0;  // Brought by the other, and not by it within the window.
    std::optional<Duration> lag_p50 = std::nullopt;
    std::optional<Duration> lag_p99 = std::nullopt;
  };
  Tally TallyOf(size_t lane, SteadyTime now);

  // Since the latest Join: how many were copies of what the other one had brought. Not zero: the two bring the same
  // stream, and nothing between the one and the other is missing.
  uint64_t met() const { return met_; }

  size_t keys() const { return known_.size(); }

 private:
  // What is known of a key.
  struct Known {
    SteadyTime passed_at;  // The latest that was passed on.
    SteadyTime seen_at;
    uint32_t passed = 0;
    std::array<uint32_t, 2> brought = {};
    std::array<bool, 2> came = {};  // On the latest transport of each lane; one before it proves nothing of it.
    SteadyTime since;               // When it was first seen.
  };
  struct Lane {
    bool begun = false;
    bool open = false;
    SteadyTime opened_at;
    std::optional<SteadyTime> behind_since;  // The oldest that it has not brought; absent: it is not behind.
    SteadyTime newest;                       // Of what it brought: when that was first brought.
    uint64_t copies = 0;
    uint64_t wins = 0;
    uint64_t misses = 0;
    std::vector<Duration> lags;  // The latest, as a ring.
    size_t next_lag = 0;
  };
  static constexpr size_t kLags = 1024;

  bool Active(SteadyTime now) const;
  void Expire(SteadyTime now);

  Dedupe dedupe_;
  size_t max_keys_;
  FrameKeys keys_;
  absl::flat_hash_map<FrameKey, Known> known_;
  // In the order in which they were last looked at.
  struct Due {
    SteadyTime at;
    FrameKey key;
  };
  std::deque<Due> due_;
  std::array<Lane, 2> lanes_;
  uint64_t met_ = 0;
  std::optional<SteadyTime> remembers_until_;  // Of what an ended one has brought.
};

}  // namespace fairlead
