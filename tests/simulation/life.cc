// What a session's journal says, entry by entry. What must hold between entries is in life_observe.cc.
#include "simulation/life.h"

#include <algorithm>

#include "support/subscriber.h"

namespace fairlead::simulation {
namespace {

bool IsRequested(std::string_view reason) {
  return reason.starts_with(Name(Reason::kReconnectRequested)) || reason.starts_with(Name(Reason::kMaxAge));
}
// Of what ran out, the last cause.
std::string_view LastReason(const Failure& cause) {
  const size_t at = cause.message.find("last: ");
  const bool ran_out = cause.reason == Reason::kAttemptsExhausted || cause.reason == Reason::kOutageExhausted;
  return ran_out && at != std::string::npos ? std::string_view(cause.message).substr(at + 6) : Name(cause.reason);
}

uint64_t Mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 0x9E3779B97F4A7C15u + (sum >> 29); }

}  // namespace

bool IsRotation(Reason reason) {
  return reason == Reason::kReconnectRequested || reason == Reason::kMaxAge || reason == Reason::kShutdownAnnounced ||
         reason == Reason::kLegLags;
}

Life::Life(Scene& scene, const std::shared_ptr<Session>& session)
    : scene_(scene),
      session_(session),
      kept_(session),
      options_(session->options()),
      epoch_(session->epoch()),
      memory_(options_.setup),
      cap_(options_.reconnect.initial_backoff),
      outage_began_(scene.now()),
      second_cap_(options_.reconnect.initial_backoff),
      twins_(options_.dedupe) {}

uint64_t Life::Fingerprint(const Entry& entry) {
  uint64_t sum = Mix(entry.generation, static_cast<uint64_t>(entry.time.time_since_epoch().count()));
  if (const FrameEntry* frame = entry.frame())
    return Mix(sum, std::hash<std::string_view>{}(frame->payload) + static_cast<uint64_t>(frame->kind)) | 1;
  if (const auto* change = std::get_if<std::unique_ptr<StateChange>>(&entry.what)) {
    sum = Mix(sum, static_cast<uint64_t>((*change)->state) + 16 * (*change)->attempt + 1024 * (*change)->close_code);
    if ((*change)->cause) sum = Mix(sum, std::hash<std::string>{}((*change)->cause->message));
    return sum | 1;
  }
  if (const auto* topic = std::get_if<std::unique_ptr<TopicChange>>(&entry.what))
    return Mix(sum, std::hash<std::string>{}((*topic)->key)) | 1;
  if (const auto* leg = std::get_if<std::unique_ptr<LegChange>>(&entry.what))
    return Mix(Mix(sum, static_cast<uint64_t>((*leg)->state)), (*leg)->received_frames * 64 + (*leg)->copies) | 1;
  const auto& result = *std::get<std::unique_ptr<CommandResult>>(entry.what);
  return Mix(sum, result.id * 8 + static_cast<uint64_t>(result.outcome)) | 1;
}

void Life::Record() {
  const auto session = session_.lock();
  if (session == nullptr) return;
  const Journal& journal = session->journal();
  if (!blind_) FollowAge(scene_.now());
  while (head() < journal.head()) {
    if (head() + 1 < journal.oldest()) {
      fingerprints_.push_back(0);
      blind_ = true;
      continue;
    }
    const Entry& entry = journal.at(head() + 1);
    fingerprints_.push_back(Fingerprint(entry));
    scene_.fingerprint = Mix(scene_.fingerprint, fingerprints_.back());
    if (scene_.trace) scene_.Trace(epoch_.substr(0, 8), " #", head(), "  ", Describe(entry));
    retention_is_new_ = false;
    Check(entry);
  }
}

void Life::Check(const Entry& entry) {
  scene_.Unless(entry.time == scene_.time.WallNow(), "entry ", head(), " bears another time than its own");
  if (const FrameEntry* frame = entry.frame()) return Check(*frame, entry.generation);
  SettleFrame();
  if (const auto* change = std::get_if<std::unique_ptr<StateChange>>(&entry.what)) {
    scene_.Unless(entry.generation >= generation_, "generations fall at ", head());
    scene_.Unless((*change)->generation == entry.generation, "a change of two generations at ", head());
    return Check(**change);
  }
  if (const auto* leg = std::get_if<std::unique_ptr<LegChange>>(&entry.what)) return Check(**leg, entry.generation);
  const auto* result = std::get_if<std::unique_ptr<CommandResult>>(&entry.what);
  scene_.Unless(result != nullptr, "a topic has changed, and no session here has topics");
  if (result != nullptr) Check(**result, entry.generation);
}

