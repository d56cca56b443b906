// How a session lives: its states, its transport, its journal. What its owner commands is in session_commands.cc, what
// concerns transports beside its own in session_legs.cc.
#include "session/session.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "session/journal_directory.h"

namespace fairlead {
namespace {

// An end that the adapter, or the operator, asked for.
bool IsGoodbye(Reason reason) {
  return reason == Reason::kClosed || reason == Reason::kDetached || reason == Reason::kDraining ||
         reason == Reason::kRevoked;
}

// An end of a transport that was asked for or foreseen.
bool IsExpected(Reason reason) {
  return IsGoodbye(reason) || reason == Reason::kReconnectRequested || reason == Reason::kMaxAge ||
         reason == Reason::kNoOwner || reason == Reason::kShutdownAnnounced;
}

}  // namespace

Session::Session(std::string identity, std::string name, std::string epoch, SessionOptions options,
                 Surroundings& surroundings, std::function<void(Session&)> on_gone)
    : identity_(std::move(identity)),
      name_(std::move(name)),
      epoch_(std::move(epoch)),
      options_(std::move(options)),
      target_{options_.url, options_.headers},
      around_(surroundings),
      on_gone_(std::move(on_gone)),
      created_at_(surroundings.timers.WallNow()),
      lifecycle_(options_.reconnect),
      journal_(options_.journal),
      setup_(options_.setup),
      topics_(options_.topics),
      second_backoff_(options_.reconnect),
      retry_timer_(surroundings.timers.MakeTimer()),
      expiry_timer_(surroundings.timers.MakeTimer()),
      linger_timer_(surroundings.timers.MakeTimer()),
      topic_timer_(surroundings.timers.MakeTimer()),
      second_timer_(surroundings.timers.MakeTimer()),
      overlap_timer_(surroundings.timers.MakeTimer()) {
  ++around_.measures.states[static_cast<size_t>(counted_state_)];
  if (options_.dedupe) copies_.emplace(*options_.dedupe, around_.limits.dedupe_keys);
  // Nobody could ask for an anonymous one's.
  if (around_.directory != nullptr && !IsAnonymous(name_)) writer_ = around_.directory->Keep(identity_, name_, epoch_);
}

Session::~Session() {
  --around_.measures.states[static_cast<size_t>(counted_state_)];
  around_.journal_bytes -= counted_journal_bytes_;
  around_.send_queue_bytes -= counted_send_bytes_;
  around_.send_queue_bytes_of[identity_] -= counted_send_bytes_;
}

void Session::Begin() { Enter(lifecycle_.Start(around_.timers.Now())); }

void Session::TakeOver(SessionOptions options) {
  const Failure cause{Reason::kSuperseded, Phase::kUnspecified, "another Open took the session over"};
  // Found first: what its sends came to may be more than it can still be given.
  Subscription* former = Owner();
  std::vector<Outgoing> withdrawn = retiring_ ? retiring_->Withdraw() : std::vector<Outgoing>();
  if (leg_) std::ranges::move(leg_->Withdraw(), std::back_inserter(withdrawn));
  std::ranges::move(waiting_.Release(), std::back_inserter(withdrawn));
  for (const Outgoing& item : withdrawn)
    Tell(item, generation(), Outcome::kNotSent,
         Failure{cause.reason, Phase::kNotSent, "not written: " + cause.message});
  OutboxChanged();
  ArmExpiry();
  if (former != nullptr) {
    std::erase(subscriptions_, former);
    former->Supersede({cause, /*session_closed=*/false});
  }
  Log(Level::kInfo, "session.takeover",
      {{"session", name_}, {"identity", identity_}, LogField::Detail("trace_id", options.trace.text())});
  if (options.dedupe != options_.dedupe) copies_.reset();
  options_ = std::move(options);
  target_ = {options_.url, options_.headers};
  lifecycle_.Adopt(options_.reconnect);
  journal_.Adopt(options_.journal);
  setup_.Replace(options_.setup);
  topics_.Replace(options_.topics, around_.timers.Now());
  ArmTopics();
  second_backoff_ = Backoff(options_.reconnect);
  for (Leg* leg : {leg_.get(), second_.get()}) {
    if (leg == nullptr) continue;
    leg->Adopt();
    leg->ArmAge(lifecycle_.DrawMaxAge(around_.random()));
  }
  AgreeOnLegs();
}

void Session::Resume() {
  if (state() == State::kWaiting) return Enter(lifecycle_.OwnerCame(around_.timers.Now()));
  for (Leg* leg : {leg_.get(), second_.get()}) {
    if (leg == nullptr || !leg->question()) continue;
    // One who does not answer this has given the target with the options.
    if (leg->question()->key.empty() && !options_.ask_before_dial) {
      leg->AnswerDial(target_);
    } else {
      AskOwner(*leg->question());
    }
  }
  DialSecond();
}

void Session::AskOwner(const Question& question) const {
  if (Subscription* owner = Owner()) owner->Asked(question);
}

// ---- The way up and down: each change of state is announced, then done. ----

void Session::Enter(StateChange change) {
  Announce(change);
  switch (change.state) {
    case State::kConnecting:
      if (!leg_) Connect();
      return;
    case State::kOpening:
      if (leg_->generation() == 0) leg_->SetUp(generation(), setup_);
      return;
    case State::kOpen:
      topics_.Begin(around_.timers.Now());
      ArmTopics();
      ReleaseWaiting();
      return DialSecond();
    case State::kWaiting:
      return;
    case State::kReconnecting:
      return retry_timer_->At(around_.timers.Now() + *change.retry_in, [this] { RetryDue(); });
    case State::kClosed:
      return End(*change.cause);
  }
}

void Session::CountReconnect(uint64_t generation, Reason reason) {
  around_.measures.Reconnects({around_.timers.WallNow(), identity_, name_, generation, reason});
}

void Session::Count(const StateChange& change) {
  --around_.measures.states[static_cast<size_t>(counted_state_)];
  counted_state_ = change.state;
  ++around_.measures.states[static_cast<size_t>(counted_state_)];
  const SteadyTime now = around_.timers.Now();
  // OPEN has a cause when another transport has taken the place of the session's own.
  if (change.cause && (change.state == State::kReconnecting || change.state == State::kOpen))
    CountReconnect(change.generation, change.cause->reason);
  if (change.state == State::kReconnecting && !lost_at_) lost_at_ = now;
  if (change.state == State::kOpen && lost_at_) around_.measures.recovery.Observe(now - *lost_at_);
  // Nobody tries while it waits for an owner.
  if (change.state == State::kOpen || change.state == State::kWaiting) lost_at_.reset();
}

void Session::Announce(const StateChange& change) {
  Count(change);
  if (change.cause) {
    last_failure_ = change.cause;
    Log(IsExpected(change.cause->reason) ? Level::kInfo : Level::kWarn, "session.state",
        {{"session", name_},
         {"identity", identity_},
         {"state", Name(change.state)},
         {"generation", change.generation},
         {"reason", Name(change.cause->reason)},
         {"close_code", change.close_code},
         {"attempt", change.attempt},
         {"retry_in", change.retry_in.value_or(Duration::zero())},
         {"message", change.cause->message},
         LogField::Detail("trace_id", options_.trace.text())});
  } else {
    Log(Level::kInfo, "session.state",
        {{"session", name_},
         {"identity", identity_},
         {"state", Name(change.state)},
         {"generation", change.generation},
         LogField::Detail("trace_id", options_.trace.text())});
  }
  Append({.generation = change.generation,
          .time = around_.timers.WallNow(),
          .what = std::make_unique<StateChange>(change)},
         0);
}

// Without an owner who answers, a dial could only fail.
void Session::RetryDue() {
  const bool asks = options_.ask_before_dial || setup_.Asks();
  Enter(asks && Owner() == nullptr ? lifecycle_.Park() : lifecycle_.RetryDue());
}

void Session::Connect() {
  leg_ = MakeLeg(retiring_ ? 1 - retiring_->lane() : 0);
  options_.ask_before_dial ? leg_->AskBeforeDial(lifecycle_.newest_generation() + 1) : leg_->Dial(target_);
}

void Session::Connected(Leg& leg) {
  leg.ArmAge(lifecycle_.DrawMaxAge(around_.random()));
  if (copies_) copies_->Join(leg.lane());
  const uint64_t generation = lifecycle_.NextGeneration();
  if (&leg == leg_.get()) return Enter(lifecycle_.Dialled(leg.last_heard(), generation));
  TellLeg(generation, {.state = State::kOpening});
  leg.SetUp(generation, setup_);
}

void Session::Ready(Leg& leg) {
  if (copies_) copies_->Open(leg.lane(), around_.timers.Now());
  if (&leg == second_.get()) return SecondReady();
  Enter(lifecycle_.SetUp(around_.timers.Now()));
}

void Session::Asks(Question& question) {
  question.number = ++questions_;
  AskOwner(question);
}

void Session::Aged(Leg& leg) {
  const Failure cause{Reason::kMaxAge, Phase::kUnspecified, "the transport has reached reconnect.max_age"};
  if (&leg == leg_.get() && Rotates()) return Rotate(cause);
  leg.Close({.cause = cause});
}

void Session::Over(Leg& leg, const Loss& loss, const Outbox::Left& left) {
  ReadEnds();
  const bool own = &leg == leg_.get();
  const bool second = &leg == second_.get();
  std::unique_ptr<Leg>& beside = second ? second_ : retiring_;
  const std::unique_ptr<Leg> gone = std::exchange(own ? leg_ : beside, nullptr);
  if (const auto round_trip = gone->heartbeat_round_trip()) heartbeat_round_trip_ = round_trip;
  Resolve(*gone, loss.cause, left);
  if (copies_) copies_->End(gone->lane(), around_.timers.Now());
  if (own && closing_) end_ = loss;
  if (own && !closing_) return OwnOver(*gone, loss);
  if (second && !closing_) return SecondOver(*gone, loss);
  if (!own) TellLeg(gone->generation(), Farewell(*gone, State::kClosed, loss));
  if (!closing_) return RetiredOver();
  if (std::ranges::none_of(AllLegs(), [](const Leg* each) { return each != nullptr; })) Enter(lifecycle_.Close(end_));
}

// What was bound to a transport that is there no more.
void Session::Resolve(const Leg& leg, const Failure& cause, const Outbox::Left& left) {
  OutboxChanged();
  if (left.in_flight) {
    Remember(leg, *left.in_flight);
    Tell(*left.in_flight, leg.generation(), Outcome::kUnknown,
         Failure{cause.reason, Phase::kPartlySent,
                 "the transport ended while this was being written: " + cause.message});
  }
  for (const Outgoing& item : left.not_begun) {
    Tell(item, leg.generation(), Outcome::kNotSent,
         Failure{cause.reason, Phase::kNotSent, "the transport ended before this was written: " + cause.message});
  }
}

void Session::Close(Failure cause, const CloseCommand& close) {
  if (closed()) return on_gone_(*this);
  if (closing_) return;
  closing_ = true;
  retry_timer_->Cancel();
  rotation_.reset();
  StopSecond();
  overlap_timer_->Cancel();
  end_ = {.cause = std::move(cause)};
  bool saying = false;
  for (std::unique_ptr<Leg>* leg : {&leg_, &second_, &retiring_}) {
    if (*leg && (*leg)->connected()) {
      (*leg)->Close(end_, close);
      saying = true;
    } else {
      leg->reset();
    }
  }
  if (!saying) Enter(lifecycle_.Close(end_));
}

void Session::End(const Failure& cause) {
  const auto self = shared_from_this();  // on_gone_ drops the registry's.
  StopSecond();
  overlap_timer_->Cancel();
  for (std::unique_ptr<Leg>* leg : {&second_, &retiring_}) {
    const auto gone = std::exchange(*leg, nullptr);
    if (gone) Resolve(*gone, cause, gone->Abandon());
  }
  for (const Outgoing& item : waiting_.Release()) {
    Tell(item, generation(), Outcome::kNotSent,
         Failure{cause.reason, Phase::kNotSent, "the session ended: " + cause.message});
  }
  OutboxChanged();
  expiry_timer_->Cancel();
  for (Subscription* subscription : subscriptions_) subscription->EndWith({cause, /*session_closed=*/true});
  // What ended by itself is kept for those who were not there.
  if (options_.linger == Duration::zero() || IsGoodbye(cause.reason)) {
    linger_timer_->Cancel();
    on_gone_(*this);
  } else {
    linger_timer_->At(around_.timers.Now() + options_.linger, [this] {
      const auto until_done = shared_from_this();
      on_gone_(*this);
    });
  }
  for (auto& callback : std::exchange(when_closed_, {})) around_.timers.Post(std::move(callback));
}

void Session::WhenClosed(std::function<void()> callback) {
  if (closed()) return around_.timers.Post(std::move(callback));
  when_closed_.push_back(std::move(callback));
}

// ---- What comes from the exchange. ----

void Session::ReadBegins() { read_ = ReadUnderWay{}; }

void Session::ReadEnds() {
  const auto read = std::exchange(read_, std::nullopt);
  if (read && read->entries > 0) WakeSubscriptions(read->entries, read->bytes);
}

void Session::Received(Leg& leg, FrameKind kind, std::string_view payload, WallTime heard) {
  ++counts_.received_frames;
  counts_.received_bytes += payload.size();
  ++around_.measures.frames_in;
  around_.measures.bytes_in += payload.size();
  const bool announced = options_.reconnect.shutdown(payload);
  const bool copy =
      copies_ && !options_.heartbeat.keepalive(payload) && copies_->IsCopy(leg.lane(), payload, around_.timers.Now());
  if (!copy) {
    const std::vector<size_t> back =
        topics_.empty() ? std::vector<size_t>() : topics_.Received(payload, around_.timers.Now(), heard);
    Append({.generation = leg.generation(), .time = heard, .what = FrameEntry(kind, payload)}, payload.size());
    for (const size_t index : back) TellTopic(index);
    if (!back.empty()) ArmTopics();
  }
  FollowFrame(leg, announced);
}

// ---- Topics. ----

// Not for each frame: it looks when the first could be due, and then again.
void Session::ArmTopics() {
  const auto next = topics_.Next();
  if (!next) return topic_timer_->Cancel();
  topic_timer_->At(*next, [this] { CheckTopics(); });
}

void Session::CheckTopics() {
  if (leaving()) return;
  const Topic* reconnect = nullptr;
  for (const size_t index : topics_.Check(around_.timers.Now())) {
    TellTopic(index);
    if (topics_.states()[index].topic.reconnect) reconnect = &topics_.states()[index].topic;
  }
  if (reconnect == nullptr) return ArmTopics();
  const Failure cause{Reason::kTopicStale, Phase::kUnspecified,
                      "topic \"" + reconnect->key + "\" was silent for its max_silence"};
  if (!Rotates()) return leg_->Close({.cause = cause});
  Rotate(cause);
  ArmTopics();
}

void Session::TellTopic(size_t index) {
  const Topics::State& state = topics_.states()[index];
  Log(state.stale ? Level::kWarn : Level::kInfo, "session.topic",
      {{"session", name_}, {"identity", identity_}, {"topic", state.topic.key}, {"stale", state.stale ? "yes" : "no"}});
  Append({.generation = generation(),
          .time = around_.timers.WallNow(),
          .what = std::make_unique<TopicChange>(TopicChange{state.topic.key, state.stale, state.last_heard})},
         0);
}

void Session::Ponged(std::string_view payload, Duration round_trip) {
  if (Subscription* owner = Owner()) owner->Ponged(payload, round_trip);
}

std::optional<Duration> Session::heartbeat_round_trip() const {
  const auto newest = leg_ ? leg_->heartbeat_round_trip() : std::nullopt;
  return newest ? newest : heartbeat_round_trip_;
}

// ---- Journal and subscribers. ----

uint64_t Session::Append(Entry entry, size_t bytes) {
  const uint64_t sequence = journal_.Append(std::move(entry));
  // Before anybody is given it.
  if (writer_) writer_->Append(sequence, journal_.at(sequence), journal_.oldest());
  CountJournal();
  if (around_.journal_bytes > around_.limits.total_journal_bytes && around_.reclaim_journals)
    around_.reclaim_journals();
  if (read_) {
    ++read_->entries;
    read_->bytes += bytes;
  } else {
    WakeSubscriptions(1, bytes);
  }
  return sequence;
}

void Session::WakeSubscriptions(size_t entries, size_t bytes) {
  bool overflowed = false;
  for (Subscription* subscription : subscriptions_) {
    subscription->Appended(entries, bytes);
    overflowed = overflowed || subscription->overflowed();
  }
  if (overflowed) {
    // Not now: leaving may close the session, in the middle of what appended this.
    around_.timers.Post([self = shared_from_this()] {
      const std::vector<Subscription*> all = self->subscriptions_;
      for (Subscription* subscription : all) {
        if (subscription->overflowed()) self->Leave(*subscription);
      }
    });
  }
}

void Session::ShrinkJournal(size_t bytes) {
  journal_.Shrink(bytes);
  CountJournal();
  WakeSubscriptions(1, 0);
}

void Session::CountJournal() {
  around_.journal_bytes += journal_.bytes() - counted_journal_bytes_;
  counted_journal_bytes_ = journal_.bytes();
}

void Session::OutboxChanged() {
  size_t bytes = waiting_.bytes();
  for (const Leg* leg : AllLegs()) bytes += leg == nullptr ? 0 : leg->outbox_bytes();
  around_.send_queue_bytes += bytes - counted_send_bytes_;
  around_.send_queue_bytes_of[identity_] += bytes - counted_send_bytes_;
  counted_send_bytes_ = bytes;
}

Subscription* Session::Owner() const {
  const auto owner = std::ranges::find_if(subscriptions_, [](const auto* each) { return each->owner(); });
  return owner == subscriptions_.end() ? nullptr : *owner;
}

void Session::Join(Subscription& subscription) {
  is_new_ = false;
  subscriptions_.push_back(&subscription);
  if (!closed()) linger_timer_->Cancel();
  if (closed()) subscription.EndWith({last_failure_.value_or(Failure{}), /*session_closed=*/true});
}

void Session::Leave(Subscription& subscription) {
  const auto gone = std::ranges::find(subscriptions_, &subscription);
  if (gone == subscriptions_.end()) return;
  subscriptions_.erase(gone);
  if (!subscriptions_.empty() || closing()) return;
  if (options_.linger == Duration::zero())
    return Close({Reason::kDetached, Phase::kUnspecified, "the last subscriber has left"});
  linger_timer_->At(around_.timers.Now() + options_.linger, [this] {
    Close({Reason::kDetached, Phase::kUnspecified, "no subscriber came back within retention.linger"});
  });
}

}  // namespace fairlead
