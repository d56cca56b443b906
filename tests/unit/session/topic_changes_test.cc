// A session that is alive while one of its topics is dead.
#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

SessionOptions Watching(bool reconnect = false) {
  SessionOptions options = PlainOptions();
  options.topics = {{.key = "btc", .match = {{"btc"}}, .max_silence = 5s, .reconnect = reconnect},
                    {.key = "eth", .match = {{"eth"}}, .max_silence = 3s}};
  return options;
}

TEST(TopicChanges, SilenceIsToldWhileTheSessionIsAlive) {
  Conversation talk(Watching());
  talk.Connect();
  EXPECT_THAT(talk.After(3s - 1ms), IsEmpty());
  talk.peer().Text("btc 1");
  EXPECT_THAT(talk.After(1ms), ElementsAre("text btc 1", "topic eth stale, never"));
  EXPECT_TRUE(talk.session().topics().states()[1].stale);
  talk.peer().Text("eth 1");
  EXPECT_THAT(talk.Read(), ElementsAre("text eth 1", "topic eth heard")) << "the frame first";
  EXPECT_THAT(talk.After(5s), ElementsAre("topic eth stale", "topic btc stale"));
  EXPECT_THAT(talk.After(1h), IsEmpty()) << "told once";
  EXPECT_TRUE(talk.peer().live());
}

TEST(TopicChanges, TheTopicThatWantsItGetsANewTransport) {
  Conversation talk(Watching(/*reconnect=*/true));
  talk.Connect();
  EXPECT_THAT(talk.After(4s), ElementsAre("topic eth stale, never")) << "eth does not want one";
  EXPECT_THAT(talk.After(1s),
              ElementsAre("topic btc stale, never", HasSubstr("RECONNECTING #2 in 250ms: TOPIC_STALE")));
  talk.time.Advance(1s);
  talk.Connect();
  EXPECT_FALSE(talk.session().topics().states()[0].stale) << "a new transport begins anew";
  EXPECT_THAT(talk.After(2s), IsEmpty());
  EXPECT_THAT(talk.After(1s), ElementsAre("topic eth stale, never"));
}

TEST(TopicChanges, WithoutAnOpenTransportSilenceSaysNothing) {
  SessionOptions options = Watching();
  options.setup = {{.key = "login", .payload = "x", .expect = {{"welcome"}}, .timeout = 1h}};
  Conversation talk(options);
  talk.Connect();
  EXPECT_THAT(talk.After(1min), IsEmpty()) << "it is not OPEN yet";
  talk.peer().Text("welcome");
  EXPECT_THAT(talk.Read(), ElementsAre("text welcome", "OPEN g1"));
  talk.peer().End();
  talk.time.Advance(1h);
  EXPECT_THAT(talk.Read(), testing::Not(testing::Contains(HasSubstr("topic"))));
}

TEST(TopicChanges, ATakeoverReplacesThem) {
  Conversation talk(Watching());
  talk.Connect();
  talk.time.Advance(2s);
  SessionOptions options = PlainOptions();
  options.topics = {{.key = "sol", .match = {{"sol"}}, .max_silence = 2s}};
  const auto session = talk.Open(options);
  const auto next = std::make_unique<Subscriber>(session);
  session->Resume();
  talk.time.Advance(2s - 1ms);
  EXPECT_THAT(next->Read(), IsEmpty());
  talk.time.Advance(1ms);
  EXPECT_THAT(next->Read(), ElementsAre("topic sol stale, never"));
}

TEST(TopicChanges, ATakeoverWithTheSameHidesNoSilence) {
  Conversation talk(Watching());
  talk.Connect();
  std::unique_ptr<Subscriber> next;
  for (int second = 1; second < 5; ++second) {
    talk.time.Advance(1s);
    next = std::make_unique<Subscriber>(talk.Open(Watching()));
  }
  talk.time.Advance(1s);
  EXPECT_THAT(next->Read(), ElementsAre("topic btc stale, never"));
}

TEST(TopicChanges, TheFramesOfOneReadAndItsTopicsComeTogether) {
  Conversation talk(Watching());
  talk.Connect();
  talk.After(5s);
  talk.peer().BeginRead();
  talk.peer().Text("btc 1");
  talk.peer().Text("btc 2");
  talk.peer().EndRead();
  EXPECT_THAT(talk.Read(), ElementsAre("text btc 1", "topic btc heard", "text btc 2"));
}

}  // namespace
}  // namespace fairlead
