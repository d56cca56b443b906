// Random conversations against the promises of DESIGN.md section 4. What happens, and when, comes from a seed.
#include <algorithm>
#include <map>
#include <set>

#include "session/session.h"
#include "support/random.h"
#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;

// A reader that checks each entry as it comes, and may be slow, held, or leave.
class Reader final : private Subscription::Listener {
 public:
  Reader(std::shared_ptr<Session> session, bool owner, Overflow overflow)
      : subscription_(std::make_unique<Subscription>(std::move(session), static_cast<Subscription::Listener&>(*this),
                                                     owner, Start{.from = Start::From::kOldest}, overflow)) {
    next_ = subscription_->next_sequence();
  }

  void Read() {
    while (!ended_) {
      if (const auto gap = subscription_->TakeGap()) {
        EXPECT_EQ(gap->from, next_) << "a gap covers what is missed, and nothing else";
        EXPECT_GE(gap->to, gap->from);
        EXPECT_FALSE(after_gap_) << "one gap, not two";
        next_ = gap->to + 1;
        state_.reset();  // Unknown behind a gap.
        after_gap_ = true;
        continue;
      }
      const Entry* entry = subscription_->Peek();
      if (entry == nullptr) break;
      after_gap_ = false;
      EXPECT_EQ(subscription_->next_sequence(), next_) << "a hole";
      Check(*entry);
      subscription_->Advance();
      ++next_;
    }
    if (subscription_->ended() != nullptr) ended_ = true;
  }
  bool ended() const { return ended_; }
  Subscription& subscription() { return *subscription_; }

  std::map<uint64_t, int> outcomes;          // How many each id has had.
  std::map<std::string, Outcome> sends;      // By the payload that the test gave it.
  std::map<uint64_t, std::string> payloads;  // Set by the test.
  int closed = 0;

 private:
  void Check(const Entry& entry) {
    EXPECT_GE(entry.generation, generation_) << "generations do not fall";
    generation_ = entry.generation;
    EXPECT_EQ(closed == 0 || !entry.frame(), true) << "a frame after CLOSED";
    if (const auto* change = std::get_if<std::unique_ptr<StateChange>>(&entry.what)) return CheckChange(**change);
    if (const auto* result = std::get_if<std::unique_ptr<CommandResult>>(&entry.what)) {
      ++outcomes[(*result)->id];
      sends[payloads[(*result)->id]] = (*result)->outcome;
      EXPECT_EQ((*result)->failure.has_value(),
                (*result)->outcome == Outcome::kNotSent || (*result)->outcome == Outcome::kUnknown);
      return;
    }
    if (state_) {
      EXPECT_TRUE(*state_ == State::kOpening || *state_ == State::kOpen) << "a frame while " << Name(*state_);
    }
  }
  void CheckChange(const StateChange& change) {
    EXPECT_EQ(closed, 0) << "CLOSED is the last state";
    if (state_) {
      switch (change.state) {
        case State::kConnecting:
          EXPECT_EQ(*state_, State::kReconnecting);
          break;
        case State::kOpening:
          EXPECT_EQ(*state_, State::kConnecting);
          EXPECT_EQ(change.blind_from.has_value(), change.generation > 1);
          break;
        case State::kOpen:
          EXPECT_EQ(*state_, State::kOpening) << "OPEN only after setup";
          break;
        case State::kWaiting:
          ADD_FAILURE() << "nothing is asked here";
          break;
        case State::kReconnecting:
          EXPECT_NE(*state_, State::kReconnecting);
          EXPECT_TRUE(change.cause);
          break;
        case State::kClosed:
          EXPECT_TRUE(change.cause);
      }
    }
    if (change.blind_from) {
      EXPECT_LE(*change.blind_from, *change.blind_until);
    }
    if (change.state == State::kClosed) ++closed;
    state_ = change.state;
  }
  void Waiting(Subscription& /*subscription*/, size_t /*entries*/, size_t /*bytes*/) override { EXPECT_FALSE(ended_); }
  void Asked(Subscription& /*subscription*/, const Question& /*question*/) override {}
  void Ponged(Subscription& /*subscription*/, std::string_view /*payload*/, Duration round_trip) override {
    EXPECT_GE(round_trip, 0s);
  }

