// How a session finds out that a transport is dead: heartbeats, silence, stuck writes.
#include "session/session.h"
#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using What = HeartbeatPolicy::What;

SessionOptions Beating(HeartbeatPolicy policy = {}) {
  SessionOptions options = PlainOptions();
  options.heartbeat = std::move(policy);
  return options;
}

TEST(Liveness, BeatsAndMeasuresTheRoundTrip) {
  Conversation talk(Beating({.payload = "hb {n}"}));
  talk.Connect();
  EXPECT_THAT(talk.After(20s), IsEmpty());
  ASSERT_EQ(talk.peer().pings(), 1u);
  EXPECT_EQ(talk.peer().writes[0].payload, "hb 1");
  talk.After(25ms);
  talk.peer().Pong("hb 1");
  EXPECT_THAT(talk.Read(), IsEmpty()) << "a heartbeat's pong is nobody's";
  EXPECT_EQ(talk.session().heartbeat_round_trip(), 25ms);
  EXPECT_THAT(talk.After(15s), IsEmpty());
  EXPECT_EQ(talk.peer().pings(), 1u);
  talk.After(5s);
  EXPECT_EQ(talk.peer().writes.back().payload, "hb 2");
}

TEST(Liveness, BeatsGoOnWhileOpening) {
  SessionOptions options = Beating({.interval = 3s});
  options.setup = {{.key = "login", .payload = "login", .expect = {{"ok"}}}};
  Conversation talk(options);
  talk.dialler.prepare = [](Peer& peer) { peer.pongs = true; };
  talk.Connect();
  talk.After(9s);
  EXPECT_EQ(talk.peer().pings(), 3u);
}

TEST(Liveness, AMissingPongLosesTheTransport) {
  Conversation talk(Beating());
  talk.Connect();
  EXPECT_THAT(talk.After(29s), IsEmpty());
  talk.peer().Text("data does not help");
  EXPECT_THAT(talk.After(1s),
              ElementsAre("text data does not help", "RECONNECTING #1 in 0ms: PONG_TIMEOUT", "CONNECTING #1"));
  EXPECT_FALSE(talk.peer().live());
}

TEST(Liveness, ATextHeartbeatIsAnsweredByAKeepaliveFrame) {
  Conversation talk(Beating({.what = What::kText, .payload = "ping", .keepalive = {{"pong"}}}));
  talk.Connect();
  talk.After(20s);
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("ping"));
  talk.peer().Text("pong");
  EXPECT_THAT(talk.After(10s), ElementsAre("text pong")) << "delivered like any other";
  EXPECT_THAT(talk.After(20s), ElementsAre("RECONNECTING #1 in 0ms: PONG_TIMEOUT", "CONNECTING #1"));
}

TEST(Liveness, ABinaryHeartbeatIsABinaryMessage) {
  Conversation talk(Beating({.what = What::kBinary, .payload = "ping", .pong_timeout = 0s}));
  talk.Connect();
  talk.After(20s);
  ASSERT_EQ(talk.peer().writes.size(), 1u);
  EXPECT_EQ(talk.peer().writes[0].kind, FrameKind::kBinary);
  EXPECT_FALSE(talk.peer().writes[0].ping);
}

TEST(Liveness, SilenceOfDataLosesTheTransport) {
  Conversation talk(Beating({.interval = 0s, .idle_timeout = 15s, .keepalive = {{"hb"}}}));
  talk.Connect();
  talk.After(10s);
  talk.peer().Text("trade");
  talk.After(10s);
  talk.peer().Text("hb");
  EXPECT_THAT(talk.After(4s), ElementsAre("text hb"));
  EXPECT_THAT(talk.After(1s), ElementsAre("RECONNECTING #1 in 0ms: IDLE_TIMEOUT", "CONNECTING #1"));
}

TEST(Liveness, AStuckWriteLosesTheTransport) {
  Conversation talk(Beating({.interval = 0s}));
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Connect();
  talk.Send(1, "x");
  EXPECT_THAT(talk.After(9s), IsEmpty());
  EXPECT_THAT(talk.After(1s),
              ElementsAre("1 UNKNOWN WRITE_TIMEOUT", "RECONNECTING #1 in 0ms: WRITE_TIMEOUT", "CONNECTING #1"));
}

TEST(Liveness, ASlowWriteThatMovesDoesNot) {
  Conversation talk(Beating({.interval = 0s}));
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Connect();
  talk.Send(1, "x");
  for (int second = 0; second < 60; second += 5) {
    ++talk.peer().acknowledged;
    EXPECT_THAT(talk.After(5s), IsEmpty());
  }
  talk.peer().Take();
  EXPECT_THAT(talk.After(1min), ElementsAre("1 WRITTEN"));
}

TEST(Liveness, AHeartbeatBehindASlowWriteIsNotMissed) {
  Conversation talk(Beating());
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Connect();
  talk.After(15s);
  talk.Send(1, "long");
  for (int second = 0; second < 30; second += 5) {
    ++talk.peer().acknowledged;
    EXPECT_THAT(talk.After(5s), IsEmpty()) << "the ping is not even written";
  }
  EXPECT_EQ(talk.peer().pings(), 0u);
  talk.peer().Take();
  talk.Read();
  EXPECT_EQ(talk.peer().pings(), 1u) << "one stands for those that were due meanwhile";
  talk.peer().Take();
  EXPECT_THAT(talk.After(10s), ElementsAre("RECONNECTING #1 in 0ms: PONG_TIMEOUT", "CONNECTING #1"));
}

// A goodbye may take two seconds, and the pong timeout may pass in them: nothing spins until it has ended.
TEST(Liveness, IsNotWatchedDuringAGoodbye) {
  Conversation talk(Beating({.idle_timeout = 5s}));
  talk.dialler.prepare = [](Peer& peer) { peer.says_goodbye = false; };
  talk.Connect();
  talk.After(4s);
  talk.session().Reconnect(0);
  EXPECT_THAT(talk.After(2s), IsEmpty());
  talk.peer().End();
  EXPECT_THAT(talk.Read(), ElementsAre("RECONNECTING #1 in 0ms: RECONNECT_REQUESTED", "CONNECTING #1"));
}

TEST(Liveness, APeerThatNeverPongsIsAllowedIfSoWanted) {
  Conversation talk(Beating({.interval = 1s, .payload = "hb {n}", .pong_timeout = 0s}));
  talk.Connect();
  EXPECT_THAT(talk.After(1000s), IsEmpty());
  EXPECT_EQ(talk.peer().pings(), 1000u);
  talk.session().Ping(1, "mine");
  talk.Read();
  talk.peer().Pong("mine");
  EXPECT_THAT(talk.Read(), ElementsAre("pong mine 0ms")) << "unanswered heartbeats do not crowd it out";
}

TEST(Liveness, AnIdleSessionWithoutHeartbeatsHasNoTimer) {
  Conversation talk;
  talk.Connect();
  EXPECT_EQ(talk.time.NextDue(), std::nullopt) << "nothing polls";
}

}  // namespace
}  // namespace fairlead
