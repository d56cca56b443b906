// "Fail at every step": a scripted conversation is played again and again, and each time the transport is lost after
// another of its steps. Whatever the step, the promises hold.
#include <functional>
#include <map>
#include <set>

#include "session/session.h"
#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::StartsWith;

SessionOptions Scripted() {
  SessionOptions options = PlainOptions();
  options.heartbeat.interval = 20s;
  options.setup = {{.key = "login", .payload = "login", .expect = {{"ok"}}}, {.key = "sub", .payload = "sub"}};
  return options;
}

struct Play {
  Conversation talk{Scripted()};
  uint64_t commands = 0;
  std::map<uint64_t, std::string> payloads = {};  // Of sends, by id.

  // A peer that takes writes one by one, and a session on its way up.
  void Accept() {
    if (talk.dialler.under_way() == 0) return;  // It is closing.
    talk.dialler.Accept();
    talk.peer().takes_writes = false;
  }
  void Send(Duration max_wait = 0s, std::string setup_key = "") {
    const std::string payload = "order " + std::to_string(++commands);
    payloads[commands] = payload;
    talk.Send({.id = commands, .payload = payload, .max_wait = max_wait, .setup_key = std::move(setup_key)});
  }
  bool live() { return !talk.dialler.peers.empty() && talk.peer().live(); }
  void IfLive(const std::function<void(Peer&)>& act) {
    if (live()) act(talk.peer());
  }
};

using Step = std::function<void(Play&)>;

const std::vector<Step>& Script() {
  static const std::vector<Step> script = {
      [](Play& play) { play.Send(10s); },
      [](Play& play) { play.Accept(); },
      [](Play& play) { play.Send(10s); },
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Take(); }); },      // login
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Text("ok"); }); },  // and its answer
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Take(); }); },      // sub; OPEN
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Text("one"); }); },
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Take(); }); },  // the sends that waited
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Take(); }); },
      [](Play& play) { play.Send(); },
      [](Play& play) { play.Send(0s, "more"); },
      [](Play& play) { play.talk.session().Ping(++play.commands, "p"); },
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Take(); }); },
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Binary("two"); }); },
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Take(); }); },
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Take(); }); },
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Pong("p"); }); },
      [](Play& play) { play.talk.time.Advance(20s); },  // a heartbeat
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Take(); }); },
      [](Play& play) { play.IfLive([](Peer& peer) { peer.Pong(""); }); },
      [](Play& play) { play.talk.session().Reconnect(++play.commands); },
      [](Play& play) { play.Send(10s); },
  };
  return script;
}

// What holds of any conversation once its session is closed.
void Judge(Play& play, const Lines& lines) {
  ASSERT_FALSE(lines.empty());
  std::map<uint64_t, int> outcomes;
  int closed = 0;
  int generation = 0;
  std::string state;
  for (const std::string& line : lines) {
    const std::string word = line.substr(0, line.find_first_of(" :"));
    if (word == "CONNECTING" || word == "OPENING" || word == "OPEN" || word == "RECONNECTING" || word == "CLOSED") {
      EXPECT_NE(state, "CLOSED") << line;
      if (word == "OPEN") {
        EXPECT_EQ(state, "OPENING") << "OPEN only after setup";
      }
      if (word == "OPENING") {
        EXPECT_EQ(state, "CONNECTING");
        EXPECT_THAT(line, StartsWith("OPENING g" + std::to_string(++generation)));
      }
      if (word == "CONNECTING") {
        EXPECT_TRUE(state.empty() || state == "RECONNECTING") << state;
      }
      closed += word == "CLOSED" ? 1 : 0;
      state = word;
    } else if (line[0] >= '0' && line[0] <= '9') {
      ++outcomes[std::stoull(line)];
    }
  }
  EXPECT_EQ(closed, 1);
  EXPECT_THAT(lines.back(), StartsWith("ended: "));
  EXPECT_EQ(outcomes.size(), play.commands);
  for (const auto& [id, count] : outcomes) EXPECT_EQ(count, 1) << "command " << id;

  // Nothing but setup is on two transports, and what was not sent is on none.
  std::map<std::string, int> written;
  for (const auto& peer : play.talk.dialler.peers) {
    const std::vector<std::string> messages = peer->Messages();
    for (const std::string& message : messages) ++written[message];
    if (messages.size() > 1) {
      EXPECT_EQ(messages[0], "login");
      EXPECT_EQ(messages[1], "sub");
    }
  }
  const std::vector<std::string> stored = play.talk.session().SetupKeys();
  for (const auto& [id, payload] : play.payloads) {
    const std::string number = std::to_string(id);
    const bool not_sent =
        std::ranges::any_of(lines, [&](const std::string& line) { return line.starts_with(number + " NOT_SENT"); });
    const bool setup = std::ranges::find(stored, "more") != stored.end() && payload == "order 4";
    EXPECT_LE(written[payload], setup ? 100 : 1) << payload;
    EXPECT_EQ(written[payload] == 0, not_sent) << payload;
  }
  EXPECT_EQ(play.talk.time.NextDue(), std::nullopt) << "a timer is left";
}

// From where the script has left it: up again, then closed.
void Finish(Play& play, Lines lines) {
  Conversation& talk = play.talk;
  const auto read = [&](Lines more) { lines.insert(lines.end(), more.begin(), more.end()); };
  read(talk.Read());
  for (int i = 0; i < 20 && talk.session().state() != State::kOpen; ++i) {
    if (talk.dialler.under_way() > 0) {
      talk.dialler.Accept();
    } else if (play.live()) {
      talk.peer().takes_writes = true;
      talk.peer().Take();
      read(talk.Read());
      talk.peer().Text("ok");
    }
    read(talk.After(500ms));
  }
  EXPECT_EQ(talk.session().state(), State::kOpen) << "it recovers";
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  read(talk.After(1min));
  Judge(play, lines);
}

TEST(Replay, ThePromisesHoldWhereverTheTransportIsLost) {
  for (size_t lost_after = 0; lost_after <= Script().size(); ++lost_after) {
    SCOPED_TRACE("lost after step " + std::to_string(lost_after));
    Play play;
    Lines lines;
    for (size_t step = 0; step < Script().size(); ++step) {
      Script()[step](play);
      if (step + 1 == lost_after) play.IfLive([](Peer& peer) { peer.End(); });
      const Lines more = play.talk.Read();
      lines.insert(lines.end(), more.begin(), more.end());
      if (step + 1 == lost_after && play.talk.dialler.under_way() > 0 && !play.talk.dialler.peers.empty())
        play.Accept();
    }
    Finish(play, std::move(lines));
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Replay, ThePromisesHoldWhereverTheSessionIsClosed) {
  for (size_t closed_after = 0; closed_after <= Script().size(); ++closed_after) {
    SCOPED_TRACE("closed after step " + std::to_string(closed_after));
    Play play;
    for (size_t step = 0; step < Script().size(); ++step) {
      if (step == closed_after) play.talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
      Script()[step](play);
      if (play.talk.session().closed()) break;
    }
    play.talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
    Judge(play, play.talk.After(1min));
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace fairlead
