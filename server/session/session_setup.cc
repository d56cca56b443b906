// What a session does on each new transport before it is OPEN, and what it asks its owner for. The rest of the class is
// in session.cc.
#include <algorithm>
#include <utility>

#include "session/session.h"

namespace fairlead {

void Session::GoOn(Setup::Verdict verdict) {
  switch (verdict) {
    case Setup::Verdict::kWait:
      return;
    case Setup::Verdict::kSend: {
      const SetupStep& step = setup_.current();
      setup_timer_->At(around_.timers.Now() + step.timeout, [this, key = step.key] { LoseToStep(key); });
      return Bind({.what = Outgoing::What::kSetup, .kind = step.kind, .payload = step.payload, .setup_key = step.key});
    }
    case Setup::Verdict::kAsk: {
      const SetupStep& step = setup_.current();
      return Ask(step.key, step.timeout);
    }
    case Setup::Verdict::kDone:
      setup_timer_->Cancel();
      return Enter(lifecycle_.SetUp(around_.timers.Now()));
    case Setup::Verdict::kRejected:
      setup_timer_->Cancel();
      return Say({.cause = {Reason::kSetupRejected, Phase::kReplied,
                            "the exchange rejected setup step \"" + setup_.current().key + "\""},
                  .fatal = true},
                 {});
  }
}

// The exchange did not answer it.
void Session::LoseToStep(const std::string& key) {
  Lose({.cause = {Reason::kSetupTimeout, Phase::kSentNoReply, "setup step \"" + key + "\" was not answered in time"}});
}

// An owner who comes before the deadline is asked, too: it may just have been started again.
void Session::Ask(const std::string& key, Duration timeout) {
  const bool before_dial = key.empty();
  question_ = {key, generation() + (before_dial ? 1 : 0), ++questions_, around_.timers.WallNow() + timeout};
  setup_timer_->At(around_.timers.Now() + timeout, [this, key, before_dial] {
    if (!question_) return LoseToStep(key);
    const std::string what = before_dial ? "before the dial" : "for setup step \"" + key + "\"";
    Loss loss{.cause = {Reason::kAskTimeout, Phase::kNotSent, "the owner was asked " + what + " and did not answer"}};
    if (Owner() == nullptr) loss.cause = {Reason::kNoOwner, Phase::kNotSent, "no owner came to be asked " + what};
    transport_ ? Say(std::move(loss), {}) : Lose(std::move(loss));
  });
  AskOwner();
}

void Session::AskOwner() {
  if (Subscription* owner = Owner(); owner != nullptr && question_) owner->Asked(*question_);
}

void Session::StopAsking() {
  question_.reset();
  setup_timer_->Cancel();
}

Subscription* Session::Owner() const {
  const auto owner = std::ranges::find_if(subscriptions_, [](const auto* each) { return each->owner(); });
  return owner == subscriptions_.end() ? nullptr : *owner;
}

void Session::Resume() {
  if (state() == State::kWaiting) return Enter(lifecycle_.OwnerCame(around_.timers.Now()));
  // It is one that does not answer this: its target is the answer.
  const bool dial = question_ && question_->key.empty() && !options_.ask_before_dial;
  if (!dial) return AskOwner();
  StopAsking();
  Dial();
}

void Session::SetTarget(Target target) { target_ = std::move(target); }

Result<void> Session::Answer(uint64_t number, std::optional<Target> target) {
  if (!question_ || !question_->key.empty() || question_->number != number) {
    return NotSent(Reason::kNotAsked, "answer.number: nothing with this number is asked before a dial" +
                                          std::string(number < questions_ ? " any more" : ""));
  }
  if (target) target_ = std::move(*target);
  StopAsking();
  Dial();
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
    Tell(item, Outcome::kNotSent, Failure{reason, Phase::kNotSent, std::move(message)});
  };
  const bool opening = state() == State::kOpening && !leaving();
  if (!opening || command.generation != generation()) {
    return refuse(Reason::kWrongGeneration, "the transport is of generation " + std::to_string(generation()) +
                                                (opening ? "" : " and not being set up") + ", the answer is for " +
                                                std::to_string(command.generation));
  }
  if (auto room = CheckRoom(item); !room) return Tell(item, Outcome::kNotSent, room.error());
  if (!setup_.Answer(item.setup_key))
    return refuse(Reason::kNotAsked, "send.answers: setup step \"" + item.setup_key + "\" is not being asked for");
  question_.reset();  // The step's timer runs on: it covers what the exchange replies, too.
  Bind(std::move(item));
}

}  // namespace fairlead
