#include "policy/lifecycle.h"

#include <algorithm>
#include <cassert>

namespace fairlead {
namespace {

// So much of max_age is taken off at most: sessions that began together do not end together.
constexpr double kAgeJitter = 0.1;

// RFC 6455 section 7.4.1, and the IANA registry of close codes.
constexpr uint16_t kGoingAway = 1001;
constexpr uint16_t kServiceRestart = 1012;

// The end of a session that ran out of something: the reason says of what, the message keeps the last cause.
Failure RanOut(Reason reason, const std::string& what, const Failure& last) {
  return Failure{reason, last.phase, what + "; last: " + std::string(Name(last.reason)) + ": " + last.message};
}

}  // namespace

std::string_view Name(State state) {
  switch (state) {
    case State::kConnecting:
      return "CONNECTING";
    case State::kOpening:
      return "OPENING";
    case State::kOpen:
      return "OPEN";
    case State::kWaiting:
      return "WAITING";
    case State::kReconnecting:
      return "RECONNECTING";
    case State::kClosed:
      return "CLOSED";
  }
  return "UNSPECIFIED";
}

StateChange Lifecycle::Enter(State state) {
  assert(state_ != State::kClosed);
  state_ = state;
  return StateChange{.state = state, .generation = generation_};
}

StateChange Lifecycle::Start(SteadyTime now) {
  outage_began_ = now;
  return RetryDue();
}

StateChange Lifecycle::RetryDue() {
  StateChange change = Enter(State::kConnecting);
  change.attempt = failed_in_a_row_ + 1;
  return change;
}

StateChange Lifecycle::Park() { return Enter(State::kWaiting); }

StateChange Lifecycle::OwnerCame(SteadyTime now) {
  outage_began_ = now;  // What went before was no outage of the exchange's.
  return RetryDue();
}

StateChange Lifecycle::Dialled(WallTime heard, uint64_t generation) {
  generation_ = generation;
  StateChange change = Enter(State::kOpening);
  if (last_heard_) {
    change.blind_from = last_heard_;
    change.blind_until = std::max(heard, *last_heard_);
  }
  return change;
}

StateChange Lifecycle::SetUp(SteadyTime now) {
  opened_at_ = now;
  return Enter(State::kOpen);
}

StateChange Lifecycle::Replaced(SteadyTime now, SteadyTime opened_at, uint64_t generation, const Loss& old,
                                Overlap overlap) {
  assert(state_ == State::kOpen);
  if (IsStable(now)) Recover(now);
  if (old.last_heard) last_heard_ = old.last_heard;
  generation_ = generation;
  opened_at_ = opened_at;
  StateChange change = Enter(State::kOpen);
  change.cause = old.cause;
  change.close_code = old.close_code;
  change.close_reason = old.close_reason;
  change.overlap = overlap;
  return change;
}

void Lifecycle::Recover(SteadyTime now) {
  failed_in_a_row_ = 0;
  backoff_.Reset();
  outage_began_ = now;
}

bool Lifecycle::IsStable(SteadyTime now) const {
  return state_ == State::kOpen && now - opened_at_ >= policy_.stable_after;
}

StateChange Lifecycle::Lost(SteadyTime now, const Loss& loss, double draw) {
  const Reason reason = loss.cause.reason;
  // The exchange has not failed.
  const bool requested =
      reason == Reason::kReconnectRequested || reason == Reason::kMaxAge || reason == Reason::kNoOwner;
  const bool stable = IsStable(now);
  const bool first = failed_in_a_row_ == 0;
  if (loss.last_heard) last_heard_ = loss.last_heard;
  if (stable) {
    Recover(now);
  } else if (!requested) {
    ++failed_in_a_row_;
  }

  if (loss.fatal || (!policy_.enabled && !requested)) return Close(loss);
  if (policy_.max_attempts != 0 && failed_in_a_row_ >= policy_.max_attempts) {
    Loss end = loss;
    end.cause =
        RanOut(Reason::kAttemptsExhausted,
               "reconnect.max_attempts: " + std::to_string(failed_in_a_row_) + " dials failed in a row", loss.cause);
    return Close(end);
  }
  // The exchange makes room for another transport; but where that ends in the same way, dials are spaced.
  const bool going = loss.close_code == kGoingAway || loss.close_code == kServiceRestart;
  const bool announced =
      state_ == State::kOpen && (reason == Reason::kShutdownAnnounced || (reason == Reason::kPeerClosed && going));
  const bool at_once = requested || (stable && policy_.first_retry_at_once) || (announced && (stable || first));
  Duration pause = at_once ? Duration::zero() : backoff_.Next(draw);
  if (loss.cause.retry_after && *loss.cause.retry_after > pause) pause = *loss.cause.retry_after;
  if (policy_.max_outage != Duration::zero() && now + pause - outage_began_ > policy_.max_outage) {
    Loss end = loss;
    end.cause = RanOut(Reason::kOutageExhausted, "reconnect.max_outage: the outage would outlast it", loss.cause);
    return Close(end);
  }

  StateChange change = Enter(State::kReconnecting);
  change.cause = loss.cause;
  change.close_code = loss.close_code;
  change.close_reason = loss.close_reason;
  change.attempt = failed_in_a_row_ + 1;
  change.retry_in = pause;
  return change;
}

std::optional<Duration> Lifecycle::DrawMaxAge(double draw) const {
  if (policy_.max_age == Duration::zero()) return std::nullopt;
  return std::chrono::duration_cast<Duration>(policy_.max_age * (1 - kAgeJitter * draw));
}

StateChange Lifecycle::Close(const Loss& loss) {
  StateChange change = Enter(State::kClosed);
  change.cause = loss.cause;
  change.close_code = loss.close_code;
  change.close_reason = loss.close_reason;
  return change;
}

}  // namespace fairlead