// ---- Frames: what the exchange sent on each transport, in order, and all of it but copies. ----

void Life::Check(const FrameEntry& frame, uint64_t generation) {
  if (blind_) return;
  scene_.Unless(arriving_ && !arriving_->settled && arriving_->payload == frame.payload,
                "a frame that nobody sent: ", frame.payload);
  if (!arriving_) return;
  scene_.Unless(arriving_->line->generation() == generation, "a frame of generation ", arriving_->line->generation(),
                " is told to be of ", generation);
  arriving_->journaled = true;
  SettleFrame();
}

// ---- States. ----

void Life::Check(const StateChange& change) {
  const State before = std::exchange(state_, change.state);
  scene_.Unless(!end_, Name(change.state), " after CLOSED");
  const uint64_t former = generation_;
  uint64_t generation = generation_;
  if (change.state == State::kOpening) generation = adopts_ && second_ ? second_->generation() : lines_.size();
  if (change.overlap && second_ != nullptr) generation = second_->generation();
  if (!blind_)
    scene_.Unless(change.generation == generation, "a change to generation ", change.generation, " and not ",
                  generation);
  generation_ = change.generation;
  scene_.Unless(change.state != State::kClosed || change.cause, "CLOSED without a cause");
  if (!blind_ && change.overlap) {
    scene_.Unless(before == State::kOpen && change.state == State::kOpen, "an overlap after ", Name(before));
    CheckReplaced(former, change);
  } else if (!blind_) {
    CheckChange(before, change);
  }
  if (change.state == State::kClosed) end_ = change.cause;
}

void Life::CheckChange(State before, const StateChange& change) {
  if (change.state == State::kConnecting) {
    scene_.Unless(before == State::kReconnecting || !begun_, "CONNECTING after ", Name(before));
    scene_.Unless(change.attempt == failed_ + 1, "attempt ", change.attempt, " after ", failed_, " that failed");
    scene_.Unless(!retry_due_ || retry_forced_ || scene_.now() == *retry_due_, "a dial at another time than announced");
    begun_ = true;
    if (adopts_) dialling_second_ = false;
    retry_due_.reset();
    retry_forced_ = false;
  } else if (change.state == State::kOpening) {
    scene_.Unless(before == State::kConnecting, "OPENING after ", Name(before));
    CheckOpening(change);
  } else if (change.state == State::kOpen) {
    scene_.Unless(before == State::kOpening, "OPEN after ", Name(before));
    Line& line = *lines_[generation_ - 1];
    scene_.Unless(line.step == line.steps.size(), "OPEN after ", line.step, " of ", line.steps.size(), " setup steps");
    scene_.Unless(!line.saying_goodbye(), "OPEN, and its transport is being ended");
    line.ready = true;
    line.ready_at = opened_at_ = scene_.now();
    OpenWaiting();
  } else if (change.state == State::kReconnecting || change.state == State::kClosed) {
    scene_.Unless(before != State::kReconnecting || change.state == State::kClosed, "RECONNECTING twice");
    state_ = before;
    CheckLost(change);
    state_ = change.state;
  }
}

void Life::CheckOpening(const StateChange& change) {
  Line& line = *lines_[generation_ - 1];
  scene_.Unless(change.blind_from == last_heard_, "the blind window does not begin where the exchange was last heard");
  scene_.Unless(!change.blind_from || change.blind_until == std::max(line.last_heard, *change.blind_from),
                "the blind window ends elsewhere");
  if (std::exchange(adopts_, false) && second_ != nullptr) {
    second_ = nullptr;
  } else {
    BeginSetup(line);
  }
}

void Life::BeginSetup(Line& line) {
  line.begun = true;
  line.steps = memory_;
  line.step_since = scene_.now();
  const ReconnectPolicy& policy = options_.reconnect;
  if (policy.max_age != Duration::zero())
    line.age_due = line.dialled_at + std::chrono::duration_cast<Duration>(policy.max_age * (1 - 0.1 * scene_.draw));
}

