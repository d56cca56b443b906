#include "rpc/channels.h"

#include <google/protobuf/text_format.h>

#include <algorithm>

#include "support/recorded_stream.h"
#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kOpen[] = R"(open { session: "md" target { url: "ws://h/" } heartbeat { interval { } } })";

// One Attach stream on a testbed. Its peer takes messages at once, unless a test says otherwise.
struct Attached : Testbed {
  explicit Attached(const Limits& bounds = {}, Flush::Batch batch = {}) {
    limits = bounds;
    channels = std::make_unique<Channels>("dev", registry, time, limits, batch, stream);
    stream.wrote = [this] { channels->Wrote(); };
  }
  // Commands in protobuf's text format, "open { ... }", one message each.
  void Command(const std::string& action, uint32_t channel = 1, uint64_t id = 0) {
    v1::AttachRequest request;
    const std::string text =
        "commands { channel: " + std::to_string(channel) + " id: " + std::to_string(id) + " " + action + " }";
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
    channels->Execute(request);
  }
  Lines Read() {
    time.Advance(1ms);
    return stream.Read();
  }
  // A session on a channel, OPEN.
  Peer& Open(uint32_t channel = 1, const std::string& more = "") {
    const std::string name = "s" + std::to_string(channel);
    Command("open { session: \"" + name + R"(" target { url: "ws://h/" } heartbeat { interval { } } )" + more + "}",
            channel);
    Peer& peer = dialler.Accept();
    Read();
    return peer;
  }
  RecordedStream stream{time};
  std::unique_ptr<Channels> channels;
};

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
      {"reconnect { make_before_break: true }", 1, "NOT_IMPLEMENTED"},
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
  Channels channels("dev", a.registry, a.time, a.limits, {}, other);
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
  a.channels->Drain(a.time.WallNow() + 5s);
  a.Command(kOpen, 2, 7);
  EXPECT_THAT(a.Read(), ElementsAre("draining", "2 result 7 NOT_SENT DRAINING @0"));
  EXPECT_EQ(a.stream.finished, 0);
  a.registry.Drain([] {});
  EXPECT_THAT(a.Read(), ElementsAre("1 CLOSED @4", "1 ended DRAINING session_closed"));
  EXPECT_EQ(a.stream.finished, 1);
  EXPECT_EQ(a.stream.why->reason, Reason::kDraining);
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

// ---- Delivery. ----

// More answers wait than one message takes, and the last of them is Attached: its entries wait for it.
TEST(Channels, EntriesDoNotOvertakeEvents) {
  Attached a;
  a.Open(1);
  v1::AttachRequest request;
  for (int i = 0; i < 3000; ++i) request.add_commands()->mutable_join();
  request.add_commands()->set_channel(2);
  request.mutable_commands()->rbegin()->mutable_join()->set_session("s1");
  request.mutable_commands()->rbegin()->mutable_join()->mutable_start()->mutable_oldest();
  a.channels->Execute(request);
  const Lines lines = a.Read();
  ASSERT_EQ(lines.size(), 3004u);
  EXPECT_EQ(lines[3000], "2 attached s1 LIVE 1..3");
}

TEST(Channels, OneWriteIsOutstanding) {
  Attached a;
  Peer& peer = a.Open(1);
  a.stream.takes_writes = false;
  peer.Text("one");
  EXPECT_THAT(a.Read(), ElementsAre("1 text one @4"));
  peer.Text("two");
  peer.Text("three");
  EXPECT_THAT(a.Read(), IsEmpty());
  a.stream.Take();
  EXPECT_THAT(a.Read(), ElementsAre("1 text two @5", "1 text three @6"));
}

TEST(Channels, AQuietStreamSendsAtOnceABusyOneAfterItsWindow) {
  Attached a;
  Peer& peer = a.Open(1, "delivery { max_delay { nanos: 300000 } } ");
  a.time.Advance(1s);
  peer.Text("one");
  a.time.Settle();
  EXPECT_THAT(a.stream.Read(), ElementsAre("1 text one @4"));
  peer.Text("two");
  a.time.Advance(299us);
  peer.Text("three");
  EXPECT_THAT(a.stream.Read(), IsEmpty());
  a.time.Advance(1us);
  EXPECT_THAT(a.stream.Read(), ElementsAre("1 text two @5", "1 text three @6"));
}

TEST(Channels, TheMostImpatientChannelDecides) {
  Attached a;
  Peer& patient = a.Open(1, "delivery { max_delay { seconds: 1 } } ");
  Peer& hasty = a.Open(2, "delivery { max_delay { } } ");
  a.time.Advance(10s);
  patient.Text("one");
  a.time.Settle();
  a.stream.Read();
  patient.Text("two");
  a.time.Advance(900ms);
  EXPECT_THAT(a.stream.Read(), IsEmpty());
  hasty.Text("now");
  a.time.Settle();
  EXPECT_THAT(a.stream.Read(), ElementsAre("1 text two @5", "2 text now @4"));
}

