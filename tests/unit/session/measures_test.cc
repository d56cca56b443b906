// What sessions and their subscriptions count of themselves.
#include <vector>

#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::Pair;

size_t In(Testbed& bed, State state) { return bed.registry.measures().states[static_cast<size_t>(state)]; }

TEST(SessionMeasuresOfASession, EachIsInOneState) {
  Conversation talk;
  EXPECT_EQ(In(talk, State::kConnecting), 1u);
  talk.Connect();
  EXPECT_EQ(In(talk, State::kConnecting), 0u);
  EXPECT_EQ(In(talk, State::kOpen), 1u);
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, "enough"});
  talk.Read();
  EXPECT_EQ(In(talk, State::kOpen), 0u);
  EXPECT_EQ(In(talk, State::kClosed), 1u);
  talk.owner.reset();
  talk.time.Settle();
  for (const uint64_t sessions : talk.registry.measures().states) EXPECT_EQ(sessions, 0u);
}

TEST(SessionMeasuresOfASession, ALossIsAReconnectAndTheWayBackIsARecovery) {
  Conversation talk;
  talk.Connect();
  const SessionMeasures& measures = talk.registry.measures();
  EXPECT_THAT(measures.reconnects, ElementsAre());
  talk.After(1min);  // It is stable: the next dial comes at once.
  talk.peer().End(Lost(Reason::kConnectionLost));
  talk.Read();
  talk.dialler.Refuse();  // Tried again after a pause.
  talk.Read();
  EXPECT_EQ(measures.recovery.count(2), 0u);
  talk.After(1s);
  talk.Connect();
  EXPECT_THAT(measures.reconnects, ElementsAre(Pair(Reason::kConnectFailed, 1), Pair(Reason::kConnectionLost, 1)));
  EXPECT_EQ(measures.recovery.sum(), 1s);
  EXPECT_EQ(measures.recovery.count(4), 1u);
  ASSERT_EQ(measures.latest_reconnects.size(), 2u);
  EXPECT_EQ(measures.latest_reconnects[0].session, "md");
  EXPECT_EQ(measures.latest_reconnects[0].identity, "dev");
  EXPECT_EQ(measures.latest_reconnects[0].generation, 1u);
  EXPECT_EQ(measures.latest_reconnects[0].time, VirtualTime::kWallStart + 1min);
}

TEST(SessionMeasuresOfASession, AGoodbyeIsNoReconnect) {
  Conversation talk;
  talk.Connect();
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, "enough"});
  talk.Read();
  EXPECT_THAT(talk.registry.measures().reconnects, ElementsAre());
}

TEST(SessionMeasuresOfASession, AnotherTransportInItsPlaceIsAReconnectWithoutARecovery) {
  SessionOptions options = PlainOptions();
  options.reconnect.make_before_break = true;
  Conversation talk(options);
  talk.Connect();
  talk.session().Reconnect(1, /*make_before_break=*/true);
  Peer& second = talk.dialler.Accept();
  talk.Read();
  second.Text("both are there");
  talk.After(1min);
  EXPECT_EQ(talk.session().generation(), 2u);
  EXPECT_THAT(talk.registry.measures().reconnects, ElementsAre(Pair(Reason::kReconnectRequested, 1)));
  EXPECT_EQ(talk.registry.measures().recovery.sum(), Duration::zero());
}

TEST(SessionMeasuresOfASession, FramesAndBytesBothWays) {
  Conversation talk;
  talk.Connect();
  talk.peer().Text("12345");
  talk.peer().Binary("123");
  talk.Send(1, "1234567");
  talk.session().Ping(2, "beep");
  talk.Read();
  const SessionMeasures& measures = talk.registry.measures();
  EXPECT_EQ(measures.frames_in, 2u);
  EXPECT_EQ(measures.bytes_in, 8u);
  EXPECT_EQ(measures.frames_out, 1u);
  EXPECT_EQ(measures.bytes_out, 11u);
}

TEST(SessionMeasuresOfASession, EachAnsweredHeartbeatIsARoundTrip) {
  SessionOptions options = PlainOptions();
  options.heartbeat = {.payload = "hb {n}"};
  Conversation talk(options);
  talk.Connect();
  talk.After(20s);
  talk.After(25ms);
  talk.peer().Pong("hb 1");
  talk.peer().Pong("hb 1");  // Nothing is open that it could answer.
  talk.session().Ping(1, "mine");
  talk.Read();
  talk.peer().Pong("mine");
  EXPECT_EQ(talk.registry.measures().heartbeat_round_trip.sum(), 25ms);
}

TEST(SessionMeasuresOfASubscription, GapsResumesAndDetachments) {
  SessionOptions options = PlainOptions();
  options.journal.bytes = 3 * (64 + 10);
  Conversation talk(options);
  const auto join = [&](Start start, Overflow overflow = Overflow::kSkip) {
    return std::make_unique<Subscriber>(talk.owner->subscription().session(),
                                        Subscriber::Options{.owner = false, .start = start, .overflow = overflow});
  };
  talk.Connect();
  const SessionMeasures& measures = talk.registry.measures();
  const auto detached = join({}, Overflow::kDetach);
  const uint64_t head = talk.session().journal().head();
  for (int i = 0; i < 6; ++i) talk.peer().Text("frame 1000");
  EXPECT_EQ(measures.detached, 1u);
  const std::string epoch = talk.session().epoch();
  join({Start::From::kAfter, epoch, head + 5})->Read();
  EXPECT_EQ(measures.gaps, 0u);
  join({Start::From::kAfter, epoch, head})->Read();
  EXPECT_EQ(measures.gaps, 1u);
  join({Start::From::kAfter, "another", 1})->Read();
  join({Start::From::kOldest})->Read();
  EXPECT_EQ(measures.resumed_continued, 1u);
  EXPECT_EQ(measures.resumed_with_gap, 1u);
  EXPECT_EQ(measures.resumed_epoch_changed, 1u);
}

TEST(SessionMeasuresOfASubscription, TheLiveBeginsBehindThePast) {
  Conversation talk;
  talk.Connect();
  talk.peer().Text("past");
  Subscriber reader(talk.owner->subscription().session(),
                    Subscriber::Options{.owner = false, .start = {Start::From::kOldest}});
  EXPECT_FALSE(reader.subscription().IsLive());
  reader.Read();
  talk.peer().Text("live");
  EXPECT_TRUE(reader.subscription().IsLive());
  reader.subscription().Hold(true);
  reader.subscription().Hold(false);
  EXPECT_FALSE(reader.subscription().IsLive()) << "it waited because it was held";
}

}  // namespace
}  // namespace fairlead
