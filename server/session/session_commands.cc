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
      return Tell(item, Outcome::kNotSent, NotSent(Reason::kLimitReached, "limits.setup_steps are stored").error());
    }
    const size_t kept = setup_.bytes() - (replaced == nullptr ? 0 : Setup::Bytes(*replaced));
    if (kept + reserved_setup_bytes_ + item.payload.size() > around_.limits.setup_bytes) {
      return Tell(item, Outcome::kNotSent, NotSent(Reason::kLimitReached, "limits.setup_bytes are stored").error());
    }
    item.reserves_setup = true;
    ++reserved_setup_steps_;
    reserved_setup_bytes_ += item.payload.size();
  }
  Accept(std::move(item), command.generation, command.max_wait);
}

void Session::Ping(uint64_t id, std::string payload) {
  Outgoing item{.what = Outgoing::What::kPing, .ping_frame = true, .payload = std::move(payload), .id = id};
  const auto unanswered = std::ranges::count(pings_, false, &PingUnderWay::heartbeat);
  const size_t limit = around_.limits.unanswered_pings;
  if (static_cast<size_t>(unanswered) >= limit) {
    return Tell(item, Outcome::kNotSent,
                NotSent(Reason::kLimitReached,
                        "limits.unanswered_pings, " + std::to_string(limit) + ": pings wait for their pong")
                    .error());
  }
  Accept(std::move(item), /*generation=*/0, Duration::zero());
}

void Session::Accept(Outgoing item, uint64_t generation, Duration max_wait) {
  const auto refuse = [&](Reason reason, std::string message) {
    Tell(item, Outcome::kNotSent, Failure{reason, Phase::kNotSent, std::move(message)});
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
  if (auto room = CheckRoom(item); !room) return Tell(item, Outcome::kNotSent, room.error());
  if (open) {
    return Bind(std::move(item));
  }
  outbox_.Wait(std::move(item), around_.timers.Now() + max_wait);
  CountOutbox();
  ArmExpiry();
}

Result<void> Session::CheckRoom(const Outgoing& item) const {
  const size_t bytes = Outbox::kItemBytes + item.payload.size();
  const Limits& limits = around_.limits;
  if (outbox_.bytes() + bytes > limits.send_queue_bytes) {
    return NotSent(Reason::kLimitReached, "limits.send_queue_bytes, " + std::to_string(limits.send_queue_bytes) +
                                              ": sends of this session are waiting to be written");
  }
  if (around_.send_queue_bytes + bytes > limits.total_send_queue_bytes) {
    return NotSent(Reason::kLimitReached, "limits.total_send_queue_bytes, " +
                                              std::to_string(limits.total_send_queue_bytes) +
                                              ": sends of all sessions are waiting to be written");
  }
  return {};
}

void Session::ArmExpiry() {
  const std::optional<SteadyTime> next = outbox_.NextDeadline();
  if (!next) return expiry_timer_->Cancel();
  expiry_timer_->At(*next, [this] {
    for (const Outgoing& item : outbox_.Expired(around_.timers.Now())) {
      Tell(item, Outcome::kNotSent,
           Failure{Reason::kWaitExpired, Phase::kNotSent,
                   "no OPEN transport within max_wait; the session is " + std::string(Name(state()))});
    }
    CountOutbox();
    ArmExpiry();
  });
}

// Goes out on the transport that is there. Pings count as under way from here on: their limit holds for those that
// wait, too.
void Session::Bind(Outgoing item) {
  if (item.ping_frame) {
    const bool heartbeat = item.what == Outgoing::What::kHeartbeat;
    // A heartbeat stands for those before it, which a peer may never answer.
    if (heartbeat) std::erase_if(pings_, [](const PingUnderWay& ping) { return ping.heartbeat; });
    pings_.push_back({item.payload, std::nullopt, heartbeat});
  }
  outbox_.Bind(std::move(item));
  Pump();
}

// One write is under way at a time.
void Session::Pump() {
  if (transport_ && !leaving()) {
    if (const Outgoing* next = outbox_.Next()) {
      const SteadyTime now = around_.timers.Now();
      heartbeat_->WriteBegan(now);
      if (next->what == Outgoing::What::kHeartbeat) heartbeat_->BeatBegan(now);
      ArmLiveness();
      if (next->ping_frame) {
        std::ranges::find_if(pings_, [](const PingUnderWay& ping) { return !ping.sent_at; })->sent_at = now;
        transport_->Ping(next->payload);
      } else {
        transport_->Write(next->kind, next->payload);
      }
    }
  }
  CountOutbox();
}

void Session::Written() {
  const Outgoing item = outbox_.Written();
  heartbeat_->WriteEnded();
  if (!item.ping_frame) ++counts_.sent_frames;
  counts_.sent_bytes += item.payload.size();
  if (item.what == Outgoing::What::kHeartbeat) heartbeat_queued_ = false;
  Remember(item);
  Tell(item, Outcome::kWritten);
  Pump();
  if (item.what == Outgoing::What::kSetup && state() == State::kOpening && !leaving())
    GoOn(setup_.Written(item.setup_key));
}

// Write and memory change in one step: what the exchange has, or may have, is what the next transport gets.
void Session::Remember(const Outgoing& item) {
  if (item.what != Outgoing::What::kSend) return;
  for (const std::string& key : item.forget_setup_keys) setup_.Forget(key);
  if (!item.setup_key.empty()) setup_.Store({.key = item.setup_key, .payload = item.payload, .kind = item.kind});
}

void Session::Reconnect(uint64_t id) {
  if (closed() || closing_) {
    return Tell(id, Outcome::kNotSent, Failure{Reason::kNotOpen, Phase::kNotSent, "the session is closing"});
  }
  Tell(id, Outcome::kDone);
  if (transport_) {
    if (!leaving()) {
      Say({.cause = {Reason::kReconnectRequested, Phase::kUnspecified, "the owner asked for a new transport"}}, {});
    }
  } else if (state() == State::kReconnecting) {
    retry_timer_->Cancel();
    RetryDue();
  }
}

// Every send comes by here once, whatever becomes of it.
void Session::Tell(const Outgoing& item, Outcome outcome, std::optional<Failure> failure) {
  if (item.reserves_setup) {
    --reserved_setup_steps_;
    reserved_setup_bytes_ -= item.payload.size();
  }
  Tell(item.id, outcome, std::move(failure));
}

void Session::Tell(uint64_t id, Outcome outcome, std::optional<Failure> failure) {
  if (id == 0) return;
  Append({.generation = generation(),
          .time = around_.timers.WallNow(),
          .what = std::make_unique<CommandResult>(CommandResult{id, outcome, std::move(failure)})},
         0);
}

}  // namespace fairlead
