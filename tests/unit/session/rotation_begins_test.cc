// What makes a session take another transport, before the old one ends or at once.
#include "support/rotation_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Rotation, AgeBeginsIt) {
  SessionOptions options = Rotating();
  options.reconnect.max_age = 100s;
  Rotation talk(options);
  talk.time.Advance(95s);
  EXPECT_EQ(talk.dialler.under_way(), 1u);
  talk.dialler.Accept();
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  EXPECT_THAT(talk.Read(), testing::Contains("OPEN g2: MAX_AGE, met 1/1"));
  EXPECT_THAT(talk.After(1s), ElementsAre(HasSubstr("leg CLOSED g1: MAX_AGE")));
  talk.time.Advance(94s);
  EXPECT_EQ(talk.dialler.under_way(), 1u) << "each has its age";
}

TEST(Rotation, AFrameThatAnnouncesTheEndBeginsIt) {
  SessionOptions options = Rotating();
  options.reconnect.shutdown = {{"going away"}};
  options.reconnect.stable_after = 0s;
  Rotation talk(options);
  talk.first().Text("going away in 10 s");
  EXPECT_THAT(talk.Read(), ElementsAre("text going away in 10 s"));
  talk.dialler.Accept();
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  EXPECT_THAT(talk.Read(), testing::Contains("OPEN g2: SHUTDOWN_ANNOUNCED, met 1/1"));
}

TEST(Rotation, AnExchangeThatAnnouncesItsEndToEachTransportIsNotDialledWithoutAPause) {
  SessionOptions options = Rotating();
  options.reconnect.shutdown = {{"going away"}};
  Rotation talk(options);
  talk.first().Text("going away");
  EXPECT_EQ(talk.dialler.under_way(), 0u);
  talk.time.Advance(250ms);
  EXPECT_EQ(talk.dialler.under_way(), 1u);
}

TEST(Rotation, WithoutMakeBeforeBreakTheAnnouncementBreaksFirst) {
  SessionOptions options = PlainOptions();
  options.reconnect.shutdown = {{"going away"}};
  Rotation talk(options);
  talk.first().Text("going away");
  EXPECT_THAT(talk.Read(),
              ElementsAre("text going away", "RECONNECTING #2 in 0ms: SHUTDOWN_ANNOUNCED 1000 ", "CONNECTING #2"));
  talk.Connect();
  talk.peer().Text("going away");
  EXPECT_THAT(talk.Read(), ElementsAre("text going away", "RECONNECTING #3 in 250ms: SHUTDOWN_ANNOUNCED 1000 "))
      << "but not again and again without a pause";
}

TEST(Rotation, AFrameThatEndsTheSetupAndAnnouncesTheEndOpensNothing) {
  SessionOptions options = PlainOptions();
  options.setup = {{.key = "login", .payload = "do login", .expect = {{"welcome"}}}};
  options.reconnect.shutdown = {{"going away"}};
  Rotation talk(options);
  talk.Read();
  talk.peer().Text("welcome, and going away");
  EXPECT_THAT(talk.Read(),
              ElementsAre("text welcome, and going away", HasSubstr("RECONNECTING #2 in 250ms: SHUTDOWN_ANNOUNCED")));
}

TEST(Rotation, AFrameThatAnnouncesTheEndTakesNobodysPlace) {
  SessionOptions options = Rotating(/*dedupe=*/false);
  options.reconnect.shutdown = {{"going away"}};
  Rotation talk(options);
  talk.Rotate();
  talk.Read();
  talk.peer().Text("going away");
  EXPECT_THAT(talk.Read(),
              ElementsAre("text going away", HasSubstr("leg RECONNECTING g2 in 250ms: SHUTDOWN_ANNOUNCED")));
  EXPECT_EQ(talk.session().generation(), 1u);
}

