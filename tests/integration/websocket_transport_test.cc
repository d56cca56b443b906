// WebSocket transports against the simulated exchange, plain and TLS: frames both ways, and each way to end.
#include "net/websocket_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/network.h"
#include "support/random.h"
#include "support/simulated_exchange.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// Each test for ws and wss.
class WebSocketTransport : public testing::TestWithParam<bool> {
 protected:
  std::string Url(const std::string& target) { return exchange.Url(target, GetParam()); }
  void Dial(Line& line, const std::string& target, const WebSocketOptions& options = {}) {
    DialRequest request = RequestFor(Url(target));
    request.websocket = options;
    const auto loss = line.Dial(std::move(request));
    ASSERT_FALSE(loss) << loss->cause.message;
  }
  void Fault(const std::string& parameters) {
    const auto reply = exchange.Control("POST", "/fault", R"({"connection":"latest",)" + parameters + "}");
    EXPECT_EQ(reply.status, 200) << reply.json;
  }

  exchange::Exchange exchange;
  Network network{exchange.ca_pem()};
};
INSTANTIATE_TEST_SUITE_P(Ws, WebSocketTransport, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Wss, WebSocketTransport, testing::Values(true));

// "0123456789" repeated, as the exchange's /big sends.
std::string Digits(size_t size) {
  std::string text(size, '0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('0' + i % 10);
  return text;
}

void ExpectNumbered(const std::vector<Line::Frame>& frames, size_t count) {
  ASSERT_EQ(frames.size(), count);
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(frames[i].kind, FrameKind::kText);
    ASSERT_EQ(std::stoull(frames[i].payload), i + 1);
  }
}

TEST_P(WebSocketTransport, DeliversEveryFrameInOrder) {
  Line line(network);
  Dial(line, "/numbered?count=20000&feed=");
  ExpectNumbered(line.WaitForFrames(20000), 20000);
}

TEST_P(WebSocketTransport, AFloodLeavesTimeForOthers) {
  Line flood(network);
  Dial(flood, "/numbered?count=300000&size=150&feed=");
  Line other(network);
  Dial(other, "/echo");
  for (size_t i = 1; i <= 10; ++i) {
    EXPECT_TRUE(other.Write(FrameKind::kText, "hello"));
    EXPECT_EQ(other.WaitForFrames(i).size(), i);
  }
  ExpectNumbered(flood.WaitForFrames(300000), 300000);
}

TEST_P(WebSocketTransport, DeliversFragmentedMessagesWhole) {
  Line line(network);
  Dial(line, "/numbered?count=200&size=1000&fragment=7&feed=");
  const auto frames = line.WaitForFrames(200);
  ExpectNumbered(frames, 200);
  for (const auto& frame : frames) EXPECT_EQ(frame.payload.size(), 1000u);
}

TEST_P(WebSocketTransport, DeliversLongMessages) {
  Line line(network);
  Dial(line, "/big?size=1048576&count=3&fragment=50000");
  const auto frames = line.WaitForFrames(3);
  ASSERT_EQ(frames.size(), 3u);
  for (const auto& frame : frames) EXPECT_TRUE(frame.payload == Digits(1 << 20));
}

TEST_P(WebSocketTransport, InflatesWhatIsCompressed) {
  for (const char* deflate : {"1", "context"}) {
    Line line(network);
    Dial(line, std::string("/numbered?count=500&size=300&feed=&deflate=") + deflate, {.permessage_deflate = true});
    ExpectNumbered(line.WaitForFrames(500), 500);
    WaitForRecord(exchange, "permessage-deflate");
    // And compresses what it sends.
    EXPECT_TRUE(line.Write(FrameKind::kText, std::string(1000, 'z')));
    WaitForRecord(exchange, R"("text":")" + std::string(1000, 'z') + "\"");
  }
}

TEST_P(WebSocketTransport, TextStaysTextAndBinaryBinary) {
  Line line(network);
  Dial(line, "/echo");
  const std::string bytes("\x00\xff\x80 bytes", 9);
  EXPECT_TRUE(line.Write(FrameKind::kText, "caf\xc3\xa9"));
  EXPECT_TRUE(line.Write(FrameKind::kBinary, bytes));
  EXPECT_TRUE(line.Write(FrameKind::kText, ""));
  EXPECT_THAT(line.WaitForFrames(3),
              ElementsAre(Line::Frame{FrameKind::kText, "caf\xc3\xa9"}, Line::Frame{FrameKind::kBinary, bytes},
                          Line::Frame{FrameKind::kText, ""}));
}

