// Dials on loopback: what each step that goes wrong is called, and that a dial may be abandoned at any of them.
#include "net/dial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/network.h"
#include "support/random.h"
#include "support/simulated_exchange.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class Dial : public testing::Test {
 protected:
  std::optional<Loss> To(const std::string& url, Duration timeout = kPatience) {
    DialRequest request = RequestFor(url);
    request.timeout = timeout;
    return Line(network).Dial(std::move(request));
  }
  void Accepts(const std::string& mode) {
    EXPECT_EQ(exchange.Control("POST", "/accept", R"({"mode":")" + mode + "\"}").status, 200);
  }

  exchange::Exchange exchange;
  Network network{exchange.ca_pem()};
};

void ExpectLoss(const std::optional<Loss>& loss, Reason reason, bool fatal = false) {
  ASSERT_TRUE(loss) << "it was dialled";
  EXPECT_EQ(loss->cause.reason, reason) << Name(loss->cause.reason) << ": " << loss->cause.message;
  EXPECT_EQ(loss->cause.phase, Phase::kNotSent);
  EXPECT_EQ(loss->fatal, fatal);
}

TEST_F(Dial, MakesPlainAndTlsTransports) {
  EXPECT_FALSE(To(exchange.Url("/idle")));
  EXPECT_FALSE(To(exchange.Url("/idle", /*tls=*/true)));
  WaitForRecord(exchange, R"("server_name":"localhost")");
}

TEST_F(Dial, AnAddressIsVerifiedTooButNotNamed) {
  EXPECT_FALSE(To("wss://127.0.0.1:" + std::to_string(exchange.wss_port()) + "/idle"));
  WaitForRecord(exchange, R"("server_name":"")");
}

TEST_F(Dial, SendsTheHeadersAndOffers) {
  DialRequest request = RequestFor(exchange.Url("/idle?token=t"));
  request.headers = {{"X-B", "2"}, {"X-A", "1"}, {"X-B", "3"}, {"User-Agent", "mine"}};
  request.websocket.subprotocols = {"v2", "v1"};
  EXPECT_FALSE(Line(network).Dial(request));
  const std::string record = WaitForRecord(exchange, R"("subprotocol":"v2")");
  EXPECT_THAT(record, HasSubstr(R"("target":"/idle?token=t")"));
  EXPECT_THAT(record, HasSubstr(R"(["User-Agent","mine"])"));
  EXPECT_THAT(record, HasSubstr(R"(["X-B","2"],["X-B","3"],["X-A","1"])")) << "those of one name stand together";
  EXPECT_THAT(record, HasSubstr("[\"Host\",\"127.0.0.1:" + std::to_string(exchange.ws_port()) + "\"]"));
  EXPECT_THAT(record, HasSubstr(R"(["Sec-WebSocket-Protocol","v2, v1"])"));
}

TEST_F(Dial, AChoiceThatWasNotOfferedIsInvalid) {
  DialRequest request = RequestFor(exchange.Url("/idle?subprotocol=v9"));
  request.websocket.subprotocols = {"v1"};
  ExpectLoss(Line(network).Dial(request), Reason::kUpgradeInvalid);
  request = RequestFor(exchange.Url("/idle?subprotocol=none"));
  request.websocket.subprotocols = {"v1"};
  ExpectLoss(Line(network).Dial(request), Reason::kUpgradeInvalid);
}

TEST_F(Dial, NobodyListens) {
  Accepts("refuse");
  ExpectLoss(To(exchange.Url("/idle")), Reason::kConnectFailed);
  ExpectLoss(To("ws://[::1]:" + std::to_string(exchange.ws_port()) + "/"), Reason::kConnectFailed);
}

TEST_F(Dial, ANameThatDoesNotResolve) { ExpectLoss(To("ws://no-such-host.invalid/"), Reason::kResolveFailed); }

TEST_F(Dial, TheUpgradeIsRefused) {
  ExpectLoss(To(exchange.Url("/idle?status=401")), Reason::kUpgradeRefused, /*fatal=*/true);
  ExpectLoss(To(exchange.Url("/idle?status=403")), Reason::kUpgradeRefused, /*fatal=*/true);
  ExpectLoss(To(exchange.Url("/idle?status=500")), Reason::kUpgradeRefused);
  const auto busy = To(exchange.Url("/idle?status=429&retry_after=17", /*tls=*/true));
  ExpectLoss(busy, Reason::kUpgradeRefused);
  EXPECT_EQ(busy->cause.retry_after, 17s);
}

TEST_F(Dial, TheUpgradeIsNeverAnswered) {
  const auto loss = To(exchange.Url("/idle?fault=never_upgrade"), 200ms);
  ExpectLoss(loss, Reason::kDialTimeout);
  EXPECT_THAT(loss->cause.message, HasSubstr("upgrade"));
  WaitForRecord(exchange, R"("state":"closed")");
}

TEST_F(Dial, TheTlsHandshakeIsNeverAnswered) {
  Accepts("silent");
  const auto loss = To(exchange.Url("/idle", /*tls=*/true), 200ms);
  ExpectLoss(loss, Reason::kDialTimeout);
  EXPECT_THAT(loss->cause.message, HasSubstr("TLS"));
  WaitForRecord(exchange, R"("state":"closed")");
}

