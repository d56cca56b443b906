#include "rpc/channels.h"

#include "support/channels_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// ---- Attaching. ----

TEST(Channels, AttachedComesBeforeAnyEntry) {
  Attached a;
  a.Command(kOpen, 1, 5);
  EXPECT_THAT(a.Read(), ElementsAre("1 attached md NEW 1..0", "1 result 5 DONE @0", "1 CONNECTING @1"));
  a.dialler.Accept();
  a.dialler.peer().Text("hello");
  EXPECT_THAT(a.Read(), ElementsAre("1 OPENING @2", "1 OPEN @3", "1 text hello @4"));
  a.Command(R"(join { session: "md" start { oldest { } } })", 2);
  EXPECT_THAT(a.Read(), ElementsAre("2 attached md LIVE 1..4", "2 CONNECTING @1", "2 OPENING @2", "2 OPEN @3",
                                    "2 text hello @4"));
}

TEST(Channels, QuestionsComeBehindAttachedAlsoToTheNextOwnerAndWhileHeld) {
  constexpr char kAsking[] =
      R"(open { session: "md" target { url: "ws://h/" } ask_before_dial: true setup { key: "login" ask: true } })";
  Attached a;
  a.Command(kAsking);
  EXPECT_THAT(a.Read(), ElementsAre("1 attached md NEW 1..0", "1 asked  g1 #1", "1 CONNECTING @1"));
  a.Command(kAsking, 2);
  EXPECT_THAT(a.Read(), ElementsAre("2 attached md LIVE 1..1", "2 asked  g1 #1", "1 ended SUPERSEDED"));
  a.Command("hold { on: true }", 2);
  a.Command(R"(answer { number: 1 target { url: "ws://other/" } })", 2, 5);
  EXPECT_THAT(a.Read(), ElementsAre("2 result 5 DONE @0"));
  a.dialler.Accept();
  EXPECT_THAT(a.Read(), ElementsAre("2 asked login g1 #2"));
  a.Command(R"(send { payload: "signed" answers: "login" generation: 1 })", 2);
  EXPECT_THAT(a.dialler.peer().Messages(), ElementsAre("signed"));
  a.Command("hold { }", 2);
  EXPECT_THAT(a.Read(), ElementsAre("2 OPENING @2", "2 OPEN @3"));
  EXPECT_EQ(a.dialler.requests[0].url.host, "other");
}

TEST(Channels, TopicChangesAreEntries) {
  Attached a;
  Peer& peer = a.Open(1, R"(topics { key: "btc" match { contains: "btc" } max_silence { seconds: 2 } })");
  a.time.Advance(2s);
  EXPECT_THAT(a.Read(), ElementsAre("1 topic btc stale @4"));
  peer.Text("btc");
  EXPECT_THAT(a.Read(), ElementsAre("1 text btc @5", "1 topic btc heard @6"));
}

TEST(Channels, WrongCommandsAreAnsweredAndTheOthersGoOn) {
  Attached a;
  a.Open(1);
  a.Command(R"(join { session: "s1" })", 2);
  a.Read();
  struct Case {
    std::string action;
    uint32_t channel;
    std::string answer;
  };
  const Case cases[] = {
      {"", 1, "INVALID_FIELD"},
      {kOpen, 1, "CHANNEL_IN_USE"},
      {R"(open { session: "s1" target { url: "ws://another/" } })", 3, "SESSION_LIVE"},
      {R"(open { })", 3, "INVALID_FIELD"},
      {R"(join { session: "nobody" })", 3, "SESSION_NOT_FOUND"},
      {R"(join { })", 3, "INVALID_FIELD"},
      {R"(send { payload: "x" })", 3, "CHANNEL_UNKNOWN"},
      {"detach { }", 3, "CHANNEL_UNKNOWN"},
      {R"(send { payload: "x" })", 2, "NOT_OWNER"},
      {"ping { }", 2, "NOT_OWNER"},
      {"reconnect { }", 2, "NOT_OWNER"},
      {R"(send { payload: "\xff" })", 1, "INVALID_FIELD"},
      {"close { code: 1 }", 1, "INVALID_FIELD"},
      {"set_target { }", 1, "INVALID_FIELD"},
      {R"(set_target { target { url: "ws://x/" } })", 2, "NOT_OWNER"},
      {"answer { number: 1 }", 1, "NOT_ASKED"},
      {"answer { number: 1 }", 2, "NOT_OWNER"},
      {R"(send { payload: "x" answers: "login" generation: 1 })", 2, "NOT_OWNER"},
  };
  uint64_t id = 0;
  for (const Case& each : cases) {
    // Refusals are answered also without an id.
    for (const uint64_t with : {++id, uint64_t{0}}) {
      a.Command(each.action, each.channel, with);
      EXPECT_THAT(a.Read(), ElementsAre(std::to_string(each.channel) + " result " + std::to_string(with) +
                                        " NOT_SENT " + each.answer + " @0"))
          << each.action;
    }
  }
  a.dialler.peer().Text("on");
  EXPECT_THAT(a.Read(), ElementsAre("1 text on @4", "2 text on @4"));
}

TEST(Channels, ChannelsAndSubscribersAreBounded) {
  Limits limits;
  limits.channels_per_stream = 2;
  limits.subscribers_per_session = 2;
  Attached a(limits);
  a.Open(1);
  a.Command(R"(join { session: "s1" })", 2);
  a.Command(R"(join { session: "s1" })", 3);
  EXPECT_THAT(a.Read(), ElementsAre("2 attached s1 LIVE 1..3", "3 result 0 NOT_SENT LIMIT_REACHED @0"));
  RecordedStream other(a.time);
  Channels channels("dev", a.registry, a.access, a.time, a.limits, {}, other);
  v1::AttachRequest request;
  request.add_commands()->mutable_join()->set_session("s1");
  channels.Execute(request);
  a.Read();
  EXPECT_THAT(other.Read(), ElementsAre("0 result 0 NOT_SENT LIMIT_REACHED @0"));
}

// ---- Commands. ----

TEST(Channels, ResultsOfSendsAreEntriesForAll) {
  Attached a;
  a.Open(1);
  a.Command(R"(join { session: "s1" })", 2);
  a.Read();
  a.Command(R"(send { payload: "x" })", 1, 9);
  EXPECT_THAT(a.Read(), ElementsAre("1 result 9 WRITTEN @4", "2 result 9 WRITTEN @4"));
}

TEST(Channels, PongIsAnEventOfTheOwner) {
  Attached a;
  Peer& peer = a.Open(1);
  a.Command(R"(ping { payload: "p" })", 1, 9);
  EXPECT_THAT(a.Read(), ElementsAre("1 result 9 WRITTEN @4"));
  peer.Pong("p");
  EXPECT_THAT(a.Read(), ElementsAre("1 pong p"));
}

TEST(Channels, HoldStopsAndResumesEntries) {
  Attached a;
  Peer& peer = a.Open(1);
  a.Command("hold { on: true }", 1, 9);
  peer.Text("one");
  EXPECT_THAT(a.Read(), ElementsAre("1 result 9 DONE @0"));
  a.Command("hold { on: false }");
  EXPECT_THAT(a.Read(), ElementsAre("1 text one @4"));
}

// ---- Ends. ----

TEST(Channels, DetachEndsTheChannelOnceAndLast) {
  Attached a;
  Peer& peer = a.Open(1);
  a.Command(R"(join { session: "s1" })", 2);
  a.Read();
  peer.Text("unread");
  a.Command("detach { }", 2, 9);
  EXPECT_THAT(a.Read(), ElementsAre("2 result 9 DONE @0", "2 ended DETACHED", "1 text unread @4"));
  a.Command(R"(join { session: "s1" })", 2);
  EXPECT_THAT(a.Read(), ElementsAre("2 attached s1 LIVE 1..4")) << "its number may be used again";
}

TEST(Channels, ANumberMayBeUsedAgainInTheSameMessage) {
  Attached a;
  Peer& peer = a.Open(1);
  a.Command(R"(join { session: "s1" })", 2);
  a.Read();
  peer.Text("unread");
  a.Command("detach { }", 2);
  a.Command(R"(join { session: "s1" start { oldest { } } })", 2);
  EXPECT_THAT(a.Read(), ElementsAre("2 ended DETACHED", "2 attached s1 LIVE 1..4", "1 text unread @4",
                                    "2 CONNECTING @1", "2 OPENING @2", "2 OPEN @3", "2 text unread @4"));
}

TEST(Channels, CloseByTheOwnerEndsAllByAReaderDetaches) {
  Attached a;
  a.Open(1);
  for (const uint32_t reader : {2u, 3u}) a.Command(R"(join { session: "s1" })", reader);
  a.Read();
  a.Command("close { }", 2, 8);
  EXPECT_THAT(a.Read(), ElementsAre("2 result 8 DONE @0", "2 ended DETACHED"));
  a.Command("close { }", 1, 9);
  EXPECT_THAT(a.Read(), ElementsAre("1 result 9 DONE @0", "1 CLOSED @4", "1 ended CLOSED session_closed", "3 CLOSED @4",
                                    "3 ended CLOSED session_closed"));
  EXPECT_EQ(a.registry.size(), 0u);
}

TEST(Channels, AHeldChannelIsToldOfItsEnd) {
  Attached a;
  Peer& peer = a.Open(1);
  a.Command("hold { on: true }");
  peer.Text("one");
  a.Command("close { }");
  EXPECT_THAT(a.Read(), ElementsAre("1 gap 4..5", "1 ended CLOSED session_closed"));
}

TEST(Channels, AnOverflowedChannelEnds) {
  Attached a;
  Peer& peer = a.Open(1, "websocket { max_message_bytes: 100 } retention { journal_bytes: 164 } ");
  a.Command(R"(join { session: "s1" delivery { overflow: OVERFLOW_DETACH } })", 2);
  a.Read();
  for (int i = 0; i < 5; ++i) peer.Text(std::string(99, 'x'));
  const std::string frame = "text " + std::string(99, 'x');
  EXPECT_THAT(a.Read(), ElementsAre("1 gap 4..7", "1 " + frame + " @8", "2 ended OVERFLOW"));
}

TEST(Channels, HalfCloseFinishesWithTheLastChannel) {
  Attached a;
  Peer& peer = a.Open(1);
  a.channels->HalfClosed();
  peer.Text("on");
  EXPECT_THAT(a.Read(), ElementsAre("1 text on @4"));
  EXPECT_EQ(a.stream.finished, 0);
  a.registry.Find("dev", "s1")->Close({Reason::kClosed, Phase::kUnspecified, ""});
  EXPECT_THAT(a.Read(), ElementsAre("1 CLOSED @5", "1 ended CLOSED session_closed"));
  EXPECT_EQ(a.stream.finished, 1);
  EXPECT_FALSE(a.stream.why);
}

TEST(Channels, HalfCloseOfAnEmptyStreamFinishesAtOnceButAfterItsAnswers) {
  Attached empty;
  empty.channels->HalfClosed();
  EXPECT_EQ(empty.stream.finished, 1);

  Attached refused;
  refused.Command("open { }");
  refused.channels->HalfClosed();
  EXPECT_EQ(refused.stream.finished, 0);
  EXPECT_THAT(refused.Read(), ElementsAre("1 result 0 NOT_SENT INVALID_FIELD @0"));
  EXPECT_EQ(refused.stream.finished, 1);
}

TEST(Channels, DrainTellsRefusesAndFinishesWhenAllHaveEnded) {
  Attached a;
  a.Open(1);
  a.channels->Drain(a.time.Now() + 5s);
  a.Command(kOpen, 2, 7);
  EXPECT_THAT(a.Read(), ElementsAre("draining", "2 result 7 NOT_SENT DRAINING @0"));
  EXPECT_EQ(a.stream.finished, 0);
  a.time.Advance(1s);
  a.registry.Drain(a.time.Now() + 4s, [] {});
  EXPECT_THAT(a.Read(), ElementsAre("1 CLOSED @4", "1 ended DRAINING session_closed"));
  EXPECT_EQ(a.stream.finished, 1);
  EXPECT_EQ(a.stream.why->reason, Reason::kDraining);
  EXPECT_EQ(a.stream.why->phase, Phase::kUnspecified);
  EXPECT_EQ(a.stream.why->retry_after, std::nullopt);
}

TEST(Channels, ABrokenStreamDetachesItsChannels) {
  Attached a;
  Peer& peer = a.Open(1);
  a.channels.reset();
  a.time.Advance(29s);
  EXPECT_TRUE(peer.live()) << "a named session lingers";
  a.time.Advance(1s);
  a.time.Settle();
  EXPECT_FALSE(peer.live());
  EXPECT_EQ(a.registry.size(), 0u);
}

TEST(Channels, AnOpenOfALiveNameTakesItOver) {
  Attached a;
  a.Open(1);
  a.Read();
  a.Command(R"(open { session: "s1" target { url: "ws://h/?token=2" } })", 2, 7);
  EXPECT_THAT(a.Read(), ElementsAre("2 attached s1 LIVE 1..3", "2 result 7 DONE @0", "1 ended SUPERSEDED"));
  EXPECT_EQ(a.dialler.requests.size(), 1u) << "it has a transport";
  a.Command(R"(send { payload: "order" })", 1, 8);
  a.Command(R"(send { payload: "order" })", 2, 9);
  EXPECT_THAT(a.Read(), ElementsAre("1 result 8 NOT_SENT CHANNEL_UNKNOWN @0", "2 result 9 WRITTEN @4"));
}

// ---- Access. ----

TEST(Channels, ANextTargetMustBeWithinReach) {
  Attached a;
  EgressRule rule = EgressEverywhere();
  rule.hosts = {"h", "next"};
  a.access.Set(Access({.egress = {rule}}));
  a.Open();
  a.Command(R"(set_target { target { url: "ws://elsewhere/" } })", 1, 7);
  EXPECT_THAT(a.Read(), ElementsAre("1 result 7 NOT_SENT EGRESS_DENIED @0"));
  a.Command(R"(set_target { target { url: "ws://next/" } })", 1, 8);
  EXPECT_THAT(a.Read(), ElementsAre("1 result 8 DONE @0"));
}

TEST(Channels, AReaderThatIsNoLongerGrantedEnds) {
  Attached a;
  AccessRules rules{.egress = {EgressEverywhere()},
                    .grants = {{.identity = "feeds", .sessions = {"md"}, .readers = {"dev"}}}};
  a.access.Set(Access(rules));
  a.Open(1);
  SessionOptions options = PlainOptions();
  options.linger = 1min;
  const auto session = *a.registry.Open("feeds", "md", options);
  session->Begin();
  a.dialler.Accept();
  a.Command(R"(join { session: "md" identity: "feeds" })", 2);
  a.Read();
  a.channels->Recheck();
  EXPECT_THAT(a.Read(), IsEmpty());
  rules.grants.clear();
  a.access.Set(Access(rules));
  a.channels->Recheck();
  EXPECT_THAT(a.Read(), ElementsAre("2 ended REVOKED"));
  EXPECT_TRUE(a.stream.attached(1));
  EXPECT_THAT(session->subscriptions(), IsEmpty());
}

}  // namespace
}  // namespace fairlead
