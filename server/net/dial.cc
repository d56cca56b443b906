#include "net/dial.h"

#include <boost/asio/ip/tcp.hpp>

#include "net/resolve.h"
#include "net/tls.h"
#include "net/websocket_transport.h"

namespace fairlead {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// Between the starts of two attempts (RFC 8305 section 5, "Connection Attempt Delay").
constexpr Duration kAttemptDelay = std::chrono::milliseconds(250);

// One dial, step by step; the operation under way keeps it alive. Finish ends it, whoever calls first.
class Dial : public std::enable_shared_from_this<Dial> {
 public:
  Dial(Loop& loop, const Egress& egress, TlsClient& tls, DialRequest request, Dialler::Done done)
      : loop_(loop),
        egress_(egress),
        tls_(tls),
        request_(std::move(request)),
        done_(std::move(done)),
        deadline_(loop.context().get_executor()),
        stagger_(loop.context().get_executor()) {}

  void Begin() {
    deadline_.expires_after(request_.timeout);
    deadline_.async_wait([self = shared_from_this()](error_code error) {
      if (!error)
        self->Fail(
            {Reason::kDialTimeout, Phase::kNotSent, std::string("the dial timeout passed while ") + self->doing_});
    });
    const auto rule = egress_.Allow(request_.url);
    if (!rule) {
      loop_.Post([self = shared_from_this(), failure = rule.error()] { self->Fail(failure, /*fatal=*/true); });
      return;
    }
    rule_ = *rule;
    doing_ = "resolving the host name";
    Resolve(loop_, request_.url.host, [self = shared_from_this()](Result<std::vector<IpAddress>> addresses) {
      if (!self->done_) return;
      if (!addresses) return self->Fail(addresses.error());
      self->Connect(std::move(*addresses));
    });
  }

  // Nobody waits any more.
  void Abandon() {
    done_ = nullptr;
    Release();
  }

 private:
  // Every address is checked before the first is dialled: a name with one forbidden address is a name not to trust.
  void Connect(std::vector<IpAddress> addresses) {
    for (const IpAddress& address : addresses) {
      if (const auto allowed = Egress::AllowAddress(*rule_, request_.url.host, address); !allowed) {
        return Fail(allowed.error(), /*fatal=*/true);
      }
    }
    addresses_ = std::move(addresses);
    doing_ = "connecting";
    ConnectNext();
  }

  // Races the addresses: the next one starts when an attempt has failed or the delay has passed.
  void ConnectNext() {
    if (next_ == addresses_.size()) return;
    const asio::ip::tcp::endpoint endpoint(ToAsio(addresses_[next_++]), request_.url.port);
    auto socket = std::make_shared<Socket>(loop_.context().get_executor());
    attempts_.push_back(socket);
    socket->async_connect(endpoint,
                          [self = shared_from_this(), socket](error_code error) { self->Connected(socket, error); });
    stagger_.expires_after(kAttemptDelay);
    stagger_.async_wait([self = shared_from_this()](error_code error) {
      if (!error && self->done_ && !self->attempts_.empty()) self->ConnectNext();
    });
  }

  void Connected(const std::shared_ptr<Socket>& socket, const error_code& error) {
    if (!done_ || attempts_.empty()) return;  // Over, or another attempt has won.
    if (error) {
      std::erase(attempts_, socket);
      if (attempts_.empty() && next_ == addresses_.size()) {
        return Fail({Reason::kConnectFailed, Phase::kNotSent, "the exchange cannot be reached: " + error.message()});
      }
      return ConnectNext();
    }
    stagger_.cancel();
    error_code ignored;
    for (const auto& attempt : std::exchange(attempts_, {})) {
      if (attempt != socket) attempt->close(ignored);
    }
    socket_ = socket;
    socket_->set_option(asio::ip::tcp::no_delay(true), ignored);
    if (request_.url.secure) {
      Secure();
    } else {
      Upgrade(nullptr);
    }
  }

  void Secure() {
    doing_ = "in the TLS handshake";
    const TargetUrl& url = request_.url;
    std::shared_ptr<TlsClient::Stream> stream = tls_.MakeStream(*socket_, url.host, url.port, url.IsIpLiteral());
    handshake_ = stream;
    stream->async_handshake(asio::ssl::stream_base::client, [self = shared_from_this(), stream](error_code error) {
      if (!self->done_) return;
      if (error) {
        const Failure failure = TlsFailure(*stream, error);
        return self->Fail(failure, failure.reason == Reason::kCertificateRejected);
      }
      self->Upgrade(std::move(self->handshake_));
    });
  }

  void Upgrade(std::shared_ptr<TlsClient::Stream> tls) {
    doing_ = "waiting for the answer to the upgrade";
    upgrading_ =
        UpgradeToWebSocket(Wire(socket_, std::move(tls)), request_, loop_, [self = shared_from_this()](auto outcome) {
          if (self->done_) self->Finish(std::move(outcome));
        });
  }

  void Fail(Failure failure, bool fatal = false) {
    if (done_) Finish(std::unexpected(Loss{.cause = std::move(failure), .fatal = fatal}));
  }

  void Finish(std::expected<std::unique_ptr<Transport>, Loss> outcome) {
    const auto done = std::exchange(done_, nullptr);
    if (outcome) socket_.reset();  // The transport's now.
    Release();
    done(std::move(outcome));
  }

  // Ends whatever is under way.
  void Release() {
    deadline_.cancel();
    stagger_.cancel();
    error_code ignored;
    for (const auto& attempt : std::exchange(attempts_, {})) attempt->close(ignored);
    if (socket_) socket_->close(ignored);
    upgrading_.reset();
  }

  Loop& loop_;
  const Egress& egress_;
  TlsClient& tls_;
  DialRequest request_;
  Dialler::Done done_;
  const EgressRule* rule_ = nullptr;
  const char* doing_ = "starting";  // For the timeout's message.
  SteadyTimer deadline_;
  SteadyTimer stagger_;
  std::vector<IpAddress> addresses_;
  size_t next_ = 0;
  std::vector<std::shared_ptr<Socket>> attempts_;
  std::shared_ptr<Socket> socket_;
  std::shared_ptr<TlsClient::Stream> handshake_;
  std::unique_ptr<Dialling> upgrading_;
};

class DialUnderWay final : public Dialling {
 public:
  explicit DialUnderWay(std::shared_ptr<Dial> dial) : dial_(std::move(dial)) {}
  ~DialUnderWay() override { dial_->Abandon(); }

 private:
  std::shared_ptr<Dial> dial_;
};

class NetDialler final : public Dialler {
 public:
  NetDialler(Loop& loop, const Egress& egress, TlsClient& tls) : loop_(loop), egress_(egress), tls_(tls) {}

  std::unique_ptr<Dialling> Dial(DialRequest request, Done done) override {
    auto dial = std::make_shared<class Dial>(loop_, egress_, tls_, std::move(request), std::move(done));
    dial->Begin();
    return std::make_unique<DialUnderWay>(std::move(dial));
  }

 private:
  Loop& loop_;
  const Egress& egress_;
  TlsClient& tls_;
};

}  // namespace

std::unique_ptr<Dialler> MakeDialler(Loop& loop, const Egress& egress, TlsClient& tls) {
  return std::make_unique<NetDialler>(loop, egress, tls);
}

}  // namespace fairlead