TEST_F(Dial, TheConnectionIsResetDuringTheHandshake) {
  Accepts("reset");
  const auto plain = To(exchange.Url("/idle"));
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->fatal);
  EXPECT_TRUE(plain->cause.reason == Reason::kConnectionLost || plain->cause.reason == Reason::kConnectFailed)
      << Name(plain->cause.reason);
  const auto tls = To(exchange.Url("/idle", /*tls=*/true));
  ASSERT_TRUE(tls);
  EXPECT_FALSE(tls->fatal);
  EXPECT_TRUE(tls->cause.reason == Reason::kTlsFailed || tls->cause.reason == Reason::kConnectFailed)
      << Name(tls->cause.reason);
}

TEST_F(Dial, PlainTextWhereTlsIsSpoken) {
  ExpectLoss(To("wss://localhost:" + std::to_string(exchange.ws_port()) + "/", 200ms), Reason::kDialTimeout);
}

TEST_F(Dial, TlsWhereAnUpgradeIsExpected) {
  const auto loss = To("ws://localhost:" + std::to_string(exchange.wss_port()) + "/idle");
  ASSERT_TRUE(loss);
  EXPECT_FALSE(loss->fatal);
}

TEST_F(Dial, AnAuthorityThatIsNotTrustedIsFatal) {
  const exchange::Exchange stranger;
  const auto loss = To(stranger.Url("/idle", /*tls=*/true));
  ExpectLoss(loss, Reason::kCertificateRejected, /*fatal=*/true);
}

TEST_F(Dial, ACertificateForAnotherNameIsFatal) {
  exchange::Options options;
  options.address = "127.0.0.2";
  const exchange::Exchange elsewhere(options);
  Network trusting(elsewhere.ca_pem());
  const auto loss =
      Line(trusting).Dial(RequestFor("wss://127.0.0.2:" + std::to_string(elsewhere.wss_port()) + "/idle"));
  ExpectLoss(loss, Reason::kCertificateRejected, /*fatal=*/true);
}

TEST_F(Dial, WhatEgressForbidsGetsNoConnection) {
  const auto url = exchange.Url("/idle");
  Network lawless(exchange.ca_pem(), {});
  ExpectLoss(Line(lawless).Dial(RequestFor(url)), Reason::kEgressDenied, /*fatal=*/true);
  // The name is allowed, the address behind it is not.
  Network names(exchange.ca_pem(), {{.name = "any", .schemes = {"ws", "wss"}, .hosts = {"*"}}});
  ExpectLoss(Line(names).Dial(RequestFor("ws://localhost:" + std::to_string(exchange.ws_port()) + "/idle")),
             Reason::kEgressDenied, /*fatal=*/true);
  EXPECT_THAT(exchange.Control("GET", "/connections").json, HasSubstr(R"("connections":[])")) << "not even a SYN";
}

TEST_F(Dial, ASlowHandshakeIsWaitedFor) { EXPECT_FALSE(To(exchange.Url("/idle?fault=slow_handshake&ms=50"))); }

// An abandoned dial calls nobody (a Line checks that) and leaves no connection.
TEST_F(Dial, MayBeAbandonedAtAnyStep) {
  struct Case {
    std::string mode;
    bool tls;
    std::string wait_for;  // What the exchange has seen by then.
  };
  const Case cases[] = {
      {"normal", false, R"({"connections")"},  // At once: the name is being resolved.
      {"normal", true, R"({"connections")"},
      {"silent", false, R"("state":"handshake")"},      // Connected.
      {"silent", true, R"("state":"handshake")"},       // In the TLS handshake.
      {"never_upgrade", false, R"("target":"/idle")"},  // Waiting for the answer to the upgrade.
      {"never_upgrade", true, R"("target":"/idle")"},
      {"normal", false, R"("state":"open")"},  // Dialled, perhaps not told yet.
      {"normal", true, R"("state":"open")"},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.mode + (each.tls ? " wss " : " ws ") + each.wait_for);
    exchange.Control("POST", "/reset", R"({"connections":true})");
    Accepts(each.mode);
    Line line(network);
    line.Begin(RequestFor(exchange.Url("/idle", each.tls)));
    WaitForRecord(exchange, each.wait_for, "/connections");
    line.Abandon();
    network.Settle();
    if (each.wait_for.starts_with("\"")) WaitForRecord(exchange, R"("state":"closed")");
  }
}

TEST_F(Dial, MayBeAbandonedAtAnyMoment) {
  ForEachSeed(150, [&](Draws& draws) {
    Line line(network);
    line.Begin(RequestFor(exchange.Url("/numbered?feed=", draws.OneIn(2))));
    const SteadyTime until = network.loop().Now() + std::chrono::microseconds(draws.Below(3000));
    network.Do([&] {
      while (draws.OneIn(2) && network.loop().Now() < until) {
      }
    });
    while (network.loop().Now() < until) std::this_thread::yield();
    line.Abandon();
    network.Settle();
  });
}

}  // namespace
}  // namespace fairlead