  uint64_t next_ = 1;
  uint64_t generation_ = 0;
  std::optional<State> state_;
  bool after_gap_ = false;
  bool ended_ = false;
  std::unique_ptr<Subscription> subscription_;
};

SessionOptions RandomOptions(Draws& draws) {
  SessionOptions options = PlainOptions();
  options.journal.bytes = draws.OneIn(2) ? 1'000'000 : draws.Between(64, 2000);
  options.heartbeat.interval = draws.OneIn(2) ? 0s : 1s;
  options.heartbeat.pong_timeout = draws.OneIn(2) ? 0s : 500ms;
  options.heartbeat.idle_timeout = draws.OneIn(2) ? 0s : 3s;
  options.heartbeat.write_timeout = 2s;
  options.reconnect.stable_after = draws.Milliseconds(2000);
  options.reconnect.max_attempts = draws.OneIn(4) ? 4 : 0;
  for (uint64_t i = draws.Below(3); i > 0; --i) {
    SetupStep step{.key = "step" + std::to_string(i), .payload = "setup step" + std::to_string(i), .timeout = 1s};
    if (draws.OneIn(2)) step.expect.contains = {"ok"};
    options.setup.push_back(step);
  }
  return options;
}

class Simulation {
 public:
  explicit Simulation(Draws& draws) : draws_(draws) {
    bed_.limits.send_queue_bytes = 2000;
    bed_.dialler.prepare = [this](Peer& peer) {
      peer.takes_writes = draws_.OneIn(2);
      peer.says_goodbye = draws_.OneIn(2);
      peer.pongs = !draws_.OneIn(3);
    };
    session_ = bed_.Open(RandomOptions(draws));
    owner_ = std::make_unique<Reader>(session_, true, Overflow::kSkip);
    session_->Begin();
  }

  void Run() {
    for (int step = 0; step < 250 && !session_->closed(); ++step) {
      bed_.draw = draws_.Unit();
      OneEvent();
      if (draws_.OneIn(3)) bed_.time.Settle();
      CheckBounds();
    }
    session_->Close({Reason::kClosed, Phase::kUnspecified, ""});
    for (const auto& peer : bed_.dialler.peers) peer->End();
    bed_.time.Advance(1h);
    Judge();
  }

 private:
  void OneEvent() {
    Peer* peer = bed_.dialler.peers.empty() ? nullptr : &bed_.dialler.peer();
    switch (draws_.Below(16)) {
      case 0:
      case 1:
        if (bed_.dialler.under_way() > 0) {
          if (draws_.OneIn(4)) {
            bed_.dialler.Refuse();
          } else {
            bed_.dialler.Accept();
          }
        }
        break;
      case 2:
      case 3:
      case 4:
        if (peer != nullptr) peer->Text(draws_.OneIn(3) ? "ok" : draws_.Text(150));
        break;
      case 5:
        if (peer != nullptr && draws_.OneIn(4)) peer->End();
        break;
      case 6:
      case 7:
        Send();
        break;
      case 8:
        session_->Ping(Command("ping"), "p");
        break;
      case 9:
        if (peer != nullptr) {
          if (draws_.OneIn(2)) ++peer->acknowledged;
          peer->Take();
        }
        break;
      case 10:
        if (draws_.OneIn(6)) session_->Reconnect(Command("reconnect"));
        break;
      case 11:
        if (draws_.OneIn(3))
          readers_.push_back(
              std::make_unique<Reader>(session_, false, draws_.OneIn(2) ? Overflow::kSkip : Overflow::kDetach));
        break;
      case 12:
        if (!readers_.empty()) {
          auto& reader = readers_[draws_.Below(readers_.size())];
          if (draws_.OneIn(3)) {
            std::swap(reader, readers_.back());
            readers_.pop_back();
          } else {
            reader->subscription().Hold(draws_.OneIn(2));
          }
        }
        break;
      case 13:
        owner_->Read();
        break;
      case 14:
        for (const auto& reader : readers_) {
          if (draws_.OneIn(2)) reader->Read();
        }
        break;
      default:
        bed_.time.Advance(draws_.Milliseconds(draws_.OneIn(5) ? 3000 : 300));
    }
  }