// What waited for an OPEN transport has one.
void Life::OpenWaiting() {
  for (const uint64_t number : std::exchange(waiting_, {})) {
    Command& command = commands_.at(number);
    if (!command.outcome && scene_.now() <= command.issued + command.send.max_wait) command.binds_to = generation_;
  }
}

// Where a loss leads: the policy once more, in other words.
void Life::CheckLost(const StateChange& change) {
  const SteadyTime now = scene_.now();
  const ReconnectPolicy& policy = options_.reconnect;
  const Failure cause = change.cause.value_or(Failure{});
  const bool closed = change.state == State::kClosed;
  std::optional<Loss> loss = std::exchange(dial_loss_, std::nullopt);
  const bool must_end = std::exchange(must_end_, false);
  const bool had_transport = state_ == State::kOpening || state_ == State::kOpen;
  if (had_transport) {
    const Line& line = *lines_[generation_ - 1];
    loss = line.loss;
    last_heard_ = line.last_heard;
    if (retiring_ != nullptr && !closed) scene_.table.Reached(kind(), Turn::kBothLost);
  }
  rotation_.reset();
  may_lag_ = lag_may_rotate_ = false;
  second_due_.reset();
  switch_due_.reset();
  if (loss) scene_.Unless(change.close_code == loss->close_code, "the exchange's close code is lost");
  if (cause.reason == Reason::kDetached && !was_closing_) CheckDetached();
  if (was_closing_ || will_close_ || cause.reason == Reason::kDetached) {
    scene_.Unless(closed, "it was to close, and is ", Name(change.state));
    return;
  }
  const bool requested = IsRequested(LastReason(cause));
  const bool stable = state_ == State::kOpen && now - opened_at_ >= policy.stable_after;
  const bool first = failed_ == 0;
  if (stable) {
    failed_ = 0;
    cap_ = policy.initial_backoff;
    outage_began_ = now;
  } else if (!requested) {
    ++failed_;
  }
  if (must_end || (!policy.enabled && !requested)) {
    scene_.Unless(closed && cause.reason != Reason::kAttemptsExhausted && cause.reason != Reason::kOutageExhausted,
                  "a fatal loss leads to ", Name(change.state));
  } else if (policy.max_attempts != 0 && failed_ >= policy.max_attempts) {
    scene_.Unless(closed && cause.reason == Reason::kAttemptsExhausted, failed_, " dials failed, and it is ",
                  Name(change.state));
  } else {
    Duration pause = Duration::zero();
    const bool goes =
        state_ == State::kOpen &&
        (cause.reason == Reason::kShutdownAnnounced ||
         (cause.reason == Reason::kPeerClosed && (change.close_code == 1001 || change.close_code == 1012)));
    if (!requested && !(stable && policy.first_retry_at_once) && !(goes && (stable || first))) {
      const std::chrono::duration<double> cap = cap_;
      pause = std::chrono::duration_cast<Duration>(cap * scene_.draw);
      cap_ = std::min(std::chrono::duration_cast<Duration>(cap * policy.backoff_factor), policy.max_backoff);
    }
    if (loss && loss->cause.retry_after) pause = std::max(pause, *loss->cause.retry_after);
    if (policy.max_outage != Duration::zero() && now + pause - outage_began_ > policy.max_outage) {
      scene_.Unless(closed && cause.reason == Reason::kOutageExhausted, "the outage outlasts max_outage");
    } else {
      scene_.Unless(!closed, "CLOSED, of ", Name(cause.reason), ": nothing demanded it");
      scene_.Unless(change.attempt == failed_ + 1, "attempt ", change.attempt, " after ", failed_, " that failed");
      scene_.Unless(change.retry_in && (*change.retry_in - pause) < std::chrono::microseconds(1) &&
                        (pause - *change.retry_in) < std::chrono::microseconds(1),
                    "it pauses ", change.retry_in.value_or(Duration::zero()).count(), " ns and not ", pause.count());
      retry_due_ = now + change.retry_in.value_or(Duration::zero());
    }
  }
  if (had_transport) {
    const Line& line = *lines_[generation_ - 1];
    if (line.goodbye_at) {
      CheckGoodbye(line, cause);
    } else if (loss) {
      scene_.Unless(LastReason(cause).starts_with(Name(loss->cause.reason)),
                    "it ended for another reason: ", cause.message);
    } else {
      CheckCause(cause.reason == Reason::kAttemptsExhausted || cause.reason == Reason::kOutageExhausted
                     ? Reason::kUnspecified
                     : cause.reason,
                 line);
    }
  }
  // One that is on its way already is faster than another dial.
  const bool has = dialling_second_ || (second_ != nullptr && second_->live() && !second_->saying_goodbye());
  if (change.state == State::kReconnecting && has) {
    adopts_ = retry_forced_ = true;
    scene_.table.Reached(kind(), dialling_second_ ? Turn::kAdoptedDial : Turn::kAdoptedOpening);
  } else if (change.state == State::kReconnecting && second_ != nullptr) {
    retiring_ = std::exchange(second_, nullptr);
  }
}

