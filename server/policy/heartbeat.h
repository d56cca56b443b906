// Whether a transport lives: the one owner of liveness. It is told what happens on the transport and decides when to
// beat and when to give the transport up. Beast's own timeouts are off.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/failure.h"
#include "base/frame.h"
#include "base/time.h"

namespace fairlead {

// Of fairlead.v1.Heartbeat, which documents each. Zero durations: never.
struct HeartbeatPolicy {
  enum class What { kPing, kText, kBinary };
  Duration interval = std::chrono::seconds(20);
  What what = What::kPing;
  std::string payload = {};
  Duration pong_timeout = std::chrono::seconds(10);
  Duration idle_timeout = Duration::zero();
  Match keepalive = {};
  Duration write_timeout = std::chrono::seconds(10);
};

// Fills in {unix_s}, {unix_ms} and {n}; other braces stand for themselves.
std::string FillTokens(const std::string& text, WallTime now, uint64_t n);

// Of one transport, from its handshake on.
class Heartbeat {
 public:
  Heartbeat(const HeartbeatPolicy& policy, SteadyTime now);

  // Another policy, as if the transport were new; a write under way still counts.
  void Adopt(const HeartbeatPolicy& policy, SteadyTime now);

  // What happened; true: it answered a heartbeat, whose round_trip there is now.
  bool Received(std::string_view payload, SteadyTime now);  // A frame: data, or a keepalive.
  bool Pong(SteadyTime now);
  void WriteBegan(SteadyTime now);
  void WriteEnded() { write_began_.reset(); }

  // What to do now. bytes_acknowledged counts what the peer's kernel has taken over: a write that is slow but moves is
  // not stuck.
  struct Verdict {
    bool beat = false;                           // Send a heartbeat, filled in by NextPayload.
    std::optional<Failure> dead = std::nullopt;  // Give the transport up.
  };
  Verdict Check(SteadyTime now, uint64_t bytes_acknowledged);
  std::string NextPayload(WallTime now) { return FillTokens(policy_.payload, now, ++beats_); }
  // A heartbeat is on its way; the next is due an interval later.
  void Beaten(SteadyTime now) { next_beat_ = now + policy_.interval; }
  // Its write begins; it waits for its answer from now on, and not while it stands behind a long write.
  void BeatBegan(SteadyTime now);

  // When to check again; absent: only when something happens. Checking early does no harm.
  std::optional<SteadyTime> Next() const;

  const HeartbeatPolicy& policy() const { return policy_; }
  // Of the last answered heartbeat.
  std::optional<Duration> round_trip() const { return round_trip_; }

 private:
  bool Answered(SteadyTime now);

  HeartbeatPolicy policy_;
  SteadyTime next_beat_;
  SteadyTime last_data_;
  std::optional<SteadyTime> unanswered_since_;
  std::optional<SteadyTime> write_began_;
  uint64_t bytes_acknowledged_ = 0;
  uint64_t beats_ = 0;
  std::optional<Duration> round_trip_;
};

}  // namespace fairlead
