#include "session/leg.h"

#include <algorithm>
#include <utility>

namespace fairlead {

Leg::Leg(const std::string& identity, const SessionOptions& options, Dialler& dialler, Timers& timers,
         Listener& listener, Place place)
    : identity_(identity),
      options_(options),
      dialler_(dialler),
      timers_(timers),
      listener_(listener),
      place_(place),
      setup_timer_(timers.MakeTimer()),
      liveness_timer_(timers.MakeTimer()),
      age_timer_(timers.MakeTimer()) {}

void Leg::Adopt() {
  if (!heartbeat_) return;
  heartbeat_->Adopt(options_.heartbeat, timers_.Now());
  ArmLiveness();
}

// ---- The way up. ----

void Leg::Dial(const Target& target) {
  url_ = target.url;
  dialling_ = dialler_.Dial(
      {identity_, target.url, target.headers, options_.websocket, options_.socket, options_.dial_timeout, place_.avoid},
      [this](std::expected<std::unique_ptr<Transport>, Loss> outcome) {
        // This callback lives in what it replaces: keep that until the end.
        const auto dialling = std::exchange(dialling_, nullptr);
        if (outcome) return Dialled(std::move(*outcome));
        Lose(outcome.error());
      });
}

void Leg::AskBeforeDial(uint64_t generation) { Ask("", generation, options_.dial_timeout); }

void Leg::AnswerDial(const Target& target) {
  StopAsking();
  Dial(target);
}

void Leg::Dialled(std::unique_ptr<Transport> transport) {
  transport_ = std::move(transport);
  address_ = transport_->address();
  last_heard_ = timers_.WallNow();
  dialled_at_ = timers_.Now();
  heartbeat_.emplace(options_.heartbeat, dialled_at_);
  transport_->Start(*this);
  ArmLiveness();
  listener_.Connected(*this);
}

void Leg::ArmAge(std::optional<Duration> age) {
  if (!age || !transport_) return age_timer_->Cancel();
  age_timer_->At(dialled_at_ + *age, [this] {
    if (!leaving()) listener_.Aged(*this);
  });
}

void Leg::SetUp(uint64_t generation, const Setup& setup) {
  generation_ = generation;
  setup_ = setup;
  GoOn(setup_->Begin());
}

void Leg::GoOn(Setup::Verdict verdict) {
  switch (verdict) {
    case Setup::Verdict::kWait:
      return;
    case Setup::Verdict::kSend: {
      const SetupStep& step = setup_->current();
      setup_timer_->At(timers_.Now() + step.timeout, [this, key = step.key] { Unanswered(key); });
      return Bind({.what = Outgoing::What::kSetup, .kind = step.kind, .payload = step.payload, .setup_key = step.key});
    }
    case Setup::Verdict::kAsk: {
      const SetupStep& step = setup_->current();
      return Ask(step.key, generation_, step.timeout);
    }
    case Setup::Verdict::kDone:
      setup_timer_->Cancel();
      ready_ = true;
      after_setup_bytes_ = 0;
      for (Outgoing& item : std::exchange(after_setup_, {})) Bind(std::move(item));
      return listener_.Ready(*this);
    case Setup::Verdict::kRejected:
      setup_timer_->Cancel();
      return Close({.cause = {Reason::kSetupRejected, Phase::kReplied,
                              "the exchange rejected setup step \"" + setup_->current().key + "\""},
                    .fatal = true});
  }
}

// An owner who comes before the deadline is asked, too: it may just have been started again.
void Leg::Ask(const std::string& key, uint64_t generation, Duration timeout) {
  question_ = {key, generation, 0, timers_.WallNow() + timeout};
  setup_timer_->At(timers_.Now() + timeout, [this, key] { Unanswered(key); });
  listener_.Asks(*question_);
}

bool Leg::AnswerStep(Outgoing item) {
  if (!setup_ || leaving() || !setup_->Answer(item.setup_key)) return false;
  question_.reset();  // The step's timer runs on: it covers what the exchange replies, too.
  Bind(std::move(item));
  return true;
}

// The time of a step, or of a question before the dial, is up.
void Leg::Unanswered(const std::string& key) {
  if (!question_) {
    return Lose(
        {.cause = {Reason::kSetupTimeout, Phase::kSentNoReply, "setup step \"" + key + "\" was not answered in time"}});
  }
  const std::string what = key.empty() ? "before the dial" : "for setup step \"" + key + "\"";
  Loss loss{.cause = {Reason::kAskTimeout, Phase::kNotSent, "the owner was asked " + what + " and did not answer"}};
  if (!listener_.HasOwner()) loss.cause = {Reason::kNoOwner, Phase::kNotSent, "no owner came to be asked " + what};
  transport_ ? Close(std::move(loss)) : Lose(std::move(loss));
}

void Leg::StopAsking() {
  question_.reset();
  setup_timer_->Cancel();
}

// ---- The way down. ----

void Leg::Close(Loss goodbye, CloseCommand close) {
  const bool saying = leaving();
  goodbye_ = std::move(goodbye);
  StopAsking();
  if (!saying) transport_->Close(close.code, std::move(close.reason));
}

Outbox::Left Leg::Abandon() {
  dialling_.reset();
  transport_.reset();
  return outbox_.TransportEnded();
}

void Leg::Ended(const Loss& loss) {
  Loss end = loss;
  if (goodbye_) {
    end.cause = goodbye_->cause;
    end.fatal = goodbye_->fatal;
  }
  Lose(std::move(end));
}

void Leg::Lose(Loss loss) {
  StopAsking();
  liveness_timer_->Cancel();
  age_timer_->Cancel();
  if (transport_) loss.last_heard = last_heard_;
  // Kept until the end: this may be its call.
  const auto transport = std::exchange(transport_, nullptr);
  listener_.Over(*this, loss, outbox_.TransportEnded());
}

// ---- What comes from the exchange. ----

void Leg::ReadBegins() {
  read_ = {.heard = timers_.WallNow(), .now = timers_.Now()};
  listener_.ReadBegins();
}

void Leg::ReadEnds() {
  read_.reset();
  listener_.ReadEnds();
}

void Leg::Received(FrameKind kind, std::string_view payload) {
  last_heard_ = read_ ? read_->heard : timers_.WallNow();
  // The matches look at the payload first; what follows from them comes when the session has taken it.
  if (heartbeat_->Received(payload, read_ ? read_->now : timers_.Now()))
    listener_.HeartbeatAnswered(*heartbeat_->round_trip());
  const Setup::Verdict verdict = setup_ && !leaving() ? setup_->Received(payload) : Setup::Verdict::kWait;
  ++received_frames_;
  if (ready_) ++received_since_ready_;
  listener_.Received(*this, kind, payload, last_heard_);
  // The same frame may have been the reason to leave: then it opens nothing. That a login was refused counts all the
  // same.
  if (!leaving() || verdict == Setup::Verdict::kRejected) GoOn(verdict);
}

void Leg::Ponged(std::string_view payload) {
  last_heard_ = timers_.WallNow();
  const SteadyTime now = timers_.Now();
  if (heartbeat_->Pong(now)) listener_.HeartbeatAnswered(*heartbeat_->round_trip());
  // A pong answers the first ping of its payload, and all before it: a peer may answer only its latest (RFC 6455
  // section 5.5.3).
  const auto answered = std::ranges::find_if(
      pings_, [payload](const PingUnderWay& ping) { return ping.sent_at && ping.payload == payload; });
  if (answered == pings_.end()) return;
  const PingUnderWay ping = *answered;
  pings_.erase(pings_.begin(), answered + 1);
  if (!ping.heartbeat && !ping.former) listener_.Ponged(payload, now - *ping.sent_at);
}

// ---- Liveness. ----

void Leg::ArmLiveness() {
  const std::optional<SteadyTime> next = heartbeat_->Next();
  if (!next || (liveness_due_ && *liveness_due_ <= *next)) return;
  liveness_due_ = next;
  liveness_timer_->At(*next, [this] { CheckLiveness(); });
}

void Leg::CheckLiveness() {
  liveness_due_.reset();
  if (leaving()) return;  // A goodbye has a timeout of its own.
  const SteadyTime now = timers_.Now();
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
            .payload = heartbeat_->NextPayload(timers_.WallNow())});
    }
  }
  ArmLiveness();
}