// We ended a transport politely.
void Life::CheckGoodbye(const Line& line, const Failure& cause) {
  const std::string_view reason = LastReason(cause);
  const auto is = [reason](Reason other) { return reason.starts_with(Name(other)); };
  if (line.was_retiring) return scene_.Unless(IsRotation(cause.reason), "a retiring one ended for ", reason);
  const bool own = &line == lines_[generation_ - 1];
  scene_.Unless(IsRequested(reason) || is(Reason::kShutdownAnnounced) || (is(Reason::kSuperseded) && !own) ||
                    (is(Reason::kLegLags) && !own) || (line.rejected && cause.reason == Reason::kSetupRejected),
                "we said goodbye, and it ended for ", reason);
  if (!is(Reason::kMaxAge)) return;
  scene_.Unless(line.age_due && *line.goodbye_at >= *line.age_due, "MAX_AGE too early");
  scene_.table.Reached(line.goodbye_place, Fault::kMaxAge);
}

// Nobody was there, for as long as it lingers.
void Life::CheckDetached() const {
  const auto session = session_.lock();
  scene_.Unless(session == nullptr || session->subscriptions().empty(), "DETACHED, and somebody is there");
  if (options_.linger == Duration::zero()) return;
  scene_.Unless(alone_until_ && scene_.now() == *alone_until_, "it lingers, and ends at another time than linger says");
}

// We gave a transport up: not too early. Too late is seen by Observe.
void Life::CheckCause(Reason reason, const Line& line) {
  const SteadyTime now = scene_.now();
  const HeartbeatPolicy& heartbeat = line.heartbeat;
  if (reason == Reason::kIdleTimeout) {
    scene_.Unless(now - line.last_data >= heartbeat.idle_timeout, "IDLE_TIMEOUT too early");
    scene_.table.Reached(place(&line), Fault::kIdleTimeout);
  } else if (reason == Reason::kPongTimeout) {
    scene_.Unless(line.unanswered_since && now - *line.unanswered_since >= heartbeat.pong_timeout,
                  "PONG_TIMEOUT too early");
    scene_.table.Reached(place(&line), Fault::kPongTimeout);
  } else if (reason == Reason::kWriteTimeout) {
    scene_.Unless(now - line.progress_at >= heartbeat.write_timeout, "WRITE_TIMEOUT, and the write moved");
    scene_.table.Reached(place(&line), Fault::kWriteTimeout);
  } else if (reason == Reason::kSetupTimeout) {
    scene_.Unless(line.step < line.steps.size() && now - line.step_since == line.steps[line.step].timeout,
                  "SETUP_TIMEOUT at another time than the step's");
    scene_.table.Reached(place(&line), Fault::kStepTimeout);
  } else {
    scene_.Unless(reason == Reason::kUnspecified, "a live transport was given up for ", Name(reason));
  }
}

// ---- Results. ----

