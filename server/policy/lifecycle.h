// The states of a session, and what leads from one to the next. Decides; session/ does.
//
//   CONNECTING --Dialled--> OPENING --SetUp--> OPEN
//       ^                      |                 |
//    RetryDue                 Lost              Lost
//       |                      v                 v
//   RECONNECTING <-------------+-----------------+       (Lost while CONNECTING too)
//       |
//      Park --> WAITING --OwnerCame--> CONNECTING
//
//   Replaced keeps OPEN: another transport takes the place of the session's own, which need not have been lost.
//
//   Lost leads to CLOSED instead when it is fatal, when reconnecting is off, and when attempts or outage are used up;
//   Close always does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/failure.h"
#include "base/time.h"
#include "policy/backoff.h"

namespace fairlead {

// Values equal those of fairlead.v1.SessionState.
enum class State : int { kConnecting = 1, kOpening = 2, kOpen = 3, kWaiting = 4, kReconnecting = 5, kClosed = 6 };

// "RECONNECTING".
std::string_view Name(State state);

// How two transports met; fairlead.v1.Overlap documents each field.
struct Overlap {
  uint64_t frames = 0;
  uint64_t copies = 0;
  bool may_be_missing = true;
  friend bool operator==(const Overlap&, const Overlap&) = default;
};

// What subscribers are told of a change; fairlead.v1.StateChanged documents each field.
struct StateChange {
  State state = State::kConnecting;
  uint64_t generation = 0;
  std::optional<Failure> cause = std::nullopt;
  uint16_t close_code = 0;
  std::string close_reason = {};
  uint32_t attempt = 0;
  std::optional<Duration> retry_in = std::nullopt;
  std::optional<WallTime> blind_from = std::nullopt;
  std::optional<WallTime> blind_until = std::nullopt;
  std::optional<Overlap> overlap = std::nullopt;
};

// Why there is no transport: one ended, or a dial or setup failed.
struct Loss {
  Failure cause;
  bool fatal = false;  // Trying again cannot help.
  uint16_t close_code = 0;
  std::string close_reason = {};
  std::optional<WallTime> last_heard = std::nullopt;  // Absent: there was no transport to hear.
};

class Lifecycle {
 public:
  explicit Lifecycle(const ReconnectPolicy& policy) : policy_(policy), backoff_(policy) {}

  // Each returns what to announce; its state says what the driver does next: CONNECTING: dial; OPENING: run the setup;
  // OPEN: write what waits; RECONNECTING: call RetryDue, or Park, after retry_in; WAITING: call OwnerCame when one
  // does; CLOSED: end.
  StateChange Start(SteadyTime now);
  StateChange Dialled(WallTime heard, uint64_t generation);
  StateChange SetUp(SteadyTime now);
  // draw is from [0, 1): the jitter.
  StateChange Lost(SteadyTime now, const Loss& loss, double draw);
  StateChange RetryDue();
  // The next dial needs an owner, and there is none.
  StateChange Park();
  StateChange OwnerCame(SteadyTime now);
  StateChange Close(const Loss& loss);

  // Of each transport that is there, the session's own or one beside it; Dialled tells which is its own.
  uint64_t NextGeneration() { return ++newest_generation_; }
  // While OPEN: the one of this generation has taken the place of the session's own.
  StateChange Replaced(SteadyTime now, SteadyTime opened_at, uint64_t generation, const Loss& old, Overlap overlap);
  // Whether the transport has been OPEN for so long that what befalls it now is no failure to get one.
  bool IsStable(SteadyTime now) const;

  // From now on. The pause under way is not changed, and what has failed in a row still counts.
  void Adopt(const ReconnectPolicy& policy) {
    policy_ = policy;
    backoff_ = Backoff(policy);
  }

  // How old the transport that has just been dialled may become; draw is from [0, 1). Absent: any age.
  std::optional<Duration> DrawMaxAge(double draw) const;

  State state() const { return state_; }
  uint64_t generation() const { return generation_; }
  uint64_t newest_generation() const { return newest_generation_; }

 private:
  // The only place where the state changes.
  StateChange Enter(State state);
  // The transport was stable: what failed before counts no more.
  void Recover(SteadyTime now);

  ReconnectPolicy policy_;
  Backoff backoff_;
  State state_ = State::kConnecting;
  uint64_t generation_ = 0;  // Of the session's transport, or of its last.
  uint64_t newest_generation_ = 0;
  uint32_t failed_in_a_row_ = 0;
  SteadyTime outage_began_;
  SteadyTime opened_at_;
  std::optional<WallTime> last_heard_;
};

}  // namespace fairlead
