// The transports that a session has beside its own: what its journal says of them, and which frames are copies.
#include <algorithm>

#include "simulation/life.h"

namespace fairlead::simulation {

Kind Life::kind() const {
  const bool pointer = options_.dedupe && !options_.dedupe->json_pointer.empty();
  if (options_.legs == 2) return pointer ? Kind::kTwoPointer : Kind::kTwoPayload;
  if (!options_.reconnect.make_before_break) return Kind::kOne;
  if (!options_.dedupe) return Kind::kRotates;
  return pointer ? Kind::kRotatesPointer : Kind::kRotatesPayload;
}

// ---- Dials. ----

bool Life::WantsSecond() const {
  const Line* transport = own();
  return (options_.legs == 2 || rotation_) && state_ == State::kOpen && transport != nullptr &&
         !transport->saying_goodbye() && retiring_ == nullptr && !was_closing_ && !will_close_;
}

void Life::DialBegins() {
  Record();
  dialling_ = true;
  scene_.Trace("  (dials)");
  if (blind_ || state_ != State::kOpen) return;
  const Line* transport = own();
  if (!rotation_ && arriving_ && arriving_->shutdown && arriving_->line == transport && MayRotate())
    Rotates(Reason::kShutdownAnnounced, scene_.now());
  // At the very moment another reason to dial says nothing of its age.
  const bool unasked = !WantsSecond() || (!options_.reconnect.enabled && !taking_over_);
  if (unasked && transport != nullptr && transport->age_due && scene_.now() >= *transport->age_due && MayRotate())
    Rotates(Reason::kMaxAge, scene_.now());
  if (!WantsSecond() && lag_may_rotate_) rotation_ = Reason::kLegLags;
  scene_.Unless(WantsSecond() && second_ == nullptr, "a second transport is dialled, and nobody wants one");
  scene_.Unless(!second_due_ || scene_.now() == *second_due_ || second_cap_unsure_,
                "a second is dialled at another time than announced");
  second_due_.reset();
  dialling_second_ = true;
}

// It came to nothing, or was given up.
void Life::DialEnded() {
  if (std::exchange(dialling_, false)) twins_.Ended(scene_.now());
}

void Life::Dialled(Line& line) {
  lines_.push_back(&line);
  alive_.insert(&line);
  dialling_ = false;
  twins_.Joined(line.generation());
}

// ---- Rotations. ----

// It is to be replaced: what the session does at once.
void Life::Rotates(Reason reason, SteadyTime now) {
  if (rotation_) return;
  rotation_ = reason;
  rotates_since_ = now;
  scene_.Trace("  (rotation: ", Name(reason), ")");
  const Line* transport = own();
  if (reason == Reason::kMaxAge && transport != nullptr && !was_closing_)
    scene_.table.Reached(place(nullptr, /*goodbye=*/false), Fault::kMaxAge);
  if (retiring_ != nullptr || second_due_ || dialling_second_) return;
  if (second_ != nullptr) {
    if (second_->ready) switch_due_ = now + options_.reconnect.overlap;
    return;
  }
  const bool stable = state_ == State::kOpen && now - opened_at_ >= options_.reconnect.stable_after;
  if (stable) {
    second_cap_ = options_.reconnect.initial_backoff;
    second_cap_unsure_ = lag_may_rotate_;
  }
  if (stable || reason == Reason::kMaxAge || reason == Reason::kReconnectRequested) return;
  const std::chrono::duration<double> cap = second_cap_;
  second_due_ = now + std::chrono::duration_cast<Duration>(cap * scene_.draw);
  second_cap_ = std::min(std::chrono::duration_cast<Duration>(cap * options_.reconnect.backoff_factor),
                         std::max(options_.reconnect.initial_backoff, options_.reconnect.max_backoff));
}

// That moment is past, and nothing was to be seen of it.
void Life::FollowAge(SteadyTime before) {
  // One that was on its way already needs no dial.
  if (second_due_ && *second_due_ < before && (second_ != nullptr || dialling_second_ || !WantsSecond()))
    second_due_.reset();
  const bool has_transport = state_ == State::kOpening || state_ == State::kOpen;
  if (rotation_ || !MayRotate() || !has_transport || generation_ == 0) return;
  const Line* transport = lines_[generation_ - 1];
  if (transport->goodbye_at || !transport->age_due || *transport->age_due >= before) return;
  if (transport->live()) return Rotates(Reason::kMaxAge, *transport->age_due);
  // It was lost after that: what is left of its rotation is what its pauses begin with.
  const bool redials =
      state_ == State::kOpen && retiring_ == nullptr && !second_due_ && second_ == nullptr && !dialling_second_;
  if (redials && *transport->age_due - opened_at_ >= options_.reconnect.stable_after)
    second_cap_ = options_.reconnect.initial_backoff;
}

bool Life::HaveMet() const {
  return second_ != nullptr && (twins_.on() ? twins_.met() > 0 : second_->frames_since_open > 0);
}

void Life::CheckRotationDue(const Line& old, const Line& next, const Failure& cause) {
  const SteadyTime now = scene_.now();
  const Reason reason = cause.reason;
  if (!rotation_) {
    const bool announced = arriving_ && arriving_->shutdown && arriving_->line == &old;
    if (reason == Reason::kShutdownAnnounced && announced) Rotates(reason, now);
    if (reason == Reason::kMaxAge && old.age_due && now >= *old.age_due) Rotates(reason, now);
  }
  // Which of two comes first at the very moment is not known.
  if (reason == Reason::kMaxAge && old.age_due && rotates_since_ == *old.age_due) rotation_ = reason;
  if (reason == Reason::kLegLags) {
    scene_.Unless(may_lag_ || lag_may_rotate_, "LEG_LAGS, and it cannot");
    rotation_ = reason;
    switch_due_ = now;
  }
  scene_.Unless(rotation_ == reason, "a rotation for ", Name(reason), ", which has not happened");
  const bool met = HaveMet();
  scene_.Unless(met || (switch_due_ && now >= *switch_due_), "a rotation before the two have met");
  scene_.table.Reached(kind(), met ? Turn::kMet : Turn::kOverdue);
  // What the exchange sent on both is in order: what one has not brought yet, the other brings.
  if (twins_.on() && met && !repeats_ && next.whole)
    scene_.Unless(!old.HasUndelivered(next.items), "a rotation says that nothing is missing, and something may be");
}

// Another has taken the place of its own.
void Life::CheckReplaced(uint64_t old_generation, const StateChange& change) {
  const SteadyTime now = scene_.now();
  scene_.Unless(second_ != nullptr && second_->generation() == change.generation, "generation ", change.generation,
                " takes the place of ", old_generation, ", and is not there");
  if (second_ == nullptr || !change.overlap || !change.cause)
    return scene_.Unless(false, "a replacement says too little");
  Line& old = *lines_[old_generation - 1];
  Line& next = *second_;
  scene_.Unless(next.ready && !next.goodbye_at, "what takes the place is not OPEN");
  scene_.Unless(!arriving_ || !arriving_->shutdown || arriving_->line != &next,
                "what announces its end takes the place of another");
  const uint64_t copies = twins_.met();
  scene_.Unless(change.overlap->frames == next.frames, "it is told to have brought ", change.overlap->frames, " of ",
                next.frames);
  scene_.Unless(change.overlap->copies == copies, change.overlap->copies, " copies are told of ", copies);
  scene_.Unless(change.overlap->may_be_missing == (copies == 0), "may_be_missing says what is not known");
  const bool rotates = old.live() && !old.goodbye_at && !old.loss && IsRotation(change.cause->reason);
  if (rotates) {
    if (change.cause->reason == Reason::kLegLags) scene_.table.Reached(Place::kBesideOpen, Fault::kLegLags);
    CheckRotationDue(old, next, *change.cause);
    retiring_ = &old;
    old.was_retiring = true;
    retire_due_ = now + options_.reconnect.overlap;
  } else {
    generation_ = old_generation;  // As it was when that happened.
    CheckWhyGone(old, *change.cause, change.close_code);
    generation_ = change.generation;
    lost_ = &old;
    scene_.table.Reached(kind(), Turn::kAfterLoss);
  }
  if (now - opened_at_ >= options_.reconnect.stable_after) {
    lost_stable_ = true;
    failed_ = 0;
    cap_ = options_.reconnect.initial_backoff;
    outage_began_ = now;
  } else {
    lost_stable_ = false;
  }
  last_heard_ = old.last_heard;
  opened_at_ = next.ready_at;
  second_ = nullptr;
  may_lag_ = lag_may_rotate_ = false;
  rotation_.reset();
  switch_due_.reset();
  OpenWaiting();
}

// ---- LegChanged. ----

void Life::Check(const LegChange& change, uint64_t generation) {
  if (blind_) return;
  if (change.state == State::kOpening) {
    scene_.Unless((dialling_second_ || lag_may_rotate_) && second_ == nullptr && !change.cause,
                  "a second transport that nobody dialled");
    scene_.Unless(generation == lines_.size(), "a second of generation ", generation, " is transport ", lines_.size());
    dialling_second_ = false;
    second_ = lines_.back();
    BeginSetup(*second_);
  } else if (change.state == State::kOpen) {
    scene_.Unless(second_ != nullptr && second_->generation() == generation, "LegChanged OPEN of ", generation);
    if (second_ == nullptr) return;
    scene_.Unless(second_->step == second_->steps.size(), "LegChanged OPEN after ", second_->step, " steps");
    second_->ready = true;
    second_->ready_at = scene_.now();
    if (rotation_) switch_due_ = scene_.now() + options_.reconnect.overlap;
  } else {
    scene_.Unless(change.cause.has_value(), "a leg is gone, and nobody knows why");
    CheckLegGone(change, generation);
  }
}

void Life::CheckLegGone(const LegChange& change, uint64_t generation) {
  const SteadyTime now = scene_.now();
  const Failure cause = change.cause.value_or(Failure{});
  std::optional<Loss> loss = std::exchange(dial_loss_, std::nullopt);
  bool stable = false;
  Line* gone = nullptr;
  const bool retired = generation != 0 && lines_[generation - 1] == retiring_;
  if (generation == 0) {
    scene_.Unless(std::exchange(dialling_second_, false) || lag_may_rotate_, "a dial failed that nobody made");
    scene_.Unless(loss && cause.reason == loss->cause.reason, "a dial failed for another reason");
    scene_.table.Reached(kind(), Turn::kDialFailed);
  } else {
    gone = lines_[generation - 1];
    loss = gone->loss;
    if (gone == lost_) {
      stable = lost_stable_;
      lost_ = nullptr;
    } else if (gone == second_) {
      stable = gone->ready && now - gone->ready_at >= options_.reconnect.stable_after;
      CheckWhyGone(*gone, cause, change.close_code);
      if (cause.reason == Reason::kLegLags) {
        scene_.Unless(gone->might_lag, "LEG_LAGS, and it cannot");
        scene_.table.Reached(Place::kSecondOpen, Fault::kLegLags);
      }
      scene_.table.Reached(kind(), gone->ready ? Turn::kLostOpen : Turn::kLostInSetup);
      second_ = nullptr;
      switch_due_.reset();
    } else {
      scene_.Unless(gone == retiring_, "LegChanged of generation ", generation, ", which is gone long since");
      CheckWhyGone(*gone, cause, change.close_code);
      scene_.table.Reached(kind(), gone->goodbye_at ? Turn::kRetired : Turn::kRetiredEarly);
      retiring_ = nullptr;
      retire_due_.reset();
      scene_.Unless(change.state == State::kClosed, "a retiring one comes back");
    }
    scene_.Unless(change.received_frames == gone->frames, "generation ", generation, " has brought ", gone->frames,
                  " and not ", change.received_frames);
    scene_.Unless(change.copies == gone->copies, change.copies, " copies are told of ", gone->copies);
  }
  // A retiring one that is gone makes room, and is not followed by itself.
  if (retired) {
    if (rotation_ && WantsSecond()) {
      const Reason reason = *std::exchange(rotation_, std::nullopt);
      Rotates(reason, now);
    }
    return;
  }
  const ReconnectPolicy& policy = options_.reconnect;
  const bool again = WantsSecond() && (policy.enabled || rotation_);
  if (!again && change.state == State::kReconnecting && lag_may_rotate_) rotation_ = Reason::kLegLags;
  scene_.Unless(again == (change.state == State::kReconnecting) || std::exchange(may_lag_, false) || lag_may_rotate_,
                "of a second that is gone it says ", Name(change.state));
  if (change.state != State::kReconnecting) return;
  if (stable) {
    second_cap_ = policy.initial_backoff;
    second_cap_unsure_ = false;
  }
  Duration pause = Duration::zero();
  if (cause.reason != Reason::kMaxAge && cause.reason != Reason::kReconnectRequested &&
      !(stable && policy.first_retry_at_once)) {
    const std::chrono::duration<double> cap = second_cap_;
    pause = std::chrono::duration_cast<Duration>(cap * scene_.draw);
    second_cap_ = std::min(std::chrono::duration_cast<Duration>(cap * policy.backoff_factor),
                           std::max(policy.initial_backoff, policy.max_backoff));
  }
  if (loss && loss->cause.retry_after) pause = std::max(pause, *loss->cause.retry_after);
  const Duration told = change.retry_in.value_or(Duration::zero());
  const bool same = told - pause < std::chrono::microseconds(1) && pause - told < std::chrono::microseconds(1);
  scene_.Unless(same || second_cap_unsure_, "a second pauses ", told.count(), " ns and not ", pause.count());
  second_due_ = now + told;
}

void Life::CheckWhyGone(const Line& line, const Failure& cause, uint16_t close_code) {
  if (line.loss) scene_.Unless(close_code == line.loss->close_code, "the exchange's close code is lost");
  if (was_closing_ || will_close_) return;
  if (line.goodbye_at) return CheckGoodbye(line, cause);
  if (line.loss)
    return scene_.Unless(cause.reason == line.loss->cause.reason, "it ended for another reason: ", cause.message);
  CheckCause(cause.reason, line);
}

// ---- Frames. ----

void Life::Comes(Line& line, const std::string& payload, uint64_t item) {
  Record();
  if (blind_) return;
  const SteadyTime now = scene_.now();
  size_t live = 0;
  uint64_t other = 0;
  for (const Line* each : alive_) {
    if (!each->live()) continue;
    ++live;
    if (each != &line) other = each->generation();
  }
  arriving_ = {.line = &line, .payload = payload, .item = item};
  // When exactly is the session's to know: what is brought by one alone makes the other lag, too.
  may_lag_ = may_lag_ || (second_ != nullptr && second_->ready && options_.legs == 2 && twins_.on() &&
                          options_.max_leg_lag != Duration::zero() &&
                          now - lines_[generation_ - 1]->ready_at > options_.max_leg_lag);
  arriving_->both_open = rotation_ && second_ != nullptr && second_->ready;
  arriving_->shutdown = options_.reconnect.shutdown(payload) && options_.reconnect.enabled && !line.saying_goodbye();
  if (!options_.heartbeat.keepalive(payload))
    arriving_->verdict = twins_.Come(line.generation(), other, payload, live + (dialling_ ? 1 : 0) >= 2, now);
  lag_may_rotate_ = lag_may_rotate_ || may_lag_;
  second_cap_unsure_ = second_cap_unsure_ || lag_may_rotate_;
  if (arriving_->verdict == Twins::Verdict::kEither) ++scene_.table.sums.unsure;
}

// Its entry, if it has one, comes before all that follows from it.
void Life::SettleFrame() {
  if (!arriving_ || std::exchange(arriving_->settled, true)) return;
  if (blind_) return;
  Line& line = *arriving_->line;
  const bool copy = !arriving_->journaled;
  if (arriving_->verdict != Twins::Verdict::kEither) {
    scene_.Unless(copy == (arriving_->verdict == Twins::Verdict::kCopy),
                  copy ? "a frame is missing: " : "a copy is journaled: ", arriving_->payload);
  }
  twins_.Became(copy);
  if (copy) {
    ++line.copies;
    ++scene_.table.sums.copies;
  } else {
    ++line.journaled;
  }
}

void Life::Came() {
  Record();
  SettleFrame();
  if (!arriving_) return;
  const Arriving came = *std::exchange(arriving_, std::nullopt);
  if (blind_) return;
  const bool owns = came.line == own();
  if (came.shutdown && came.line != retiring_ && !end_) {
    if (owns && state_ == State::kOpen && MayRotate()) {
      Rotates(Reason::kShutdownAnnounced, scene_.now());
    } else {
      scene_.Unless(!came.line->live() || came.line->saying_goodbye(), "an end was announced, and nothing follows");
    }
  }
  const Line* transport = own();
  const bool could = rotation_ && second_ != nullptr && second_->ready && second_->live() &&
                     !second_->saying_goodbye() && transport != nullptr && !transport->saying_goodbye() && !may_lag_;
  scene_.Unless(!could || !came.both_open || !HaveMet() || was_closing_,
                "the two have met, and none takes the place of the other");
}

// ---- What was sent elsewhere. ----

// Another transport has, or may have, what changes the setup.
void Life::Owe(const Command& command) {
  for (Line* line : {own(), second_}) {
    if (line == nullptr || line == command.begun_on || !line->live() || !line->begun || line->saying_goodbye())
      continue;
    if (!line->given.contains(&command)) line->owed.push_back(&command);
  }
}

// ---- Whenever nothing is under way. ----

void Life::ObserveLegs(const Session& session) {
  const SteadyTime now = scene_.now();
  scene_.Unless(lost_ == nullptr, "a leg was replaced, and nobody tells what became of it");
  for (const Line* line : alive_) {
    if (!line->live() || line->saying_goodbye()) continue;
    const bool there = line == own() || line == second_ || line == retiring_;
    scene_.Unless(there, "generation ", line->generation(), " lives, and is none of the session's");
    if (line->ready && !line->owed.empty())
      scene_.Unless(line->writing(), "generation ", line->generation(), " is not given what changed the setup");
  }
  if (end_ || was_closing_ || session.closing()) return;
  // Without reconnecting, one that is gone is gone.
  if (WantsSecond() && second_ == nullptr && (options_.reconnect.enabled || rotation_))
    scene_.Unless(dialling_second_ || (second_due_ && (now <= *second_due_ || second_cap_unsure_)),
                  "nobody dials the second");
  if (!WantsSecond() && !may_lag_ && !lag_may_rotate_ && second_ != nullptr && own() != nullptr &&
      !own()->saying_goodbye() && second_->live())
    scene_.Unless(second_->saying_goodbye(), "a second stays that nobody wants");
  const bool could = rotation_ && second_ != nullptr && second_->ready && second_->live() &&
                     !second_->saying_goodbye() && own() != nullptr && !own()->saying_goodbye();
  if (could && switch_due_ && !lag_may_rotate_)
    scene_.Unless(now <= *switch_due_, "a rotation lasts for longer than its overlap");
  if (retiring_ != nullptr && retiring_->live() && !retiring_->saying_goodbye())
    scene_.Unless(now <= *retire_due_, "the old one stays for longer than the overlap");
  if (retiring_ != nullptr && retiring_->goodbye_at && retire_due_)
    scene_.Unless(*retiring_->goodbye_at >= *retire_due_, "the old one is not read for the overlap");
}

}  // namespace fairlead::simulation