void Life::Check(const CommandResult& result, uint64_t generation) {
  const auto found = commands_.find(result.id);
  scene_.Unless(found != commands_.end(), "a result for ", result.id, ", which nobody asked for");
  if (found == commands_.end()) return;
  Command& command = found->second;
  scene_.Unless(!command.outcome, "a second result for ", result.id);
  command.outcome = result.outcome;
  unresolved_.erase(result.id);
  if (result.outcome != Outcome::kWritten) unanswered_.erase(result.id);
  const bool failed = result.outcome == Outcome::kNotSent || result.outcome == Outcome::kUnknown;
  scene_.Unless(result.failure.has_value() == failed, result.id, ": a failure belongs to what failed, and only to it");
  // Of its own, or of the one that it was bound to.
  if (!blind_)
    scene_.Unless(generation == generation_ || generation == command.binds_to, result.id, " is told of generation ",
                  generation);
  switch (result.outcome) {
    case Outcome::kWritten:
      scene_.Unless(command.taken, result.id, " WRITTEN, and the kernel has not got it whole");
      scene_.Unless(command.begun_on != nullptr && command.begun_on->generation() == generation, result.id,
                    " WRITTEN on another generation than told");
      return Remember(command);
    case Outcome::kUnknown:
      scene_.Unless(command.begun_on != nullptr && !command.taken, result.id, " UNKNOWN, and its outcome is known");
      scene_.Unless(command.begun_on == nullptr || command.begun_on->generation() == generation, result.id,
                    " UNKNOWN on another generation than told");
      return Remember(command);
    case Outcome::kDone:
      scene_.Unless(command.what == Command::What::kReconnect, result.id, " DONE, and it writes");
      if (!blind_ && command.beside && state_ == State::kOpen && own() != nullptr && !own()->saying_goodbye())
        Rotates(Reason::kReconnectRequested, scene_.now());
      if (own() == nullptr) retry_forced_ = state_ == State::kReconnecting;
      return;
    case Outcome::kNotSent:
      scene_.Unless(command.begun_on == nullptr, result.id, " NOT_SENT, and its write had begun");
      if (result.failure) CheckRefusal(command, *result.failure);
  }
}

void Life::CheckRefusal(const Command& command, const Failure& failure) {
  const SteadyTime now = scene_.now();
  scene_.Unless(failure.phase == Phase::kNotSent, "NOT_SENT of phase ", Name(failure.phase));
  if (blind_) return;
  if (failure.reason == Reason::kWaitExpired) {
    scene_.Unless(now == command.issued + command.send.max_wait, command.number,
                  " expired at another time than its own");
  } else if (failure.reason == Reason::kSuperseded) {
    scene_.Unless(taking_over_, command.number, " superseded by nobody");
  } else if (failure.reason == Reason::kWrongGeneration) {
    scene_.Unless(command.send.generation != 0, command.number, " asked for no generation");
  } else if (failure.message.starts_with("limits.setup_steps")) {
    const auto stored = [this](uint64_t number) { return !commands_.at(number).send.setup_key.empty(); };
    const size_t reserved = static_cast<size_t>(std::ranges::count_if(unresolved_, stored));
    scene_.Unless(memory_.size() + reserved >= scene_.limits.setup_steps, command.number, " refused, and only ",
                  memory_.size(), " steps are stored, ", reserved, " more on their way");
  } else if (failure.message.contains("send_queue_bytes")) {
    // A setup step and a heartbeat may be in the queue besides, of each transport, and copies of what changed the
    // setup.
    size_t besides = 2 * (kOutgoingBytes + 150);
    for (const Line* line : alive_) {
      if (line != own()) besides += 3 * (kOutgoingBytes + 150);
      for (const Command* each : line->owed) besides += each->bytes();
    }
    const bool own = failure.message.starts_with("limits.send_queue_bytes");
    const size_t limit = own ? scene_.limits.send_queue_bytes : scene_.limits.total_send_queue_bytes;
    const size_t before = own ? command.bytes_before : command.all_before + besides;
    scene_.Unless(before + besides + command.bytes() > limit, command.number, " refused by ", failure.message,
                  "; in truth ", before);
    scene_.table.Reached(place(), Fault::kQueueFull);
  }
}

// What the exchange has, or may have, is what the next transport gets.
void Life::Remember(const Command& command) {
  if (command.former) return;
  if (command.changes_setup()) Owe(command);
  for (const std::string& key : command.send.forget_setup_keys)
    std::erase_if(memory_, [&](const SetupStep& step) { return step.key == key; });
  if (command.send.setup_key.empty()) return;
  const SetupStep step{.key = command.send.setup_key, .payload = command.send.payload};
  const auto same = std::ranges::find(memory_, step.key, &SetupStep::key);
  if (same == memory_.end()) {
    memory_.push_back(step);
  } else {
    *same = step;
  }
}

}  // namespace fairlead::simulation
