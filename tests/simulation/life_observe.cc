// What is done to a session, and what must hold between the entries of its journal. The entries are in life.cc.
#include <algorithm>

#include "simulation/life.h"

namespace fairlead::simulation {

Place Life::place(const Line* line, bool goodbye) const {
  const auto session = session_.lock();
  if (end_ || session == nullptr) return Place::kClosed;
  const Line* of = line != nullptr ? line : own();
  if (goodbye && of != nullptr && of->saying_goodbye()) return Place::kGoodbye;
  if (line == nullptr && was_closing_) return Place::kGoodbye;
  if (line != nullptr && line == second_) return line->ready ? Place::kSecondOpen : Place::kSecondOpening;
  if (line != nullptr && line == retiring_) return Place::kRetiring;
  if (session->subscriptions().empty()) return Place::kLingering;
  if (state_ == State::kConnecting) return Place::kConnecting;
  if (state_ == State::kOpening) return Place::kOpening;
  if (state_ != State::kOpen) return Place::kReconnecting;
  if (retiring_ != nullptr) return Place::kOverlap;
  if (second_ != nullptr) return second_->ready ? Place::kBesideOpen : Place::kBesideOpening;
  return dialling_second_ || second_due_ ? Place::kBesideDial : Place::kOpen;
}

Line* Life::own() const {
  if ((state_ != State::kOpening && state_ != State::kOpen) || generation_ == 0 || generation_ > lines_.size())
    return nullptr;
  Line* line = lines_[generation_ - 1];
  return line->live() ? line : nullptr;
}

bool Life::saying_goodbye() const {
  return std::ranges::any_of(alive_, [](const Line* line) { return line->saying_goodbye(); });
}

// ---- Commands. ----

size_t Life::waiting_bytes() const {
  size_t sum = 0;
  for (const uint64_t number : unresolved_) sum += commands_.at(number).bytes();
  return sum;
}

Command& Life::Issue(Command command) {
  command.issued = scene_.now();
  command.bytes_before = waiting_bytes();
  const bool open = state_ == State::kOpen && own() != nullptr && !own()->saying_goodbye();
  if (open) {
    command.binds_to = generation_;
  } else {
    waiting_.insert(command.number);
  }
  if (command.has_id) unresolved_.insert(command.number);
  return commands_[command.number] = std::move(command);
}

void Life::Issued(Command& command) {
  Record();
  if (!command.has_id || blind_) return;
  if (command.what == Command::What::kReconnect)
    return scene_.Unless(command.outcome.has_value(), "a Reconnect has no result");
  const bool waits = command.binds_to == 0 && command.send.max_wait != Duration::zero() && !was_closing_ && !end_ &&
                     command.send.generation == 0;
  if (command.binds_to == 0 && !waits)
    scene_.Unless(command.outcome == Outcome::kNotSent, command.number, " could not be written, and was not refused");
  if (command.send.generation != 0 && command.send.generation != command.binds_to)
    scene_.Unless(command.outcome == Outcome::kNotSent, command.number, " is for another generation");
  if (command.what == Command::What::kPing && !command.outcome) unanswered_.insert(command.number);
  const auto on_own = [this](uint64_t number) { return commands_.at(number).binds_to == generation_; };
  scene_.Unless(static_cast<size_t>(std::ranges::count_if(unanswered_, on_own)) <= scene_.limits.unanswered_pings,
                "limits.unanswered_pings is exceeded");
  scene_.Unless(waiting_bytes() <= scene_.limits.send_queue_bytes, "limits.send_queue_bytes is exceeded");
}

Command* Life::CommandOf(const std::string& payload) {
  if (!payload.starts_with("send ") && !payload.starts_with("ping ")) return nullptr;
  const auto found = commands_.find(std::strtoull(payload.c_str() + 5, nullptr, 10));
  return found == commands_.end() ? nullptr : &found->second;
}

bool Life::Begun(Command& command, Line& line) {
  if (command.begun_on != nullptr && command.begun_on != &line && command.changes_setup()) {
    if (blind_) return false;
    const auto owed = std::ranges::find(line.owed, &command);
    const bool was_taken = command.taken || !command.begun_on->live() || command.begun_on->loss;
    scene_.Unless(owed == line.owed.begin() || (owed == line.owed.end() && !command.outcome), command.number,
                  " is written to generation ", line.generation(), " out of turn");
    scene_.Unless(was_taken || !command.outcome, command.number, " is copied, and was not written");
    scene_.Unless(line.given.insert(&command).second, command.number, " is copied twice");
    scene_.Unless(line.step == line.steps.size(), command.number, " is copied in front of the setup");
    if (owed != line.owed.end()) line.owed.erase(owed);
    return false;
  }
  scene_.Unless(command.begun_on == nullptr, command.number, " is written twice");
  scene_.Unless(!command.outcome, command.number, " is written after its outcome was told");
  command.begun_on = &line;
  command.begun_at = scene_.now();
  if (blind_) return true;
  if (&line == own()) scene_.Unless(state_ == State::kOpen, command.number, " is written while ", Name(state_));
  scene_.Unless(command.binds_to == line.generation(), command.number, " was for generation ", command.binds_to,
                ", and is written to ", line.generation());
  scene_.Unless(command.number > line.last_number, command.number, " is written behind ", line.last_number);
  line.last_number = command.number;
  return true;
}

void Life::Arrived(Command& command, Line& line) {
  scene_.Unless(++command.arrivals == 1, command.number, " arrived twice");
  scene_.Unless(command.begun_on == &line, command.number, " arrived on another transport");
  scene_.Unless(command.send.generation == 0 || command.send.generation == line.generation(), command.number,
                " is for generation ", command.send.generation, ", and arrived on ", line.generation());
  scene_.Unless(command.outcome != Outcome::kNotSent, command.number, " is NOT_SENT, and arrived");
}

void Life::Answered(const std::string& payload, const Line& line) {
  const Command* ping = CommandOf(payload);
  std::erase_if(unanswered_, [&](uint64_t number) {
    if (commands_.at(number).begun_on != &line) return false;
    return ping == nullptr || number <= ping->number;
  });
}

// ---- Taking over. ----

void Life::TakenOver(const SessionOptions& options) {
  Record();
  taking_over_ = true;
  scene_.Trace("  (takes over: ", options.legs, " legs, max_age ", options.reconnect.max_age.count() / 1'000'000,
               " ms, make_before_break ", options.reconnect.make_before_break, ")");
  waiting_.clear();
  const SessionOptions former = std::exchange(options_, options);
  memory_ = options.setup;
  for (const uint64_t number : unresolved_) commands_.at(number).former = true;
  cap_ = options.reconnect.initial_backoff;
  second_cap_ = options.reconnect.initial_backoff;
  second_cap_unsure_ = false;
  if (options.dedupe != former.dedupe) {
    twins_.Replace(options.dedupe);
    for (Line* line : alive_) line->copies = 0;
  }
  if (second_ != nullptr || dialling_second_) scene_.table.Reached(kind(), Turn::kTakenOver);
  const SteadyTime now = scene_.now();
  for (Line* transport : {own(), second_}) {
    if (transport == nullptr || !transport->live()) continue;
    transport->heartbeat = options.heartbeat;
    transport->adopted_at = transport->last_data = now;
    transport->unanswered_since.reset();
    if (transport->saying_goodbye()) continue;
    transport->age_due.reset();
    const Duration age = options.reconnect.max_age;
    if (age != Duration::zero())
      transport->age_due =
          std::max(now, transport->dialled_at + std::chrono::duration_cast<Duration>(age * (1 - 0.1 * scene_.draw)));
  }
}

void Life::TookOver() {
  Record();
  if (options_.legs != 2 && !rotation_) dialling_second_ = false;
  taking_over_ = false;
  retention_is_new_ = true;
  if (blind_) return;
  for (const uint64_t number : unresolved_) {
    const Command& command = commands_.at(number);
    scene_.Unless(command.begun_on != nullptr && command.begun_on->live(), number,
                  " of the former owner is not written, and not NOT_SENT");
  }
}

// ---- Whenever nothing is under way. ----

void Life::Observe(bool named) {
  Record();
  const auto session = session_.lock();
  if (session == nullptr) return;
  for (auto line = alive_.begin(); line != alive_.end();) {
    if (!(*line)->live()) twins_.Ended(scene_.now());
    line = (*line)->live() ? std::next(line) : alive_.erase(line);
  }
  if (blind_) {
    state_ = session->state();
    generation_ = session->generation();
    if (session->closed() && !end_) end_ = session->last_failure();
  }
  scene_.Unless(session->state() == state_, "it is ", Name(session->state()), ", and its journal says ", Name(state_));
  ObserveJournal(*session);
  ObserveEnd(*session, named);
  if (blind_) return;
  ObserveCommands(*session);
  if (retry_due_ && !end_ && !was_closing_) scene_.Unless(scene_.now() <= *retry_due_, "a dial is overdue");
  ObserveLegs(*session);
  scene_.Unless(!end_ || alive_.empty(), "CLOSED, and a transport lives");
  for (const Line* line : alive_) {
    if (!line->saying_goodbye() && !end_) ObserveLiveness(*line);
  }
}

void Life::ObserveJournal(const Session& session) {
  const Journal& journal = session.journal();
  if (retention_is_new_ || journal.head() == 0) return;
  const bool one = journal.oldest() == journal.head();
  scene_.Unless(journal.bytes() <= options_.journal.bytes || one, "the journal holds ", journal.bytes(), " bytes of ",
                options_.journal.bytes);
  const Duration age = journal.at(journal.head()).time - journal.at(journal.oldest()).time;
  scene_.Unless(options_.journal.age == Duration::zero() || age <= options_.journal.age || one,
                "the journal holds what is older than its age");
  if (options_.journal.bytes > 10'000) return;  // Short ones are enough to count.
  size_t sum = 0;
  for (uint64_t at = journal.oldest(); at <= journal.head(); ++at) {
    const FrameEntry* frame = journal.at(at).frame();
    sum += Journal::kEntryBytes + (frame == nullptr ? 0 : frame->payload.size());
  }
  scene_.Unless(sum == journal.bytes() && sum == journal.BytesFrom(1), "the journal counts ", journal.bytes(),
                " bytes, and holds ", sum);
}

void Life::ObserveCommands(const Session& session) {
  const SteadyTime now = scene_.now();
  for (const uint64_t number : unresolved_) {
    const Command& command = commands_.at(number);
    scene_.Unless(!end_, number, " has no outcome, and the session is CLOSED");
    if (command.binds_to == 0) {
      scene_.Unless(now <= command.issued + command.send.max_wait, number, " waits for longer than max_wait");
      continue;
    }
    const Line& bound = *lines_[command.binds_to - 1];
    scene_.Unless(bound.live(), number, " has no outcome, and its transport is gone");
    if (!bound.saying_goodbye()) scene_.Unless(bound.writing(), number, " waits, and nothing is being written");
  }
  const std::vector<std::string> keys = session.SetupKeys();
  scene_.Unless(keys.size() <= scene_.limits.setup_steps, "it remembers ", keys.size(), " setup steps");
  scene_.Unless(std::ranges::equal(keys, memory_, {}, {}, &SetupStep::key), "it remembers ", keys.size(),
                " setup steps, of ", memory_.size(), " or others");
}

// Not too late. Too early is seen when a loss is told.
void Life::ObserveLiveness(const Line& line) {
  const SteadyTime now = scene_.now();
  const HeartbeatPolicy& heartbeat = line.heartbeat;
  const auto overdue = [now](SteadyTime since, Duration timeout) {
    return timeout != Duration::zero() && now > since + timeout;
  };
  scene_.Unless(!overdue(line.last_data, heartbeat.idle_timeout), "silence beyond idle_timeout");
  scene_.Unless(!line.unanswered_since || !overdue(*line.unanswered_since, heartbeat.pong_timeout),
                "no answer beyond pong_timeout");
  scene_.Unless(!line.writing() || !overdue(std::max(line.progress_at, line.adopted_at), 2 * heartbeat.write_timeout),
                "a write is stuck beyond twice write_timeout");
  scene_.Unless(line.writing() || !overdue(std::max(line.adopted_at, line.last_beat), heartbeat.interval),
                "a heartbeat is overdue");
  const bool replaced = line.was_retiring || (&line == own() && MayRotate());
  scene_.Unless(replaced || !line.age_due || now <= *line.age_due, "it is older than max_age");
  if (!line.begun || line.ready) return;
  scene_.Unless(line.step < line.steps.size(), "setup is complete, and it is not OPEN");
  if (line.step < line.steps.size())
    scene_.Unless(!overdue(line.step_since, line.steps[line.step].timeout), "a setup step is overdue");
}

// Who is there, how long it waits for others, and when it can no longer be found.
void Life::ObserveEnd(const Session& session, bool named) {
  const SteadyTime now = scene_.now();
  if (session.closing() && !std::exchange(was_closing_, true) && !end_ && !will_close_) CheckDetached();
  if (!session.subscriptions().empty() || session.closing()) {
    if (!end_) alone_until_.reset();
  } else if (!alone_until_) {
    scene_.Unless(options_.linger != Duration::zero(), "nobody is there, it does not linger, and it lives");
    alone_until_ = now + options_.linger;
  } else {
    scene_.Unless(now <= *alone_until_, "it lingers for longer than linger");
  }
  if (!end_)
    return scene_.Unless(named == named_,
                         named ? "found under a name that is another's" : "it lives, and is not found");
  kept_.reset();
  const bool wanted =
      end_->reason == Reason::kClosed || end_->reason == Reason::kDetached || end_->reason == Reason::kDraining;
  if (!kept_until_) kept_until_ = wanted ? now : now + options_.linger;
  const bool readable = named_ && !will_close_ && now < *kept_until_;
  // At the very moment, either will do.
  if (now != *kept_until_)
    scene_.Unless(named == readable, named ? "kept beyond its linger" : "not kept for its linger");
}

void Life::Judge() {
  Record();
  scene_.Unless(gone(), "somebody still holds session ", epoch_);
  for (const auto& [number, command] : commands_) {
    if (!command.has_id || blind_) continue;
    scene_.Unless(command.outcome.has_value(), number, " has no outcome");
    if (command.arrivals > 0)
      scene_.Unless(command.outcome != Outcome::kNotSent, number, " arrived, and is not told to have been sent");
    if (command.outcome == Outcome::kWritten && command.arrivals == 0)
      scene_.Unless(!command.begun_on->live(), number, " WRITTEN, lost, and its transport lives");
  }
}

}  // namespace fairlead::simulation