TEST_P(WebSocketTransport, EchoesRandomSizes) {
  Line line(network);
  Dial(line, "/echo");
  ForEachSeed(1, [&](Draws& draws) {
    std::vector<Line::Frame> sent;
    for (const uint64_t boundary : {125, 4096, 65535, 65536, 300'000}) {
      for (int i = 0; i < 4; ++i) {
        sent.push_back(
            {FrameKind::kBinary, std::string(boundary - 2 + draws.Below(5), static_cast<char>(draws.Below(256)))});
        EXPECT_TRUE(line.Write(sent.back().kind, sent.back().payload));
      }
    }
    EXPECT_TRUE(line.WaitForFrames(sent.size()) == sent);
  });
}

TEST_P(WebSocketTransport, PingsAreAnswered) {
  Line line(network);
  Dial(line, "/idle");
  EXPECT_TRUE(line.Ping("abc"));
  EXPECT_TRUE(line.Ping(""));
  EXPECT_TRUE(line.Ping(std::string(125, 'p')));
  EXPECT_THAT(line.WaitForPongs(3), ElementsAre("abc", "", std::string(125, 'p')));
}

TEST_P(WebSocketTransport, AnswersTheExchangesPings) {
  Line line(network);
  Dial(line, "/idle");
  exchange.Control("POST", "/send", R"({"connection":"latest","ping":"are you there"})");
  WaitForRecord(exchange, R"("pongs_received":1)");
}

TEST_P(WebSocketTransport, AnswersPingsWhileItWrites) {
  Line line(network);
  Dial(line, "/echo");
  for (int i = 1; i <= 20; ++i) {
    line.BeginWrite(FrameKind::kBinary, std::string(200'000, static_cast<char>(i)));
    exchange.Control("POST", "/send", R"({"connection":"latest","ping":"are you there"})");
    ASSERT_EQ(line.WaitForFrames(static_cast<size_t>(i)).size(), static_cast<size_t>(i));
    EXPECT_EQ(line.WaitForFrames(0).back().payload, std::string(200'000, static_cast<char>(i)));
    WaitForRecord(exchange, "\"pongs_received\":" + std::to_string(i));
  }
}

TEST_P(WebSocketTransport, CountsWhatTheExchangeHasTakenOver) {
  Line line(network);
  Dial(line, "/idle");
  const uint64_t before = line.BytesAcknowledged();
  EXPECT_TRUE(line.Write(FrameKind::kBinary, std::string(10'000, 'x')));
  WaitForRecord(exchange, R"("frames_received":1)");
  const SteadyTime deadline = network.loop().Now() + kPatience;
  while (line.BytesAcknowledged() < before + 10'000) ASSERT_LT(network.loop().Now(), deadline);
}

TEST_P(WebSocketTransport, ALongWriteWaitsForAReader) {
  Line line(network);
  Dial(line, "/idle");
  Fault(R"("kind":"never_read")");
  line.BeginWrite(FrameKind::kBinary, std::string(32 << 20, 'x'));
  network.Settle();
  line.Abandon();  // In mid-write: calls nobody.
  network.Settle();
}

// ---- Ends. ----

TEST_P(WebSocketTransport, TooLongAMessageEndsWith1009) {
  Line line(network);
  Dial(line, "/big?size=1001&fragment=100", {.max_message_bytes = 1000});
  const Loss loss = line.WaitForEnd();
  EXPECT_EQ(loss.cause.reason, Reason::kMessageTooLong) << loss.cause.message;
  EXPECT_FALSE(loss.fatal);
  WaitForRecord(exchange, R"("close_code_received":1009)");
  Line exact(network);
  Dial(exact, "/big?size=1000&fragment=100", {.max_message_bytes = 1000});
  EXPECT_EQ(exact.WaitForFrames(1).size(), 1u);
}

TEST_P(WebSocketTransport, ADeflateBombEndsWith1009) {
  Line line(network);
  Dial(line, "/bomb?size=1000000000", {.permessage_deflate = true, .max_message_bytes = 1 << 20});
  EXPECT_EQ(line.WaitForEnd().cause.reason, Reason::kMessageTooLong);
  WaitForRecord(exchange, R"("close_code_received":1009)");
}

TEST_P(WebSocketTransport, WhatBreaksTheProtocolIsAProtocolError) {
  for (const char* corruption : {"opcode", "masked", "rsv", "utf8", "continuation", "long_ping"}) {
    SCOPED_TRACE(corruption);
    Line line(network);
    Dial(line, std::string("/numbered?count=3&feed=&fault=corrupt&after=3&corruption=") + corruption);
    const Loss loss = line.WaitForEnd();
    EXPECT_EQ(loss.cause.reason, Reason::kProtocolError) << Name(loss.cause.reason) << " " << loss.cause.message;
    ExpectNumbered(line.WaitForFrames(3), 3);
  }
}

TEST_P(WebSocketTransport, TellsTheExchangesCloseFrame) {
  Line line(network);
  Dial(line, "/numbered?count=5&feed=&fault=close&after=5&code=4001&reason=maintenance");
  const Loss loss = line.WaitForEnd();
  EXPECT_EQ(loss.cause.reason, Reason::kPeerClosed);
  EXPECT_EQ(loss.close_code, 4001);
  EXPECT_EQ(loss.close_reason, "maintenance");
  ExpectNumbered(line.WaitForFrames(5), 5);
  WaitForRecord(exchange, R"("close_code_received":4001)");
}

TEST_P(WebSocketTransport, ACloseFrameWithoutACodeIs1005) {
  Line line(network);
  Dial(line, "/idle?fault=close&code=0");
  EXPECT_EQ(line.WaitForEnd().close_code, 1005);
}

TEST_P(WebSocketTransport, AConnectionThatEndsWithoutACloseFrameIsLost) {
  for (const char* fault : {"drop", "reset", "half_close"}) {
    SCOPED_TRACE(fault);
    Line line(network);
    Dial(line, std::string("/numbered?count=100&feed=&after=100&fault=") + fault);
    const Loss loss = line.WaitForEnd();
    EXPECT_EQ(loss.cause.reason, Reason::kConnectionLost) << Name(loss.cause.reason) << " " << loss.cause.message;
    EXPECT_EQ(loss.close_code, 0);
    ExpectNumbered(line.WaitForFrames(100), 100);
  }
}

TEST_P(WebSocketTransport, AResetInsideAFrameIsLost) {
  Line line(network);
  Dial(line, "/big?size=100000&fault=reset_at_byte&byte=5000");
  EXPECT_EQ(line.WaitForEnd().cause.reason, Reason::kConnectionLost);
  EXPECT_TRUE(line.WaitForFrames(0).empty()) << "half a message is none";
}

TEST_P(WebSocketTransport, AWriteIntoALostConnectionEnds) {
  Line line(network);
  Dial(line, "/idle");
  Fault(R"("kind":"reset")");
  while (line.Write(FrameKind::kText, "x")) {
  }
  EXPECT_EQ(line.WaitForEnd().cause.reason, Reason::kConnectionLost);
}

TEST_P(WebSocketTransport, SaysGoodbye) {
  Line line(network);
  Dial(line, "/idle");
  line.Close(3000, "done");
  const Loss loss = line.WaitForEnd();
  EXPECT_EQ(loss.cause.reason, Reason::kPeerClosed) << loss.cause.message;
  EXPECT_EQ(loss.close_code, 3000) << "the exchange's echo";
  const std::string record = WaitForRecord(exchange, R"("close_code_received":3000)");
  EXPECT_THAT(record, HasSubstr(R"("close_reason_received":"done")"));
}

TEST_P(WebSocketTransport, SaysGoodbyeInTheMiddleOfABusyFeed) {
  Line line(network);
  Dial(line, "/numbered?feed=");
  line.WaitForFrames(1000);
  line.Close(1000, "");
  line.WaitForEnd();
  WaitForRecord(exchange, R"("close_code_received":1000)");
}

TEST_P(WebSocketTransport, AGoodbyeWithoutAnAnswerEndsWithinTwoSeconds) {
  Line line(network);
  Dial(line, "/idle");
  Fault(R"("kind":"silent")");
  const SteadyTime began = network.loop().Now();
  line.Close(1000, "");
  EXPECT_EQ(line.WaitForEnd().cause.reason, Reason::kConnectionLost);
  EXPECT_LT(network.loop().Now() - began, 4s);
  EXPECT_GE(network.loop().Now() - began, 1900ms);
}

TEST_P(WebSocketTransport, AGoodbyeBehindAStuckWriteEndsToo) {
  Line line(network);
  Dial(line, "/idle");
  Fault(R"("kind":"never_read")");
  line.BeginWrite(FrameKind::kBinary, std::string(32 << 20, 'x'));
  line.Close(1000, "");
  EXPECT_EQ(line.WaitForEnd().cause.reason, Reason::kConnectionLost);
}

// ---- Dropped. ----

TEST_P(WebSocketTransport, MayBeDroppedFromWithinAFrame) {
  for (const size_t frame : {1u, 2u, 100u}) {
    Line line(network);
    line.DropAtFrame(frame);
    Dial(line, "/numbered?feed=");
    line.WaitUntilDropped();
    network.Settle();
    EXPECT_EQ(line.WaitForFrames(frame).size(), frame);
  }
  WaitForRecord(exchange, R"("state":"closed")");
}

TEST_P(WebSocketTransport, MayBeDroppedAtAnyMoment) {
  ForEachSeed(40, [&](Draws& draws) {
    Line line(network);
    Dial(line, draws.OneIn(2) ? "/echo" : "/numbered?feed=");
    for (uint64_t i = draws.Below(4); i > 0; --i) line.Write(FrameKind::kBinary, draws.Text(100'000));
    if (draws.OneIn(3)) line.BeginWrite(FrameKind::kBinary, std::string(1 << 20, 'x'));
    if (draws.OneIn(3)) line.Close(1000, "");
    if (draws.OneIn(3)) exchange.Control("POST", "/fault", R"({"connection":"latest","kind":"reset"})");
    line.Abandon();
    network.Settle();
  });
}

}  // namespace
}  // namespace fairlead