  uint64_t Command(const std::string& what) {
    ++commands_;
    owner_->payloads[commands_] = what + " " + std::to_string(commands_);
    return commands_;
  }
  void Send() {
    SendCommand send{.id = Command("send"), .max_wait = draws_.OneIn(2) ? 0s : draws_.Milliseconds(2000)};
    send.payload = owner_->payloads[send.id];
    if (draws_.OneIn(8)) send.generation = session_->generation();
    if (draws_.OneIn(6)) {
      send.setup_key = "key" + std::to_string(draws_.Below(3));
      subscriptions_.insert(send.payload);
    }
    if (draws_.OneIn(10)) send.forget_setup_keys = {"key" + std::to_string(draws_.Below(3))};
    session_->Send(std::move(send));
  }

  void CheckBounds() {
    const Journal& journal = session_->journal();
    EXPECT_TRUE(journal.bytes() <= session_->options().journal.bytes || journal.oldest() == journal.head());
    EXPECT_LE(bed_.dialler.under_way(), 1u);
    const auto live = std::ranges::count_if(bed_.dialler.peers, [](const auto& peer) { return peer->live(); });
    EXPECT_LE(live, 1) << "one transport at a time";
  }

  void Judge() {
    owner_->Read();
    EXPECT_TRUE(session_->closed());
    EXPECT_TRUE(owner_->ended());
    for (const auto& reader : readers_) {
      reader->Read();
      EXPECT_TRUE(reader->ended()) << "a reader whose session is closed is told";
    }
    // What the owner has seen of outcomes: all, unless its ring was short.
    const bool saw_all = session_->options().journal.bytes == 1'000'000;
    for (const auto& [id, count] : owner_->outcomes) EXPECT_EQ(count, 1) << "command " << id;
    if (saw_all) {
      EXPECT_EQ(owner_->outcomes.size(), commands_) << "every command has an outcome";
      EXPECT_EQ(owner_->closed, 1);
    }
    // Never a stale send: a payload is on one transport at most, unless it is setup; what is NOT_SENT is on none.
    std::map<std::string, int> transports;
    for (const auto& peer : bed_.dialler.peers) {
      std::set<std::string> seen;
      bool setup_over = false;
      for (const std::string& message : peer->Messages()) {
        const bool setup = message.starts_with("setup ") || subscriptions_.contains(message);
        EXPECT_TRUE(seen.insert(message).second || message.empty()) << "twice on one transport: " << message;
        if (message.starts_with("setup ")) {
          EXPECT_FALSE(setup_over) << "setup behind an ordinary send";
        }
        setup_over = setup_over || (!setup && !message.empty());
      }
      for (const std::string& message : seen) ++transports[message];
    }
    for (const auto& [payload, count] : transports) {
      if (!payload.starts_with("send ")) continue;
      EXPECT_TRUE(count == 1 || subscriptions_.contains(payload)) << payload << " on " << count << " transports";
      if (owner_->sends.contains(payload)) {
        EXPECT_NE(owner_->sends[payload], Outcome::kNotSent) << payload;
      }
    }
    for (const auto& [payload, outcome] : owner_->sends) {
      if (payload.starts_with("send ") && outcome != Outcome::kNotSent) {
        EXPECT_TRUE(transports.contains(payload)) << payload << " is said to be written, and was not";
      }
    }
    EXPECT_EQ(bed_.registry.size(), 0u);
    EXPECT_EQ(bed_.time.NextDue(), std::nullopt) << "a timer is left";
  }

  Draws& draws_;
  Testbed bed_;
  std::shared_ptr<Session> session_;
  std::unique_ptr<Reader> owner_;
  std::vector<std::unique_ptr<Reader>> readers_;
  std::set<std::string> subscriptions_;
  uint64_t commands_ = 0;
};

TEST(Simulation, ThePromisesHoldWhateverHappens) {
  ForEachSeed(1000, [](Draws& draws) { Simulation(draws).Run(); });
}

}  // namespace
}  // namespace fairlead