// ---- What is written. ----

// Pings count as under way from here on: their limit holds for those that wait, too.
void Leg::Bind(Outgoing item) {
  if (item.ping_frame) {
    const bool heartbeat = item.what == Outgoing::What::kHeartbeat;
    // A heartbeat stands for those before it, which a peer may never answer.
    if (heartbeat) std::erase_if(pings_, [](const PingUnderWay& ping) { return ping.heartbeat; });
    pings_.push_back({item.payload, std::nullopt, heartbeat});
  }
  outbox_.Bind(std::move(item));
  Pump();
}

void Leg::BindAfterSetup(Outgoing item) {
  if (ready_) return Bind(std::move(item));
  after_setup_bytes_ += kOutgoingBytes + item.payload.size();
  after_setup_.push_back(std::move(item));
  listener_.OutboxChanged();
}

// One write is under way at a time.
void Leg::Pump() {
  if (transport_ && !leaving()) {
    if (const Outgoing* next = outbox_.Next()) {
      const SteadyTime now = timers_.Now();
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
  listener_.OutboxChanged();
}

void Leg::Written() {
  const Outgoing item = outbox_.Written();
  heartbeat_->WriteEnded();
  if (item.what == Outgoing::What::kHeartbeat) heartbeat_queued_ = false;
  listener_.Written(*this, item);
  Pump();
  if (item.what == Outgoing::What::kSetup && !leaving()) GoOn(setup_->Written(item.setup_key));
}

std::vector<Outgoing> Leg::Withdraw() {
  std::erase_if(pings_, [](const PingUnderWay& ping) { return !ping.heartbeat && !ping.sent_at; });
  for (PingUnderWay& ping : pings_) ping.former = true;
  return outbox_.Withdraw();
}

size_t Leg::UnansweredPings() const {
  return static_cast<size_t>(std::ranges::count(pings_, false, &PingUnderWay::heartbeat));
}

}  // namespace fairlead
