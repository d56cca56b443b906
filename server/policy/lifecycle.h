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
  StateChange Dialled(WallTime heard);
  StateChange SetUp(SteadyTime now);
  // draw is from [0, 1): the jitter.
  StateChange Lost(SteadyTime now, const Loss& loss, double draw);
  StateChange RetryDue();
  // The next dial needs an owner, and there is none.
  StateChange Park();
  StateChange OwnerCame(SteadyTime now);
  StateChange Close(const Loss& loss);

  // From now on. The pause under way is not changed, and what has failed in a row still counts.
  void Adopt(const ReconnectPolicy& policy) {
    policy_ = policy;
    backoff_ = Backoff(policy);
  }

  // How old the transport that has just been dialled may become; draw is from [0, 1). Absent: any age.
  std::optional<Duration> DrawMaxAge(double draw) const;

  State state() const { return state_; }
  uint64_t generation() const { return generation_; }

 private:
  // The only place where the state changes.
  StateChange Enter(State state);

  ReconnectPolicy policy_;
  Backoff backoff_;
  State state_ = State::kConnecting;
  uint64_t generation_ = 0;
  uint32_t failed_in_a_row_ = 0;
  SteadyTime outage_began_;
  SteadyTime opened_at_;
  std::optional<WallTime> last_heard_;
};

}  // namespace fairlead
