// Which fault has met a session in which place, and how often: a simulation that never reaches a pair says nothing of
// it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead::simulation {

// Where a session is when a fault meets it. The first that holds, from the last to the first.
enum class Place : size_t {
  kConnecting,
  kOpening,
  kOpen,
  kReconnecting,
  kLingering,  // In any of the above, without a subscriber.
  kGoodbye,    // Our close frame is out, and the transport has not ended.
  kClosed,     // And still readable.
};
inline constexpr size_t kPlaces = 7;

enum class Fault : size_t {
  // Of a transport.
  kDrop,
  kCloseFrame,
  kHalfClose,
  kSilence,
  kStall,
  kPartialWrite,
  kIdleTimeout,
  kPongTimeout,
  kWriteTimeout,
  kMaxAge,
  kGoodbyeUnanswered,
  // Of a setup.
  kStepRejected,
  kStepTimeout,
  // Of a dial.
  kRefused,
  kDialTimeout,
  kRetryAfter,
  kForbidden,
  // Of adapters.
  kLeave,
  kJoin,
  kOpen,
  kClose,
  kReconnect,
  kHold,
  kOvertaken,
  kQueueFull,
  kDrain,
};
inline constexpr size_t kFaults = 26;

std::string_view Name(Place place);
std::string_view Name(Fault fault);
// Why the two cannot meet; empty: they can.
std::string_view Impossible(Place place, Fault fault);

class Table {
 public:
  void Reached(Place place, Fault fault) { ++counts_[static_cast<size_t>(fault)][static_cast<size_t>(place)]; }
  uint64_t count(Place place, Fault fault) const {
    return counts_[static_cast<size_t>(fault)][static_cast<size_t>(place)];
  }
  // How much there was to check.
  struct Sums {
    uint64_t sessions = 0;
    uint64_t blind_sessions = 0;  // Of which the model lost sight.
    uint64_t transports = 0;
    uint64_t entries = 0;
    uint64_t commands = 0;
  };
  Sums sums;

  // A line a fault, a column a place; behind it, why some are impossible.
  std::string Text() const;
  // The cells that were reached less often than this, and those that were reached though said to be impossible.
  std::vector<std::string> Complaints(uint64_t least) const;

 private:
  std::array<std::array<uint64_t, kPlaces>, kFaults> counts_{};
};

}  // namespace fairlead::simulation
