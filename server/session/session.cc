// How a session lives: its states, its transports, its journal. What its owner commands is in session_commands.cc.
#include "session/session.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace fairlead {
namespace {

Outgoing SetupFrame(const SetupStep& step) {
  return {.what = Outgoing::What::kSetup, .kind = step.kind, .payload = step.payload, .setup_key = step.key};
}

// An end that we, or the adapter, asked for.
bool IsWanted(Reason reason) {
  return reason == Reason::kClosed || reason == Reason::kDetached || reason == Reason::kDraining ||
         reason == Reason::kReconnectRequested || reason == Reason::kMaxAge;
}

}  // namespace

Session::Session(std::string identity, std::string name, std::string epoch, SessionOptions options,
                 Surroundings& surroundings, std::function<void(Session&)> on_gone)
    : identity_(std::move(identity)),
      name_(std::move(name)),
      epoch_(std::move(epoch)),
      options_(std::move(options)),
      around_(surroundings),
      on_gone_(std::move(on_gone)),
      created_at_(surroundings.timers.WallNow()),
      lifecycle_(options_.reconnect),
      journal_(options_.journal),
      setup_(options_.setup),
      retry_timer_(surroundings.timers.MakeTimer()),
      setup_timer_(surroundings.timers.MakeTimer()),
      expiry_timer_(surroundings.timers.MakeTimer()),
      liveness_timer_(surroundings.timers.MakeTimer()),
      linger_timer_(surroundings.timers.MakeTimer()),
      age_timer_(surroundings.timers.MakeTimer()) {}

Session::~Session() {
  around_.journal_bytes -= counted_journal_bytes_;
  around_.send_queue_bytes -= counted_outbox_bytes_;
}

void Session::Begin() { Enter(lifecycle_.Start(around_.timers.Now())); }

void Session::TakeOver(SessionOptions options) {
  const Failure cause{Reason::kSuperseded, Phase::kUnspecified, "another Open took the session over"};
  // Found first: what its sends came to may be more than it can still be given.
  const auto former = std::ranges::find_if(subscriptions_, [](const auto* each) { return each->owner(); });
  for (const Outgoing& item : outbox_.Withdraw())
    Tell(item, Outcome::kNotSent, Failure{cause.reason, Phase::kNotSent, "not written: " + cause.message});
  CountOutbox();
  ArmExpiry();
  std::erase_if(pings_, [](const PingUnderWay& ping) { return !ping.heartbeat && !ping.sent_at; });
  for (PingUnderWay& ping : pings_) ping.former = true;
  if (former != subscriptions_.end()) {
    Subscription& superseded = **former;
    subscriptions_.erase(former);
    superseded.Supersede({cause, /*session_closed=*/false});
  }
  Log(Level::kInfo, "session.takeover", {{"session", name_}, {"identity", identity_}});
  options_ = std::move(options);
  lifecycle_.Adopt(options_.reconnect);
  journal_.Adopt(options_.journal);
  setup_.Replace(options_.setup);
  if (!heartbeat_) return;
  heartbeat_->Adopt(options_.heartbeat, around_.timers.Now());
  ArmLiveness();
  ArmAge();
}

// ---- The way up and down: each change of state is announced, then done. ----

void Session::Enter(StateChange change) {
  const State state = change.state;
  const std::optional<Failure> cause = change.cause;
  const Duration retry_in = change.retry_in.value_or(Duration::zero());
  if (cause) {
    last_failure_ = cause;
    Log(IsWanted(cause->reason) ? Level::kInfo : Level::kWarn, "session.state",
        {{"session", name_},
         {"identity", identity_},
         {"state", Name(state)},
         {"generation", change.generation},
         {"reason", Name(cause->reason)},
         {"close_code", change.close_code},
         {"attempt", change.attempt},
         {"retry_in", retry_in},
         {"message", cause->message}});
  } else {
    Log(Level::kInfo, "session.state",
        {{"session", name_}, {"identity", identity_}, {"state", Name(state)}, {"generation", change.generation}});
  }
  Append({.generation = change.generation,
          .time = around_.timers.WallNow(),
          .what = std::make_unique<StateChange>(std::move(change))},
         0);
  switch (state) {
    case State::kConnecting:
      return Dial();
    case State::kOpening:
      return GoOn(setup_.Begin());
    case State::kOpen:
      outbox_.BindWaiting();
      ArmExpiry();
      return Pump();
    case State::kReconnecting:
      return retry_timer_->At(around_.timers.Now() + retry_in, [this] { Enter(lifecycle_.RetryDue()); });
    case State::kClosed:
      return End(*cause);
  }
}

