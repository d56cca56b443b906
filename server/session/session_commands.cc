// A session's commands: what its owner wants written, and what becomes of it. The rest of the class is in session.cc.
#include <algorithm>
#include <utility>

#include "session/session.h"

namespace fairlead {

void Session::Send(SendCommand command) {
  if (!command.answers.empty()) return AnswerStep(std::move(command));
  Outgoing item{.what = Outgoing::What::kSend,
                .kind = command.kind,
                .payload = std::move(command.payload),
                .id = command.id,
                .setup_key = std::move(command.setup_key),
                .forget_setup_keys = std::move(command.forget_setup_keys)};
  if (!item.setup_key.empty()) {
    // What waits to be stored counts already: the limits hold whatever becomes of it.
    const SetupStep* replaced = setup_.Find(item.setup_key);
    if (replaced == nullptr && setup_.size() + reserved_setup_steps_ >= around_.limits.setup_steps) {
      return Tell(item, generation(), Outcome::kNotSent,
                  NotSent(Reason::kLimitReached, "limits.setup_steps are stored").error());
    }
    const size_t kept = setup_.bytes() - (replaced == nullptr ? 0 : Setup::Bytes(*replaced));
    if (kept + reserved_setup_bytes_ + item.payload.size() > around_.limits.setup_bytes) {
      return Tell(item, generation(), Outcome::kNotSent,
                  NotSent(Reason::kLimitReached, "limits.setup_bytes are stored").error());
    }
    item.reserves_setup = true;
    ++reserved_setup_steps_;
    reserved_setup_bytes_ += item.payload.size();
  }
  Accept(std::move(item), command.generation, command.max_wait);
}

void Session::Ping(uint64_t id, std::string payload) {
  Outgoing item{.what = Outgoing::What::kPing, .ping_frame = true, .payload = std::move(payload), .id = id};
  const size_t limit = around_.limits.unanswered_pings;
  if (leg_ && leg_->UnansweredPings() >= limit) {
    return Tell(item, generation(), Outcome::kNotSent,
                NotSent(Reason::kLimitReached,
                        "limits.unanswered_pings, " + std::to_string(limit) + ": pings wait for their pong")
                    .error());
  }
  Accept(std::move(item), /*generation=*/0, Duration::zero());
}

void Session::Accept(Outgoing item, uint64_t generation, Duration max_wait) {
  const auto refuse = [&](Reason reason, std::string message) {
    Tell(item, this->generation(), Outcome::kNotSent, Failure{reason, Phase::kNotSent, std::move(message)});
  };
  const bool open = state() == State::kOpen && !leaving();
  if (closed() || closing_) return refuse(Reason::kNotOpen, "the session is closing");
  if (generation != 0 && (!open || generation != this->generation())) {
    return refuse(Reason::kWrongGeneration, "the transport is of generation " + std::to_string(this->generation()) +
                                                (open ? "" : " and not OPEN") + ", the command is for " +
                                                std::to_string(generation));
  }
  if (!open && max_wait == Duration::zero()) {
    return refuse(Reason::kNotOpen,
                  "the session is " + std::string(Name(state())) + "; a max_wait would wait for OPEN");
  }
  if (auto room = CheckRoom(item); !room) return Tell(item, this->generation(), Outcome::kNotSent, room.error());
  if (open) return leg_->Bind(std::move(item));
  waiting_.Wait(std::move(item), around_.timers.Now() + max_wait);
  OutboxChanged();
  ArmExpiry();
}

Result<void> Session::CheckRoom(const Outgoing& item) const {
  const size_t bytes = kOutgoingBytes + item.payload.size();
  const Limits& limits = around_.limits;
  if (counted_send_bytes_ + bytes > limits.send_queue_bytes) {
    return NotSent(Reason::kLimitReached, "limits.send_queue_bytes, " + std::to_string(limits.send_queue_bytes) +
                                              ": sends of this session are waiting to be written");
  }
  if (around_.send_queue_bytes + bytes > limits.total_send_queue_bytes) {
    return NotSent(Reason::kLimitReached, "limits.total_send_queue_bytes, " +
                                              std::to_string(limits.total_send_queue_bytes) +
                                              ": sends of all sessions are waiting to be written");
  }
  return around_.access.Get()->CheckCap(identity_, Cap::kSendQueueBytes,
                                        around_.send_queue_bytes_of[identity_] + bytes);
}

// There is an OPEN transport for what waited for one.
void Session::ReleaseWaiting() {
  for (Outgoing& item : waiting_.Release()) leg_->Bind(std::move(item));
  ArmExpiry();
}

void Session::ArmExpiry() {
  const std::optional<SteadyTime> next = waiting_.NextDeadline();
  if (!next) return expiry_timer_->Cancel();
  expiry_timer_->At(*next, [this] {
    for (const Outgoing& item : waiting_.Expired(around_.timers.Now())) {
      Tell(item, generation(), Outcome::kNotSent,
           Failure{Reason::kWaitExpired, Phase::kNotSent,
                   "no OPEN transport within max_wait; the session is " + std::string(Name(state()))});
    }
    OutboxChanged();
    ArmExpiry();
  });
}

void Session::Written(Leg& leg, const Outgoing& item) {
  if (!item.ping_frame) ++counts_.sent_frames;
  counts_.sent_bytes += item.payload.size();
  if (!item.ping_frame) ++around_.measures.frames_out;
  around_.measures.bytes_out += item.payload.size();
  Remember(leg, item);
  Tell(item, leg.generation(), Outcome::kWritten);
}

// Write and memory change in one step: what the exchange has, or may have, is what the next transport gets, and one
// that has begun with what was stored before.
void Session::Remember(const Leg& leg, const Outgoing& item) {
  if (item.what != Outgoing::What::kSend || (item.setup_key.empty() && item.forget_setup_keys.empty())) return;
  for (const std::string& key : item.forget_setup_keys) setup_.Forget(key);
  if (!item.setup_key.empty()) setup_.Store({.key = item.setup_key, .payload = item.payload, .kind = item.kind});
  for (Leg* other : {leg_.get(), second_.get()}) {
    if (other == nullptr || other == &leg || other->generation() == 0) continue;
    other->BindAfterSetup({.what = Outgoing::What::kCopy, .kind = item.kind, .payload = item.payload});
  }
}

void Session::Reconnect(uint64_t id, bool make_before_break) {
  if (closed() || closing_) {
    return Tell(id, generation(), Outcome::kNotSent,
                Failure{Reason::kNotOpen, Phase::kNotSent, "the session is closing"});
  }
  Tell(id, generation(), Outcome::kDone);
  const Failure cause{Reason::kReconnectRequested, Phase::kUnspecified, "the owner asked for a new transport"};
  if (leg_ && leg_->connected()) {
    if (leaving()) return;
    if (!make_before_break) return leg_->Close({.cause = cause});
    if (state() == State::kOpen) Rotate(cause);
  } else if (state() == State::kReconnecting) {
    retry_timer_->Cancel();
    RetryDue();
  }
}

void Session::SetTarget(Target target) { target_ = std::move(target); }

Result<void> Session::Answer(uint64_t number, std::optional<Target> target) {
  const auto all = AllLegs();
  const auto asking = std::ranges::find_if(all, [number](const Leg* leg) {
    return leg != nullptr && leg->question() && leg->question()->key.empty() && leg->question()->number == number;
  });
  if (asking == all.end()) {
    return NotSent(Reason::kNotAsked, "answer.number: nothing with this number is asked before a dial" +
                                          std::string(number < questions_ ? " any more" : ""));
  }
  if (target) target_ = std::move(*target);
  (*asking)->AnswerDial(target_);
  return {};
}

// The owner's frame for a step that asks: written now, though the session is not OPEN.
void Session::AnswerStep(SendCommand command) {
  Outgoing item{.what = Outgoing::What::kSetup,
                .kind = command.kind,
                .payload = std::move(command.payload),
                .id = command.id,
                .setup_key = std::move(command.answers)};
  const auto refuse = [&](Reason reason, std::string message) {
    Tell(item, generation(), Outcome::kNotSent, Failure{reason, Phase::kNotSent, std::move(message)});
  };
  const auto all = AllLegs();
  const auto opening = std::ranges::find_if(all, [&](const Leg* leg) {
    return leg != nullptr && leg->generation() == command.generation && !leg->ready() && !leg->leaving();
  });
  if (opening == all.end()) {
    return refuse(Reason::kWrongGeneration, "no transport of generation " + std::to_string(command.generation) +
                                                " is being set up; the session's is of generation " +
                                                std::to_string(generation()));
  }
  if (auto room = CheckRoom(item); !room) return Tell(item, command.generation, Outcome::kNotSent, room.error());
  if (!(*opening)->AnswerStep(item))
    refuse(Reason::kNotAsked, "send.answers: setup step \"" + item.setup_key + "\" is not being asked for");
}

// Every send comes by here once, whatever becomes of it.
void Session::Tell(const Outgoing& item, uint64_t generation, Outcome outcome, std::optional<Failure> failure) {
  if (item.reserves_setup) {
    --reserved_setup_steps_;
    reserved_setup_bytes_ -= item.payload.size();
  }
  Tell(item.id, generation, outcome, std::move(failure));
}

void Session::Tell(uint64_t id, uint64_t generation, Outcome outcome, std::optional<Failure> failure) {
  if (id == 0) return;
  Append({.generation = generation,
          .time = around_.timers.WallNow(),
          .what = std::make_unique<CommandResult>(CommandResult{id, outcome, std::move(failure)})},
         0);
}

}  // namespace fairlead