TEST(Rotation, AnAgeThatIsReachedInTheSetupIsRememberedUntilTheSessionIsOpen) {
  SessionOptions options = Rotating();
  options.reconnect.max_age = 1s;
  options.setup = {{.key = "login", .payload = "do login", .expect = {{"welcome"}}, .reject = {{"refused"}}}};
  Rotation talk(options);
  talk.peer().Text("welcome");
  talk.Rotate();
  Peer& refused = talk.peer();
  refused.says_goodbye = false;
  refused.Text("refused");
  talk.first().End();
  talk.time.Advance(250ms);
  talk.dialler.Accept();
  talk.time.Advance(1s);  // Its age, while the refused one is still being ended.
  refused.End();
  talk.peer().Text("welcome");
  EXPECT_THAT(talk.Read(), testing::Contains("OPEN g3"));
  EXPECT_EQ(talk.dialler.under_way(), 1u) << "the next one, for MAX_AGE";
}

TEST(Rotation, AnAnnouncedEndWithoutReconnectIsKeptForThoseWhoWereNotThere) {
  SessionOptions options = PlainOptions();
  options.reconnect.shutdown = {{"going away"}};
  options.linger = 30s;
  Rotation talk(options);
  talk.first().says_goodbye = false;
  talk.first().Text("going away");
  options.reconnect.enabled = false;
  auto next = std::make_unique<Subscriber>(talk.Open(options));
  talk.first().Close(1000);
  EXPECT_TRUE(next->session().closed());
  EXPECT_EQ(next->session().last_failure()->reason, Reason::kShutdownAnnounced);
  next.reset();
  talk.time.Advance(29s);
  EXPECT_EQ(talk.registry.size(), 1u);
  talk.time.Advance(1s);
  EXPECT_EQ(talk.registry.size(), 0u);
}

TEST(Rotation, ASilentTopicBeginsItAndTheOthersGoOn) {
  SessionOptions options = Rotating();
  options.topics = {{.key = "btc", .match = {{"btc"}}, .max_silence = 5s, .reconnect = true}};
  options.reconnect.stable_after = 1s;
  Rotation talk(options);
  EXPECT_THAT(talk.After(5s), ElementsAre("topic btc stale, never"));
  EXPECT_EQ(talk.dialler.under_way(), 1u);
  talk.dialler.Accept();
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  EXPECT_THAT(talk.Read(), testing::Contains("OPEN g2: TOPIC_STALE, met 1/1"));
  EXPECT_FALSE(talk.session().topics().states()[0].stale) << "a new transport begins anew";
}

TEST(Rotation, ExchangesThatGoAwayAreDialledAgainAtOnce) {
  for (const uint16_t code : {uint16_t{1001}, uint16_t{1012}}) {
    Rotation talk(PlainOptions());
    talk.first().Close(code, "restart");
    EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("RECONNECTING #2 in 0ms: PEER_CLOSED"), "CONNECTING #2"));
    talk.Connect();
    talk.peer().Close(code, "restart");
    EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("RECONNECTING #3 in 250ms: PEER_CLOSED")));
  }
  Rotation other(PlainOptions());
  other.first().Close(1000);
  EXPECT_THAT(other.Read(), ElementsAre(HasSubstr("RECONNECTING #2 in 250ms: PEER_CLOSED")));
}

TEST(Rotation, TheSecondTransportGoesToAnotherAddressIfThereIsOne) {
  Rotation talk;
  talk.session().Reconnect(0, /*make_before_break=*/true);
  EXPECT_FALSE(talk.dialler.requests.back().avoid) << "the first one's is not known";
  Testbed fresh;
  fresh.dialler.prepare = [](Peer& peer) { peer.address = IpAddress::V4({192, 0, 2, 1}); };
  Subscriber owner(fresh.Open(Rotating()));
  owner.session().Begin();
  fresh.dialler.Accept();
  owner.session().Reconnect(0, /*make_before_break=*/true);
  EXPECT_EQ(fresh.dialler.requests.back().avoid, IpAddress::V4({192, 0, 2, 1}));
}

}  // namespace
}  // namespace fairlead
