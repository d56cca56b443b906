// Byte streams of HTTP connections on loopback, plain and TLS: above all, what they tell of a write that was cut.
#include "net/byte_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/network.h"
#include "support/socket_peer.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

template <typename T>
T Await(std::future<T>& future, const char* what) {
  if (future.wait_for(kPatience) == std::future_status::ready) return future.get();
  ADD_FAILURE() << "waited in vain for " << what;
  return T{};
}

// A connector on the real network, and one stream of it. All functions are for the test's thread.
class OpenLine {
 public:
  explicit OpenLine(const std::string& ca_pem = "", std::vector<EgressRule> egress = LoopbackEgress())
      : access_(Access({.egress = std::move(egress)})), network_(ca_pem) {
    connector_ = MakeConnector(network_.loop(), access_, network_.tls());
  }
  ~OpenLine() { Destroy(); }
  OpenLine(const OpenLine&) = delete;
  OpenLine& operator=(const OpenLine&) = delete;

  void BeginOpen(const std::string& url, Duration timeout = kPatience) {
    const auto target = url.starts_with("http") ? ParseRequestUrl(url, 8192) : ParseTarget(url, 8192);
    ASSERT_TRUE(target) << url;
    auto outcome = std::make_shared<std::promise<std::optional<Failure>>>();
    opened_ = outcome->get_future();
    network_.Do([&] {
      dialling_ = connector_->Open("dev", *target, timeout, [this, outcome](Result<OpenedStream> opened) {
        EXPECT_FALSE(destroyed_) << "told although destroyed";
        if (opened) {
          stream_ = std::move(opened->stream);
          times_ = opened->times;
        }
        dialling_.reset();
        outcome->set_value(opened ? std::nullopt : std::optional(opened.error()));
      });
    });
  }
  std::optional<Failure> WaitOpened() { return Await(opened_, "the outcome of a dial"); }
  std::optional<Failure> Open(const std::string& url, Duration timeout = kPatience) {
    BeginOpen(url, timeout);
    return WaitOpened();
  }

  void BeginRead() {
    auto outcome = std::make_shared<std::promise<Result<std::string>>>();
    read_ = outcome->get_future();
    network_.Do([&] {
      stream_->Read([this, outcome](Result<std::string_view> bytes) {
        EXPECT_FALSE(destroyed_) << "told although destroyed";
        outcome->set_value(bytes ? Result<std::string>(std::string(*bytes)) : std::unexpected(bytes.error()));
      });
    });
  }
  Result<std::string> WaitRead() { return Await(read_, "a read"); }
  Result<std::string> Read() {
    BeginRead();
    return WaitRead();
  }
  void BeginWrite(std::string head, std::string body) {
    auto outcome = std::make_shared<std::promise<Phase>>();
    written_ = outcome->get_future();
    network_.Do([&] {
      stream_->Write(std::move(head), std::move(body), [this, outcome](Phase taken) {
        EXPECT_FALSE(destroyed_) << "told although destroyed";
        outcome->set_value(taken);
      });
    });
  }
  Phase WaitWritten() { return Await(written_, "a write"); }
  bool writing() { return written_.wait_for(0s) != std::future_status::ready; }
  Phase Write(std::string head, std::string body) {
    BeginWrite(std::move(head), std::move(body));
    return WaitWritten();
  }
  void Abort() {
    network_.Do([&] { stream_->Abort(); });
  }
  bool Quiet() {
    return network_.Do([&] { return stream_->Quiet(); });
  }
  void WaitUntilQuiet(bool quiet) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (Quiet() != quiet && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(Quiet(), quiet);
  }
  void Destroy() {
    network_.Do([&] {
      destroyed_ = true;
      dialling_.reset();
      stream_.reset();
    });
    network_.Settle();
  }
  ConnectTimes times() {
    return network_.Do([&] { return times_; });
  }
  void Settle() { network_.Settle(); }

 private:
  Current<Access> access_;
  Network network_;
  std::unique_ptr<Connector> connector_;
  std::future<std::optional<Failure>> opened_;
  std::future<Result<std::string>> read_;
  std::future<Phase> written_;
  // Of the loop.
  std::unique_ptr<Dialling> dialling_;
  std::unique_ptr<ByteStream> stream_;
  ConnectTimes times_;
  bool destroyed_ = false;
};

std::string Long() { return std::string(32 << 20, 'b'); }  // More than any kernel buffers.

