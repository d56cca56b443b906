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
  // OPEN, and of two transports; what meets its own, or the session.
  kBesideDial,     // Another is dialled, or waits for its dial.
  kBesideOpening,  // Another is being set up.
  kBesideOpen,     // Another is set up.
  kOverlap,        // It has taken the place of another, which is still read.
  // What meets the other one.
  kSecondOpening,
  kSecondOpen,
  kRetiring,
};
inline constexpr size_t kPlaces = 14;

enum class Fault : size_t {
  // Of a transport.
  kDrop,
  kCloseFrame,
  kGoingAway,
  kHalfClose,
  kShutdown,
  kSilence,
  kStall,
  kPartialWrite,
  kIdleTimeout,
  kPongTimeout,
  kWriteTimeout,
  kMaxAge,
  kLegLags,
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
  kReconnectBeside,
  kHold,
  kOvertaken,
  kQueueFull,
  kDrain,
};
inline constexpr size_t kFaults = 30;

// What a session may have beside its own transport, and how it knows copies.
enum class Kind : size_t { kOne, kRotates, kRotatesPayload, kRotatesPointer, kTwoPayload, kTwoPointer };
inline constexpr size_t kKinds = 6;
// What comes of second transports.
enum class Turn : size_t {
  kMet,             // It has taken the place: the two had met.
  kOverdue,         // The same, and they had not.
  kAfterLoss,       // The same, because the other was lost.
  kAdoptedDial,     // The other was lost while it was being dialled.
  kAdoptedOpening,  // The other was lost while it was being set up.
  kDialFailed,
  kLostInSetup,
  kLostOpen,
  kRetired,       // As announced.
  kRetiredEarly,  // It was lost in the overlap.
  kBothLost,      // The session's own in the overlap, and the retiring one was there.
  kTakenOver,     // Another owner came while there was a second.
};
inline constexpr size_t kTurns = 12;

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
  void Reached(Kind kind, Turn turn) { ++turns_[static_cast<size_t>(turn)][static_cast<size_t>(kind)]; }
  // How much there was to check.
  struct Sums {
    uint64_t sessions = 0;
    uint64_t blind_sessions = 0;  // Of which the model lost sight.
    uint64_t transports = 0;
    uint64_t entries = 0;
    uint64_t commands = 0;
    uint64_t copies = 0;
    uint64_t unsure = 0;  // Frames that could be a copy or not.
  };
  Sums sums;

  // A line a fault, a column a place; behind it, why some are impossible.
  std::string Text() const;
  // The cells that were reached less often than this, and those that were reached though said to be impossible.
  std::vector<std::string> Complaints(uint64_t least) const;

 private:
  std::array<std::array<uint64_t, kPlaces>, kFaults> counts_{};
  std::array<std::array<uint64_t, kKinds>, kTurns> turns_{};
};

}  // namespace fairlead::simulation
