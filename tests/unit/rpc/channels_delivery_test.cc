// When what waits for a stream's channels is sent, and how much of it at once.
#include <algorithm>

#include "support/channels_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

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
