// Raw sockets on loopback, plain and TLS: frames both ways, the preamble, and each way to end.
#include "net/stream_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/network.h"
#include "support/socket_peer.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// Each test for tcp and tls.
class StreamTransport : public testing::TestWithParam<bool> {
 protected:
  bool tls() const { return GetParam(); }
  std::string Url() const { return peer.Url(tls() ? "tls" : "tcp"); }
  void Connect(Line& line, const SocketOptions& options = {}) {
    DialRequest request = RequestFor(Url());
    request.socket = options;
    line.Begin(std::move(request));
    peer.Accept();
    const auto loss = line.WaitDialled();
    ASSERT_FALSE(loss) << loss->cause.message;
  }
  static std::vector<std::string> Payloads(const std::vector<Line::Frame>& frames) {
    std::vector<std::string> payloads;
    for (const Line::Frame& frame : frames) {
      EXPECT_EQ(frame.kind, FrameKind::kBinary);
      payloads.push_back(frame.payload);
    }
    return payloads;
  }

  SocketPeer peer{GetParam()};
  Network network{peer.ca_pem()};
};
INSTANTIATE_TEST_SUITE_P(Tcp, StreamTransport, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Tls, StreamTransport, testing::Values(true));

TEST_P(StreamTransport, WritesThePreambleFirstAndFramesBehindIt) {
  Line line(network);
  Connect(line, {.framing = LengthPrefix{}, .preamble = std::string("API\0v100", 8)});
  EXPECT_EQ(peer.Read(8), std::string("API\0v100", 8)) << "as it is, without framing";
  EXPECT_TRUE(line.Write(FrameKind::kBinary, "order"));
  EXPECT_TRUE(line.Write(FrameKind::kBinary, ""));
  EXPECT_EQ(peer.Read(13), std::string("\0\0\0\5order\0\0\0\0", 13));
}

TEST_P(StreamTransport, FramesWhatGoesOut) {
  const std::vector<std::pair<Framing, std::string>> cases = {
      {Delimiter{}, "order\r\n"},
      {Delimiter{"||"}, "order||"},
      {LengthPrefix{.width = 2, .little_endian = true, .counts_itself = true}, std::string("\7\0order", 7)},
      {Unframed{}, "order"}};
  for (const auto& [framing, sent] : cases) {
    Line line(network);
    Connect(line, {.framing = framing});
    EXPECT_TRUE(line.Write(FrameKind::kBinary, "order"));
    EXPECT_EQ(peer.Read(sent.size()), sent);
    line.Abandon();
    peer.Close();
  }
}

TEST_P(StreamTransport, CutsWhatComesIntoFrames) {
  Line line(network);
  Connect(line);
  peer.Write("one\r\n\r\nth");
  EXPECT_EQ(Payloads(line.WaitForFrames(2)), (std::vector<std::string>{"one", ""}));
  for (const char byte : std::string_view("ree\r\nfour\r\n")) peer.Write({&byte, 1});
  EXPECT_EQ(Payloads(line.WaitForFrames(4)), (std::vector<std::string>{"one", "", "three", "four"}));
}

TEST_P(StreamTransport, DeliversManyAndLongFramesInOrder) {
  Line line(network);
  Connect(line, {.framing = LengthPrefix{}, .max_frame_bytes = 4 << 20});
  std::string stream;
  std::vector<std::string> frames;
  for (int i = 0; i < 5000; ++i) frames.push_back(std::to_string(i) + std::string(i % 97, 'x'));
  frames.emplace_back(4 << 20, 'y');
  frames.emplace_back("last");
  for (const std::string& frame : frames) stream += Enframe(LengthPrefix{}, frame);
  std::thread writing([&] { peer.Write(stream); });
  EXPECT_TRUE(Payloads(line.WaitForFrames(frames.size())) == frames);
  writing.join();
}