TEST(Channels, BatchesAreCappedInFramesAndBytes) {
  Attached a;
  Peer& few = a.Open(1);
  Peer& peer = a.Open(2);
  for (int i = 0; i < 10; ++i) few.Text("x");
  for (int i = 0; i < 5000; ++i) peer.Text("x");
  for (int i = 0; i < 200; ++i) peer.Text(std::string(3000, 'x'));
  peer.Text(std::string(300'000, 'x'));  // Longer than a batch: one of its own.
  peer.Text("last");
  EXPECT_EQ(a.Read().size(), 5212u);
  EXPECT_EQ(a.stream.most_frames, 2048u) << "not more, and full ones are full";
  EXPECT_LE(a.stream.most_bytes_of_many, 256u << 10);
}

TEST(Channels, ChannelsTakeTurns) {
  Attached a;
  Peer& first = a.Open(1);
  Peer& second = a.Open(2);
  for (int i = 0; i < 300; ++i) first.Text("x");
  second.Text("y");
  const Lines lines = a.Read();
  EXPECT_EQ(lines.size(), 301u);
  EXPECT_LE(std::ranges::find(lines, "2 text y @4") - lines.begin(), 64);
}

// A channel whose next frame never fits behind the others' must not wait for ever.
TEST(Channels, ALongFrameIsNotOvertakenForEver) {
  Attached a;
  Peer& busy = a.Open(1);
  Peer& rare = a.Open(2);
  a.stream.takes_writes = false;
  busy.Text("x");
  a.Read();
  for (int i = 0; i < 1000; ++i) busy.Text(std::string(1900, 'x'));
  rare.Text(std::string(200'000, 'y'));
  int messages = 0;
  bool came = false;
  for (; messages < 10 && !came; ++messages) {
    a.stream.Take();
    a.time.Advance(1ms);
    for (const std::string& line : a.stream.Read()) came = came || line.starts_with("2 ");
  }
  EXPECT_TRUE(came);
  EXPECT_LE(messages, 3);
}

TEST(Channels, ASlowStreamSkipsWithOneGap) {
  Attached a;
  Peer& peer = a.Open(1, "websocket { max_message_bytes: 100 } retention { journal_bytes: 328 } ");
  a.stream.takes_writes = false;
  peer.Text("one");
  EXPECT_THAT(a.Read(), ElementsAre("1 text one @4"));
  for (int i = 0; i < 50; ++i) peer.Text(std::string(100, 'x'));
  a.stream.Take();
  const std::string frame = "1 text " + std::string(100, 'x');
  EXPECT_THAT(a.Read(), ElementsAre("1 gap 5..52", frame + " @53", frame + " @54"));
}

TEST(Channels, AStuckWriteIsTold) {
  Attached a;
  Peer& peer = a.Open(1);
  a.stream.takes_writes = false;
  a.time.Advance(4min);
  peer.Text("one");
  a.time.Advance(5min - 1ms);
  EXPECT_EQ(a.stream.stuck, 0);
  a.time.Advance(1ms);
  EXPECT_EQ(a.stream.stuck, 1);
}

TEST(Channels, FullStopsCommandsUntilDrained) {
  Limits limits;
  limits.waiting_events = 3;
  Attached a(limits);
  a.stream.takes_writes = false;
  a.Command("open { }");
  a.Read();
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(a.channels->Full());
    a.Command("open { }");
  }
  EXPECT_TRUE(a.channels->Full());
  EXPECT_EQ(a.stream.drained, 0);
  a.stream.Take();
  a.Read();
  EXPECT_FALSE(a.channels->Full());
  EXPECT_EQ(a.stream.drained, 1);
}

TEST(Channels, CommandsOfOneMessageWaitWhileTheirAnswersWouldPileUp) {
  Limits limits;
  limits.waiting_events = 3;
  Attached a(limits);
  a.stream.takes_writes = false;
  v1::AttachRequest request;
  for (int i = 0; i < 8; ++i) request.add_commands()->mutable_detach();
  a.channels->Execute(request);
  a.channels->HalfClosed();
  for (const size_t written : {3u, 3u, 2u}) {
    EXPECT_EQ(a.stream.finished, 0);
    EXPECT_EQ(a.Read().size(), written);
    a.stream.Take();
  }
  EXPECT_FALSE(a.channels->Full());
  EXPECT_EQ(a.stream.drained, 1);
  EXPECT_EQ(a.stream.finished, 1) << "and only now";
}

}  // namespace
}  // namespace fairlead