// Each test for http and https.
class ByteStreamTest : public testing::TestWithParam<bool> {
 protected:
  bool tls() const { return GetParam(); }
  void Connect() {
    line.BeginOpen(peer.Url(tls() ? "https" : "http"));
    peer.Accept();
    const auto failure = line.WaitOpened();
    ASSERT_FALSE(failure) << failure->message;
  }

  SocketPeer peer{GetParam()};
  OpenLine line{peer.ca_pem()};
};
INSTANTIATE_TEST_SUITE_P(Http, ByteStreamTest, testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Https, ByteStreamTest, testing::Values(true));

TEST_P(ByteStreamTest, CarriesBytesBothWays) {
  Connect();
  EXPECT_EQ(line.times().tls.has_value(), tls());
  for (int i = 0; i < 3; ++i) {
    line.BeginRead();
    EXPECT_EQ(line.Write("head|", "body"), Phase::kSentNoReply);
    EXPECT_EQ(peer.Read(9), "head|body");
    peer.Write("answer");
    EXPECT_EQ(line.WaitRead(), "answer");
  }
  line.BeginRead();
  EXPECT_EQ(line.Write("head alone", ""), Phase::kSentNoReply);
  EXPECT_EQ(peer.Read(10), "head alone");
  peer.End();
  EXPECT_EQ(line.WaitRead(), "") << "the end, in order";
}

TEST_P(ByteStreamTest, WritesWhatIsLong) {
  Connect();
  line.BeginRead();
  line.BeginWrite("head", Long());
  EXPECT_EQ(peer.Read(4), "head");
  EXPECT_TRUE(peer.Read(32 << 20) == Long());
  EXPECT_EQ(line.WaitWritten(), Phase::kSentNoReply);
}

TEST_P(ByteStreamTest, TellsThatAWriteWasCut) {
  for (const size_t taken : {0, 1, 100'000}) {
    SCOPED_TRACE(taken);
    Connect();
    line.BeginRead();
    line.BeginWrite("head", Long());
    EXPECT_EQ(peer.Read(taken).size(), taken);
    if (taken == 0) line.Settle();  // The kernels have what they take unasked.
    peer.Reset();
    EXPECT_EQ(line.WaitWritten(), Phase::kPartlySent);
    const auto read = line.WaitRead();
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().reason, Reason::kConnectionLost);
  }
}

TEST_P(ByteStreamTest, TellsThatNothingWasWritten) {
  Connect();
  line.BeginRead();
  peer.Reset();
  const auto read = line.WaitRead();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().reason, Reason::kConnectionLost);
  // What TLS has made of it may have been written in part; it cannot tell, and does not claim to.
  EXPECT_EQ(line.Write("head", "body"), tls() ? Phase::kPartlySent : Phase::kNotSent);
}

TEST_P(ByteStreamTest, WhatTheKernelHasTakenIsSent) {
  Connect();
  line.BeginRead();
  EXPECT_EQ(line.Write("head", "body"), Phase::kSentNoReply) << "nobody has read it";
  peer.Reset();
  EXPECT_FALSE(line.WaitRead());
}

TEST_P(ByteStreamTest, AbortEndsBoth) {
  Connect();
  line.BeginRead();
  line.BeginWrite("head", Long());
  EXPECT_EQ(peer.Read(4), "head");
  EXPECT_TRUE(line.writing());
  line.Abort();
  EXPECT_EQ(line.WaitWritten(), Phase::kPartlySent);
  const auto read = line.WaitRead();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().reason, Reason::kConnectionLost);
  line.Abort();  // Again is nothing.
  line.Settle();
}

TEST_P(ByteStreamTest, TellsNobodyOnceDestroyed) {
  Connect();
  line.BeginRead();
  line.BeginWrite("head", Long());
  EXPECT_EQ(peer.Read(4), "head");
  line.Destroy();  // Its callbacks would fail the test.
  peer.Reset();
  line.Settle();
}

