#include "net/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <boost/asio/ip/address.hpp>

#include "support/network.h"
#include "support/simulated_exchange.h"

namespace fairlead {
namespace {

namespace asio = boost::asio;
using testing::HasSubstr;

struct Handshake {
  boost::system::error_code error;
  bool resumed = false;
  int version = 0;
};

// A bare handshake with the exchange, as the dialler does it.
Handshake ShakeHands(Network& network, uint16_t port) {
  struct Attempt {
    explicit Attempt(Network& n, uint16_t p) : socket(n.loop().context().get_executor()), port(p) {}
    Socket socket;
    uint16_t port;
    std::unique_ptr<TlsClient::Stream> stream;
    std::promise<Handshake> done;
  };
  std::shared_ptr<Attempt> attempt;
  network.Do([&] {
    attempt = std::make_shared<Attempt>(network, port);
    attempt->socket.connect({asio::ip::make_address("127.0.0.1"), port});
    attempt->stream = network.tls().MakeStream(attempt->socket, {"wss", true, "localhost", port, Secret("/")});
    attempt->stream->async_handshake(asio::ssl::stream_base::client, [&attempt](boost::system::error_code error) {
      SSL* handle = attempt->stream->native_handle();
      attempt->done.set_value({error, SSL_session_reused(handle) == 1, SSL_version(handle)});
    });
  });
  const Handshake result = attempt->done.get_future().get();
  network.Do([&] { attempt.reset(); });
  return result;
}

TEST(TlsClient, ResumesTheLastSessionWithAnOrigin) {
  const exchange::Exchange exchange;
  Network network(exchange.ca_pem());
  const Handshake first = ShakeHands(network, exchange.wss_port());
  EXPECT_FALSE(first.error) << first.error.message();
  EXPECT_FALSE(first.resumed);
  EXPECT_GE(first.version, TLS1_2_VERSION);
  // A dial that reads gets the tickets (TLS 1.3 sends them behind the handshake).
  Line line(network);
  EXPECT_FALSE(line.Dial(RequestFor(exchange.Url("/numbered?count=1&feed=", /*tls=*/true))));
  EXPECT_EQ(line.WaitForFrames(1).size(), 1u);
  line.Abandon();
  const Handshake second = ShakeHands(network, exchange.wss_port());
  EXPECT_FALSE(second.error) << second.error.message();
  EXPECT_TRUE(second.resumed);
}

TEST(TlsClient, ASessionOfOneOriginIsNotForAnother) {
  const exchange::Exchange one;
  Network network(one.ca_pem());
  Line line(network);
  EXPECT_FALSE(line.Dial(RequestFor(one.Url("/numbered?count=1&feed=", /*tls=*/true))));
  line.WaitForFrames(1);
  const exchange::Exchange another;
  const Handshake other = ShakeHands(network, another.wss_port());
  EXPECT_TRUE(other.error) << "its authority is not trusted";
  EXPECT_FALSE(other.resumed);
}

TEST(TlsClient, AFileWithoutAuthoritiesIsAnErrorThatNamesIt) {
  const auto missing = TlsClient::Make({"/nowhere/ca.pem"}, false);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().reason, Reason::kTlsFailed);
  EXPECT_THAT(missing.error().message, HasSubstr("/nowhere/ca.pem"));
  const TemporaryFile noise("no certificate");
  EXPECT_FALSE(TlsClient::Make({noise.path()}, false));
}

}  // namespace
}  // namespace fairlead
