// A session's transports where it has more than one: the second of two legs, and one that takes the place of another
// before that ends. The rest of the class is in session.cc.
//
//   leg_      the session's own: its state is the session's, the owner's sends are written to it.
//   second_   beside it, only while the session is OPEN: dialled, set up, and read.
//   retiring_ leg_ until second_ took its place: read for the overlap, then closed. No second_ comes before it is gone.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "session/session.h"

namespace fairlead {

std::unique_ptr<Leg> Session::MakeLeg(size_t lane) {
  Leg::Place place{.lane = lane};
  for (const Leg* leg : AllLegs()) {
    if (leg != nullptr) place.avoid = leg->address();
  }
  if (copies_) copies_->Begin(lane);
  Leg::Listener& listener = *this;
  return std::make_unique<Leg>(identity_, options_, around_.dialler, around_.timers, listener, place);
}

Result<void> Session::CheckAccess(const Access& access) const {
  auto may = access.MayKeep(identity_, target_.url, std::nullopt);
  for (const Leg* leg : AllLegs()) {
    if (may && leg != nullptr && leg->connected()) may = access.MayKeep(identity_, leg->url(), leg->address());
  }
  return may;
}

// ---- The second. ----

bool Session::WantsSecond() const {
  const bool beside = options_.legs == 2 || rotation_;
  return beside && state() == State::kOpen && !closing_ && !leaving() && !retiring_;
}

void Session::DialSecond() {
  if (!WantsSecond() || second_ || second_is_due_) return;
  // Without an owner who answers, a dial could only fail; Resume comes here, too.
  if ((options_.ask_before_dial || setup_.Asks()) && Owner() == nullptr) return;
  second_ = MakeLeg(1 - leg_->lane());
  options_.ask_before_dial ? second_->AskBeforeDial(lifecycle_.newest_generation() + 1) : second_->Dial(target_);
}

void Session::RedialSecond(Duration pause) {
  second_is_due_ = true;
  second_timer_->At(around_.timers.Now() + pause, [this] {
    second_is_due_ = false;
    DialSecond();
  });
}

void Session::StopSecond() {
  second_is_due_ = false;
  second_timer_->Cancel();
}

void Session::SecondReady() {
  second_opened_at_ = around_.timers.Now();
  TellLeg(second_->generation(), {.state = State::kOpen});
  if (!rotation_) return;
  overlap_timer_->At(second_opened_at_ + options_.reconnect.overlap, [this] { CheckRotation(/*overdue=*/true); });
}

// It is lost, or did not come about. The session goes on without it, whatever the reason: only what befalls its own
// transport can end it.
void Session::SecondOver(const Leg& gone, const Loss& loss) {
  last_failure_ = loss.cause;
  CountReconnect(gone.generation(), loss.cause.reason);
  if (!retiring_) overlap_timer_->Cancel();
  const bool stable = gone.ready() && around_.timers.Now() - second_opened_at_ >= options_.reconnect.stable_after;
  LoseLeg(gone, loss, stable);
}

// One of two transports is gone, and the other goes on: tells, and sees to the next.
void Session::LoseLeg(const Leg& gone, const Loss& loss, bool stable) {
  const ReconnectPolicy& policy = options_.reconnect;
  if (!WantsSecond() || !(policy.enabled || rotation_))
    return TellLeg(gone.generation(), Farewell(gone, State::kClosed, loss));
  if (stable) second_backoff_.Reset();
  const bool wanted = loss.cause.reason == Reason::kMaxAge || loss.cause.reason == Reason::kReconnectRequested;
  const bool at_once = wanted || (stable && policy.first_retry_at_once);
  Duration pause = at_once ? Duration::zero() : second_backoff_.Next(around_.random());
  pause = std::max(pause, loss.cause.retry_after.value_or(Duration::zero()));
  LegChange change = Farewell(gone, State::kReconnecting, loss);
  change.retry_in = pause;
  TellLeg(gone.generation(), change);
  RedialSecond(pause);
}

// ---- Another takes the place of the session's own. ----

void Session::Rotate(const Failure& cause) {
  if (rotation_) return;
  rotation_ = cause;
  if (retiring_ || second_is_due_) return;
  const SteadyTime now = around_.timers.Now();
  if (second_) {
    if (!second_->ready()) return;  // On its way: SecondReady goes on.
    overlap_timer_->At(now + options_.reconnect.overlap, [this] { CheckRotation(/*overdue=*/true); });
    return CheckRotation(/*overdue=*/false);
  }
  const bool wanted = cause.reason == Reason::kReconnectRequested || cause.reason == Reason::kMaxAge;
  const bool stable = lifecycle_.IsStable(now);
  if (stable) second_backoff_.Reset();
  // An exchange that announces its end to each transport is not dialled without a pause.
  wanted || stable ? DialSecond() : RedialSecond(second_backoff_.Next(around_.random()));
}

// The two are known to have met, or have had their time.
void Session::CheckRotation(bool overdue) {
  if (!rotation_ || leaving() || !second_ || !second_->ready() || second_->leaving()) return;
  const bool met = copies_ ? copies_->met() > 0 : second_->received_since_ready() > 0;
  if (!met && !overdue) return;
  const Loss old{.cause = *rotation_, .last_heard = leg_->last_heard()};
  retiring_ = std::exchange(leg_, nullptr);
  retiring_->ArmAge(std::nullopt);
  TakePlace(old);
  overlap_timer_->At(around_.timers.Now() + options_.reconnect.overlap, [this, old] {
    if (!retiring_->leaving()) retiring_->Close(old);
  });
}

// The second is the session's own now.
void Session::TakePlace(const Loss& old) {
  leg_ = std::exchange(second_, nullptr);
  rotation_.reset();
  overlap_timer_->Cancel();
  const uint64_t copies = copies_ ? copies_->met() : 0;
  Announce(lifecycle_.Replaced(around_.timers.Now(), second_opened_at_, leg_->generation(), old,
                               {.frames = leg_->received_frames(), .copies = copies, .may_be_missing = copies == 0}));
  ReleaseWaiting();  // Of those that came while the old one was being ended.
  if (old.cause.reason != Reason::kTopicStale) return;
  topics_.Begin(around_.timers.Now());
  ArmTopics();
}

void Session::RetiredOver() {
  overlap_timer_->Cancel();
  // One that came meanwhile begins now, or when the session is OPEN.
  if (rotation_ && state() == State::kOpen && !leaving()) return Rotate(*std::exchange(rotation_, std::nullopt));
  DialSecond();
}

// ---- The session's own is lost. ----

void Session::OwnOver(const Leg& gone, const Loss& loss) {
  const SteadyTime now = around_.timers.Now();
  if (second_ && second_->ready() && !second_->leaving() && !loss.fatal) {
    const bool stable = lifecycle_.IsStable(now);
    TakePlace(loss);
    return LoseLeg(gone, loss, stable);
  }
  rotation_.reset();
  StopSecond();
  if (!retiring_) overlap_timer_->Cancel();
  topics_.Stop();
  topic_timer_->Cancel();
  Enter(lifecycle_.Lost(now, loss, around_.random()));
  if (!second_ || state() != State::kReconnecting) return;
  if (!second_->leaving()) return AdoptSecond();
  retiring_ = std::exchange(second_, nullptr);  // What ends already is no way on.
}

// It is on its way: that is faster than another dial.
void Session::AdoptSecond() {
  retry_timer_->Cancel();
  leg_ = std::exchange(second_, nullptr);
  Enter(lifecycle_.RetryDue());
  if (leg_->generation() != 0) Enter(lifecycle_.Dialled(leg_->last_heard(), leg_->generation()));
  if (leg_->ready()) Enter(lifecycle_.SetUp(around_.timers.Now()));
}

// Another owner may want more or fewer.
void Session::AgreeOnLegs() {
  if (options_.dedupe && !copies_) {
    copies_.emplace(*options_.dedupe, around_.limits.dedupe_keys);
    for (const Leg* leg : AllLegs()) {
      if (leg == nullptr) continue;
      copies_->Begin(leg->lane());
      if (leg->generation() != 0) copies_->Join(leg->lane());
      if (leg->ready()) copies_->Open(leg->lane(), around_.timers.Now());
    }
  }
  // Also while its own is being ended: then the second is to take its place.
  if (second_ && options_.legs != 2 && !rotation_) {
    if (second_->connected()) {
      second_->Close({.cause = {Reason::kSuperseded, Phase::kUnspecified, "the new owner wants one leg"}});
    } else {
      if (copies_) copies_->End(second_->lane(), around_.timers.Now());
      second_.reset();
    }
  }
  DialSecond();
}

// ---- What a frame means for the legs. ----

void Session::FollowFrame(Leg& leg, bool announced) {
  // Before the rotation: what announces its end takes nobody's place.
  if (announced && options_.reconnect.enabled && !leg.leaving() && &leg != retiring_.get()) {
    const Failure cause{Reason::kShutdownAnnounced, Phase::kUnspecified, "a frame matched reconnect.shutdown"};
    &leg == leg_.get() && state() == State::kOpen&& Rotates() ? Rotate(cause) : leg.Close({.cause = cause});
  }
  CheckRotation(/*overdue=*/false);
  Leg* other = &leg == leg_.get() ? second_.get() : leg_.get();
  // While it closes its own may be gone, and the second still brings.
  const bool both = copies_ && leg_ && second_ && other->ready() && leg.ready() && !other->leaving() && !leg.leaving();
  if (!both || options_.max_leg_lag == Duration::zero()) return;
  if (copies_->Behind(other->lane(), around_.timers.Now()) <= options_.max_leg_lag) return;
  const Failure cause{Reason::kLegLags, Phase::kUnspecified,
                      "what the other leg had brought came later than max_leg_lag"};
  other == leg_.get() ? Rotate(cause) : other->Close({.cause = cause});
}

// ---- What others see. ----

void Session::TellLeg(uint64_t generation, const LegChange& change) {
  const bool expected = !change.cause || change.state == State::kClosed;
  Log(expected ? Level::kInfo : Level::kWarn, "session.leg",
      {{"session", name_},
       {"identity", identity_},
       {"generation", generation},
       {"state", Name(change.state)},
       {"reason", change.cause ? Name(change.cause->reason) : ""},
       {"close_code", change.close_code},
       {"retry_in", change.retry_in.value_or(Duration::zero())},
       {"message", change.cause ? change.cause->message : ""}});
  Append({.generation = generation, .time = around_.timers.WallNow(), .what = std::make_unique<LegChange>(change)}, 0);
}

LegChange Session::Farewell(const Leg& gone, State state, const Loss& loss) {
  return {.state = state,
          .cause = loss.cause,
          .close_code = loss.close_code,
          .close_reason = loss.close_reason,
          .received_frames = gone.received_frames(),
          .copies = copies_ ? copies_->TallyOf(gone.lane(), around_.timers.Now()).copies : 0};
}

std::vector<Session::LegView> Session::Legs() const {
  std::vector<LegView> views;
  for (const Leg* leg : AllLegs()) {
    if (leg == nullptr || !leg->connected()) continue;
    LegView view{.generation = leg->generation(),
                 .state = leg->ready() ? State::kOpen : State::kOpening,
                 .received_frames = leg->received_frames(),
                 .address = leg->address()};
    if (leg == retiring_.get()) view.state = State::kClosed;
    if (copies_) view.tally = copies_->TallyOf(leg->lane(), around_.timers.Now());
    views.push_back(view);
  }
  return views;
}

}  // namespace fairlead