TEST_P(ByteStreamTest, IsQuietUntilSomethingComes) {
  for (const std::string event : {"bytes", "end", "reset"}) {
    SCOPED_TRACE(event);
    Connect();
    line.BeginRead();
    // TLS speaks for itself behind the handshake (session tickets); what is read without a word leaves it quiet.
    line.WaitUntilQuiet(true);
    if (event == "bytes") {
      // While a read is under way, bytes are its; then they wait in the kernel.
      peer.Write("a");
      EXPECT_EQ(line.WaitRead(), "a");
      EXPECT_TRUE(line.Quiet());
      peer.Write("b");
      line.WaitUntilQuiet(false);
      EXPECT_EQ(line.Read(), "b");
      EXPECT_TRUE(line.Quiet());
      peer.Close();
    } else {
      event == "end" ? peer.End() : peer.Reset();
      EXPECT_EQ(line.WaitRead().has_value(), event == "end");
      line.WaitUntilQuiet(false);
      peer.Close();
    }
    line.Abort();
  }
}

TEST_P(ByteStreamTest, AnEndWithoutCloseNotifyIsNoOrderlyEnd) {
  Connect();
  line.BeginRead();
  peer.EndTcp();
  const auto read = line.WaitRead();
  EXPECT_EQ(read.has_value(), !tls()) << "a body until the end could have been cut by anybody";
}

TEST(Connector, NobodyListens) {
  SocketPeer peer;
  const std::string url = peer.Url("http");
  peer.StopListening();
  OpenLine line;
  const auto failure = line.Open(url);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->reason, Reason::kConnectFailed);
  EXPECT_EQ(failure->phase, Phase::kNotSent);
}

TEST(Connector, WhatEgressForbidsGetsNoConnection) {
  SocketPeer peer;
  OpenLine line("", {});
  const auto failure = line.Open(peer.Url("http"));
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->reason, Reason::kEgressDenied);
  OpenLine names("", {{.name = "any", .schemes = {"http"}, .hosts = {"*"}}});
  EXPECT_EQ(names.Open("http://localhost:" + std::to_string(peer.port())).value_or(Failure{}).reason,
            Reason::kEgressDenied);
}

TEST(Connector, RefusesACertificateOfAStranger) {
  SocketPeer peer(/*tls=*/true);
  const SocketPeer stranger(/*tls=*/true);
  OpenLine line(stranger.ca_pem());
  line.BeginOpen(peer.Url("https"));
  peer.AcceptTcp();
  std::thread handshake([&] { EXPECT_FALSE(peer.Handshake()); });
  const auto failure = line.WaitOpened();
  handshake.join();
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->reason, Reason::kCertificateRejected);
  EXPECT_EQ(failure->phase, Phase::kNotSent);
}

TEST(Connector, TheTimeoutNamesTheStep) {
  SocketPeer silent(/*tls=*/true);
  OpenLine line(silent.ca_pem());
  const auto tls = line.Open(silent.Url("https"), 100ms);
  ASSERT_TRUE(tls);
  EXPECT_EQ(tls->reason, Reason::kDialTimeout);
  EXPECT_EQ(tls->phase, Phase::kNotSent);
  EXPECT_EQ(tls->message, "http.dial_timeout passed while in the TLS handshake");

  // A listener whose queue is full drops what comes.
  SocketPeer full(/*tls=*/false, /*backlog=*/0);
  std::vector<std::unique_ptr<OpenLine>> queue;
  std::optional<Failure> connecting;
  for (int i = 0; i < 4 && !connecting; ++i) {
    queue.push_back(std::make_unique<OpenLine>());
    connecting = queue.back()->Open(full.Url("http"), 300ms);
  }
  ASSERT_TRUE(connecting) << "the queue took them all";
  EXPECT_EQ(connecting->reason, Reason::kDialTimeout);
  EXPECT_EQ(connecting->message, "http.dial_timeout passed while connecting");
}

TEST(Connector, MayBeAbandonedAtAnyStep) {
  for (const bool tls : {false, true}) {
    SocketPeer peer(tls);
    OpenLine at_once(peer.ca_pem());
    at_once.BeginOpen(peer.Url(tls ? "https" : "http"));
    at_once.Destroy();  // A call of its callback would fail the test.
    if (!tls) continue;
    SocketPeer silent(tls);
    OpenLine in_handshake(silent.ca_pem());
    in_handshake.BeginOpen(silent.Url("https"));
    silent.AcceptTcp();
    EXPECT_EQ(silent.Read(1).size(), 1u) << "the handshake has begun";
    in_handshake.Destroy();
    EXPECT_LT(silent.Read(100'000).size(), 100'000u) << "the rest of its first message, and the end";
  }
}

}  // namespace
}  // namespace fairlead