TEST_P(StreamTransport, UnframedBytesLoseNothing) {
  Line line(network);
  Connect(line, {.framing = Unframed{}, .max_frame_bytes = 1000});
  std::string stream(100'000, '\0');
  for (size_t i = 0; i < stream.size(); ++i) stream[i] = static_cast<char>(i * 31);
  std::thread writing([&] {
    peer.Write(stream);
    peer.End();
  });
  const Loss loss = line.WaitForEnd();
  writing.join();
  EXPECT_EQ(loss.cause.message, "the exchange ended the connection");
  std::string all;
  for (const std::string& frame : Payloads(line.WaitForFrames(1))) {
    EXPECT_LE(frame.size(), 1000u);
    all += frame;
  }
  EXPECT_TRUE(all == stream);
}

TEST_P(StreamTransport, TellsOfAFrameThatABreakCutOff) {
  for (const bool reset : {false, true}) {
    Line line(network);
    Connect(line);
    peer.Write("whole\r\npart");
    line.WaitForFrames(1);
    network.Settle();
    reset ? peer.Reset() : peer.End();
    const Loss loss = line.WaitForEnd();
    EXPECT_EQ(loss.cause.reason, Reason::kConnectionLost);
    EXPECT_FALSE(loss.fatal);
    EXPECT_EQ(line.WaitForFrames(1).size(), 1u) << "half a frame is none";
    if (!reset) {
      EXPECT_THAT(loss.cause.message, HasSubstr(", 4 bytes into a frame, which is dropped"));
    }
    peer.Close();
  }
}

TEST_P(StreamTransport, AnEndWithoutCloseNotifyIsTold) {
  Line line(network);
  Connect(line);
  peer.EndTcp();
  const Loss loss = line.WaitForEnd();
  EXPECT_EQ(loss.cause.reason, Reason::kConnectionLost);
  EXPECT_EQ(loss.cause.message == "the exchange ended the connection", !tls()) << loss.cause.message;
}

TEST_P(StreamTransport, EndsOnAFrameThatIsTooLongOrCannotBe) {
  {
    Line line(network);
    Connect(line, {.max_frame_bytes = 5});
    peer.Write("12345\r\n1234567");
    const Loss loss = line.WaitForEnd();
    EXPECT_EQ(loss.cause.reason, Reason::kMessageTooLong) << loss.cause.message;
    EXPECT_EQ(Payloads(line.WaitForFrames(1)), std::vector<std::string>{"12345"}) << "what came before is delivered";
    peer.Close();
  }
  Line line(network);
  Connect(line, {.framing = LengthPrefix{.width = 1, .counts_itself = true}});
  peer.Write(std::string("\2a\0", 3));
  EXPECT_EQ(line.WaitForEnd().cause.reason, Reason::kProtocolError);
  EXPECT_EQ(Payloads(line.WaitForFrames(1)), std::vector<std::string>{"a"});
}

TEST_P(StreamTransport, CloseEndsOurSideAndReadsTheRest) {
  Line line(network);
  Connect(line);
  EXPECT_TRUE(line.Write(FrameKind::kBinary, "goodbye"));
  line.Close(1000, "");
  EXPECT_EQ(peer.Read(9), "goodbye\r\n");
  peer.ExpectEnd();
  for (int i = 0; i < 100; ++i) peer.Write("rest " + std::to_string(i) + "\r\n");
  peer.End();
  const Loss loss = line.WaitForEnd();
  EXPECT_EQ(loss.cause.message, "the exchange ended the connection");
  EXPECT_EQ(line.WaitForFrames(100).size(), 100u) << "what was under way is not lost";
}

// The exchange was in the middle of sending when we closed.
TEST_P(StreamTransport, CloseLosesNothingThatCrossesIt) {
  Line line(network);
  Connect(line);
  std::string stream;
  for (int i = 0; i < 20'000; ++i) stream += "tick " + std::to_string(i) + "\r\n";
  std::thread writing([&] {
    peer.Write(stream);
    peer.ExpectEnd();
    peer.End();
  });
  line.WaitForFrames(1);
  line.Close(1000, "");
  const Loss loss = line.WaitForEnd();
  writing.join();
  EXPECT_EQ(loss.cause.message, "the exchange ended the connection");
  EXPECT_EQ(line.WaitForFrames(20'000).size(), 20'000u);
}

TEST_P(StreamTransport, CloseWaitsForTheWriteUnderWay) {
  Line line(network);
  Connect(line, {.framing = LengthPrefix{}});
  const std::string frame(16 << 20, 'x');
  line.BeginWrite(FrameKind::kBinary, frame);
  EXPECT_EQ(peer.Read(4), std::string("\1\0\0\0", 4));
  line.Close(1000, "");
  EXPECT_TRUE(peer.Read(frame.size()) == frame) << "whole";
  peer.ExpectEnd();
  peer.End();
  EXPECT_EQ(line.WaitForEnd().cause.message, "the exchange ended the connection");
}

TEST_P(StreamTransport, CloseDoesNotWaitForever) {
  Line line(network);
  Connect(line);
  line.Close(1000, "");
  peer.ExpectEnd();
  const Loss loss = line.WaitForEnd();  // The peer stays silent.
  EXPECT_EQ(loss.cause.reason, Reason::kConnectionLost);
  EXPECT_EQ(loss.cause.message, "the exchange did not end the connection after we had");
}

TEST_P(StreamTransport, TellsHowAWriteMoves) {
  Line line(network);
  Connect(line, {.framing = LengthPrefix{}});
  const std::string frame(32 << 20, 'x');
  line.BeginWrite(FrameKind::kBinary, frame);
  EXPECT_EQ(peer.Read(4), std::string("\2\0\0\0", 4));
  EXPECT_LT(line.BytesAcknowledged(), 8u << 20) << "what the peer's kernel takes unasked";
  EXPECT_FALSE(line.written()) << "it is not in the kernel, whole";
  EXPECT_EQ(peer.Read(8 << 20).size(), 8u << 20);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (line.BytesAcknowledged() < 8u << 20 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_GE(line.BytesAcknowledged(), 8u << 20) << "a slow write that moves";
  EXPECT_FALSE(line.written());
  EXPECT_EQ(peer.Read(24 << 20).size(), 24u << 20);
  EXPECT_TRUE(line.WaitUntilWritten());
}

TEST_P(StreamTransport, TheExchangeResetsDuringAWrite) {
  Line line(network);
  Connect(line, {.framing = LengthPrefix{}});
  line.BeginWrite(FrameKind::kBinary, std::string(32 << 20, 'x'));
  peer.Read(4);
  peer.Reset();
  EXPECT_EQ(line.WaitForEnd().cause.reason, Reason::kConnectionLost);
  EXPECT_FALSE(line.written());
}

TEST_P(StreamTransport, MayBeDroppedAtAnyFrameOrWrite) {
  for (const size_t number : {1, 2, 3}) {
    Line line(network);
    line.DropAtFrame(number);
    Connect(line);
    peer.Write("a\r\nb\r\nc\r\nd\r\n");
    line.WaitUntilDropped();
    network.Settle();
    EXPECT_EQ(line.WaitForFrames(number).size(), number);
    peer.Close();
  }
  Line line(network);
  Connect(line);
  line.BeginWrite(FrameKind::kBinary, std::string(32 << 20, 'x'));
  peer.Read(10);
  line.Abandon();  // A Line checks that no call comes afterwards.
  network.Settle();
}

TEST_P(StreamTransport, ThePreambleIsPartOfTheDial) {
  Line line(network);
  DialRequest request = RequestFor(Url());
  request.socket.preamble = std::string(32 << 20, 'p');
  request.timeout = 1500ms;
  line.Begin(std::move(request));
  peer.Accept();
  const auto loss = line.WaitDialled();
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->cause.reason, Reason::kDialTimeout);
  EXPECT_EQ(loss->cause.phase, Phase::kNotSent) << "no frame was";
  EXPECT_EQ(loss->cause.message, "the dial timeout passed while writing the preamble");
  peer.Close();

  Line reset(network);
  request = RequestFor(Url());
  request.socket.preamble = std::string(32 << 20, 'p');
  reset.Begin(std::move(request));
  peer.Accept();
  EXPECT_EQ(peer.Read(3), "ppp");
  peer.Reset();
  const auto lost = reset.WaitDialled();
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->cause.reason, Reason::kConnectionLost);
  EXPECT_THAT(lost->cause.message, HasSubstr("while the preamble was written"));
}

TEST_P(StreamTransport, ADialMayBeAbandonedWhileThePreambleIsWritten) {
  Line line(network);
  DialRequest request = RequestFor(Url());
  request.socket.preamble = std::string(32 << 20, 'p');
  line.Begin(std::move(request));
  peer.Accept();
  EXPECT_EQ(peer.Read(3), "ppp");
  line.Abandon();
  network.Settle();
}

TEST(StreamDial, TheTimeoutNamesTheTlsHandshake) {
  SocketPeer silent(/*tls=*/true);
  Network network(silent.ca_pem());
  Line line(network);
  DialRequest request = RequestFor(silent.Url("tls"));
  request.timeout = 100ms;
  const auto loss = line.Dial(std::move(request));
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->cause.reason, Reason::kDialTimeout);
  EXPECT_EQ(loss->cause.message, "the dial timeout passed while in the TLS handshake");
}

TEST(StreamDial, NobodyListens) {
  SocketPeer peer;
  const std::string url = peer.Url("tcp");
  peer.StopListening();
  Network network;
  Line line(network);
  const auto loss = line.Dial(RequestFor(url));
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->cause.reason, Reason::kConnectFailed);
  EXPECT_FALSE(loss->fatal);
}

}  // namespace
}  // namespace fairlead