void Session::Dial() {
  dialling_ =
      around_.dialler.Dial({options_.url, options_.headers, options_.websocket, options_.socket, options_.dial_timeout},
                           [this](std::expected<std::unique_ptr<Transport>, Loss> outcome) {
                             // This callback lives in what it replaces: keep that until the end.
                             const auto dialling = std::exchange(dialling_, nullptr);
                             if (outcome) return Dialled(std::move(*outcome));
                             Lose(outcome.error());
                           });
}

void Session::Dialled(std::unique_ptr<Transport> transport) {
  transport_ = std::move(transport);
  last_heard_ = around_.timers.WallNow();
  dialled_at_ = around_.timers.Now();
  heartbeat_.emplace(options_.heartbeat, dialled_at_);
  transport_->Start(*this);
  ArmLiveness();
  ArmAge();
  Enter(lifecycle_.Dialled(last_heard_));
}

void Session::ArmAge() {
  const auto age = lifecycle_.DrawMaxAge(around_.random());
  if (!age) return age_timer_->Cancel();
  age_timer_->At(dialled_at_ + *age, [this] {
    if (leaving()) return;
    Say({.cause = {Reason::kMaxAge, Phase::kUnspecified, "the transport has reached reconnect.max_age"}}, {});
  });
}

void Session::GoOn(Setup::Verdict verdict) {
  switch (verdict) {
    case Setup::Verdict::kWait:
      return;
    case Setup::Verdict::kSend: {
      const SetupStep& step = setup_.current();
      setup_timer_->At(around_.timers.Now() + step.timeout, [this, key = step.key] {
        Lose({.cause = {Reason::kSetupTimeout, Phase::kSentNoReply,
                        "setup step \"" + key + "\" was not answered in time"}});
      });
      return Bind(SetupFrame(step));
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

// We end the transport politely: the loss counts when it has ended.
void Session::Say(Loss goodbye, CloseCommand close) {
  const bool saying = leaving();
  goodbye_ = std::move(goodbye);
  setup_timer_->Cancel();
  if (!saying) transport_->Close(close.code, std::move(close.reason));
}

void Session::Ended(const Loss& loss) {
  Loss end = loss;
  if (goodbye_) {
    end.cause = goodbye_->cause;
    end.fatal = goodbye_->fatal;
  }
  Lose(std::move(end));
}

// There is no transport any more, or none came of a dial.
void Session::Lose(Loss loss) {
  ReadEnds();
  if (transport_) {
    loss.last_heard = last_heard_;
    const auto transport = std::exchange(transport_, nullptr);
    heartbeat_.reset();
    liveness_timer_->Cancel();
    liveness_due_.reset();
    age_timer_->Cancel();
    setup_timer_->Cancel();
    pings_.clear();
    heartbeat_queued_ = false;
    goodbye_.reset();
    Outbox::Left left = outbox_.TransportEnded();
    CountOutbox();
    if (left.in_flight) {
      Remember(*left.in_flight);
      Tell(*left.in_flight, Outcome::kUnknown,
           Failure{loss.cause.reason, Phase::kPartlySent,
                   "the transport ended while this was being written: " + loss.cause.message});
    }
    for (const Outgoing& item : left.not_begun) {
      Tell(item, Outcome::kNotSent,
           Failure{loss.cause.reason, Phase::kNotSent,
                   "the transport ended before this was written: " + loss.cause.message});
    }
  }
  Enter(closing_ ? lifecycle_.Close(loss) : lifecycle_.Lost(around_.timers.Now(), loss, around_.random()));
}

void Session::Close(Failure cause, CloseCommand close) {
  if (closed()) return on_gone_(*this);
  if (closing_) return;
  closing_ = true;
  retry_timer_->Cancel();
  dialling_.reset();
  Loss goodbye{.cause = std::move(cause)};
  if (transport_) return Say(std::move(goodbye), std::move(close));
  Enter(lifecycle_.Close(goodbye));
}

void Session::End(const Failure& cause) {
  const auto self = shared_from_this();  // on_gone_ drops the registry's.
  for (const Outgoing& item : outbox_.Abandon()) {
    Tell(item, Outcome::kNotSent, Failure{cause.reason, Phase::kNotSent, "the session ended: " + cause.message});
  }
  CountOutbox();
  expiry_timer_->Cancel();
  for (Subscription* subscription : subscriptions_) subscription->EndWith({cause, /*session_closed=*/true});
  // What ended by itself is kept for those who were not there.
  if (options_.linger == Duration::zero() || IsWanted(cause.reason)) {
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

void Session::ReadBegins() { read_ = {.heard = around_.timers.WallNow(), .now = around_.timers.Now()}; }

void Session::ReadEnds() {
  const auto read = std::exchange(read_, std::nullopt);
  if (read && read->entries > 0) WakeSubscriptions(read->entries, read->bytes);
}

void Session::Received(FrameKind kind, std::string payload) {
  last_heard_ = read_ ? read_->heard : around_.timers.WallNow();
  ++counts_.received_frames;
  counts_.received_bytes += payload.size();
  const bool opening = state() == State::kOpening;
  // The matches look at the payload before the journal takes it; what follows from them comes after it.
  heartbeat_->Received(payload, read_ ? read_->now : around_.timers.Now());
  if (heartbeat_->round_trip()) heartbeat_round_trip_ = heartbeat_->round_trip();
  const Setup::Verdict verdict = opening && !leaving() ? setup_.Received(payload) : Setup::Verdict::kWait;
  const size_t bytes = payload.size();
  Append({.generation = generation(), .time = last_heard_, .what = FrameEntry{kind, std::move(payload)}}, bytes);
  GoOn(verdict);
}

void Session::Ponged(std::string_view payload) {
  last_heard_ = around_.timers.WallNow();
  const SteadyTime now = around_.timers.Now();
  heartbeat_->Pong(now);
  heartbeat_round_trip_ = heartbeat_->round_trip();
  // A pong answers the first ping of its payload, and all before it: a peer may answer only its latest (RFC 6455
  // section 5.5.3).
  const auto answered = std::ranges::find_if(
      pings_, [payload](const PingUnderWay& ping) { return ping.sent_at && ping.payload == payload; });
  if (answered == pings_.end()) return;
  const PingUnderWay ping = *answered;
  pings_.erase(pings_.begin(), answered + 1);
  if (ping.heartbeat || ping.former) return;
  for (Subscription* subscription : subscriptions_) {
    if (subscription->owner()) subscription->Ponged(payload, now - *ping.sent_at);
  }
}

// ---- Liveness. ----

void Session::ArmLiveness() {
  const std::optional<SteadyTime> next = heartbeat_->Next();
  if (!next || (liveness_due_ && *liveness_due_ <= *next)) return;
  liveness_due_ = next;
  liveness_timer_->At(*next, [this] { CheckLiveness(); });
}

void Session::CheckLiveness() {
  liveness_due_.reset();
  if (leaving()) return;  // A goodbye has a timeout of its own.
  const SteadyTime now = around_.timers.Now();
  const Heartbeat::Verdict verdict = heartbeat_->Check(now, transport_->BytesAcknowledged());
  if (verdict.dead) return Lose({.cause = *verdict.dead});
  if (verdict.beat) {
    heartbeat_->Beaten(now);
    // One that is still waiting to be written stands for this one too.
    if (!std::exchange(heartbeat_queued_, true)) {
      const HeartbeatPolicy& policy = heartbeat_->policy();
      Bind({.what = Outgoing::What::kHeartbeat,
            .ping_frame = policy.what == HeartbeatPolicy::What::kPing,
            .kind = policy.what == HeartbeatPolicy::What::kBinary ? FrameKind::kBinary : FrameKind::kText,
            .payload = heartbeat_->NextPayload(around_.timers.WallNow())});
    }
  }
  ArmLiveness();
}

// ---- Journal and subscribers. ----

uint64_t Session::Append(Entry entry, size_t bytes) {
  const uint64_t sequence = journal_.Append(std::move(entry));
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

void Session::CountOutbox() {
  around_.send_queue_bytes += outbox_.bytes() - counted_outbox_bytes_;
  counted_outbox_bytes_ = outbox_.bytes();
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
