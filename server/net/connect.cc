#include "net/connect.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <span>

#include "net/resolve.h"

namespace fairlead {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// Between the starts of two attempts (RFC 8305 section 5, "Connection Attempt Delay").
constexpr Duration kAttemptDelay = std::chrono::milliseconds(250);

// One connection, step by step; the operation under way keeps it alive. Finish ends it, whoever calls first.
class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  using Done = std::function<void(std::expected<Connected, Loss>)>;

  Attempt(Loop& loop, const Current<Access>& access, TlsClient& tls, std::string identity, TargetUrl url,
          std::optional<IpAddress> avoid, Done done)
      : loop_(loop),
        access_(access),
        tls_(tls),
        identity_(std::move(identity)),
        url_(std::move(url)),
        avoid_(avoid),
        done_(std::move(done)),
        stagger_(loop.context().get_executor()) {}

  void Begin() {
    if (auto allowed = Check({}); !allowed) {
      loop_.Post([self = shared_from_this(), failure = allowed.error()] { self->Fail(failure, /*fatal=*/true); });
      return;
    }
    Enter("resolving the host name");
    Resolve(loop_, url_.host, [self = shared_from_this()](Result<std::vector<IpAddress>> addresses) {
      if (!self->done_) return;
      if (!addresses) return self->Fail(addresses.error());
      self->times_.resolve = self->Step();
      self->Dial(std::move(*addresses));
    });
  }

  // Nobody waits any more.
  void Abandon() {
    done_ = nullptr;
    Release();
  }
  const char* doing() const { return doing_; }

 private:
  // By the rules as they are now.
  Result<void> Check(std::span<const IpAddress> addresses) const {
    const auto access = access_.Get();
    const auto rule = access->EgressOf(identity_).Allow(url_);
    if (!rule) return std::unexpected(rule.error());
    for (const IpAddress& address : addresses) {
      if (auto allowed = Egress::AllowAddress(**rule, url_.host, address); !allowed) return allowed;
    }
    return {};
  }

  // Every address is checked before the first is dialled: a name with one forbidden address is a name not to trust.
  void Dial(std::vector<IpAddress> addresses) {
    if (auto allowed = Check(addresses); !allowed) return Fail(allowed.error(), /*fatal=*/true);
    addresses_ = std::move(addresses);
    if (avoid_) {
      if (const auto at = std::ranges::find(addresses_, *avoid_); at != addresses_.end())
        std::rotate(at, at + 1, addresses_.end());
    }
    Enter("connecting");
    DialNext();
  }

  // Races the addresses: the next one starts when an attempt has failed or the delay has passed.
  void DialNext() {
    if (next_ == addresses_.size()) return;
    const asio::ip::tcp::endpoint endpoint(ToAsio(addresses_[next_++]), url_.port);
    auto socket = std::make_shared<Socket>(loop_.context().get_executor());
    attempts_.push_back(socket);
    socket->async_connect(endpoint,
                          [self = shared_from_this(), socket](error_code error) { self->Dialled(socket, error); });
    stagger_.expires_after(kAttemptDelay);
    stagger_.async_wait([self = shared_from_this()](error_code error) {
      if (!error && self->done_ && !self->attempts_.empty()) self->DialNext();
    });
  }

  void Dialled(const std::shared_ptr<Socket>& socket, const error_code& error) {
    if (!done_ || attempts_.empty()) return;  // Over, or another attempt has won.
    if (error) {
      std::erase(attempts_, socket);
      if (attempts_.empty() && next_ == addresses_.size()) {
        return Fail({Reason::kConnectFailed, Phase::kNotSent, "the exchange cannot be reached: " + error.message()});
      }
      return DialNext();
    }
    stagger_.cancel();
    error_code ignored;
    for (const auto& attempt : std::exchange(attempts_, {})) {
      if (attempt != socket) attempt->close(ignored);
    }
    socket_ = socket;
    socket_->set_option(asio::ip::tcp::no_delay(true), ignored);
    times_.connect = Step();
    if (url_.secure) return Secure();
    Finish(Connected{Wire(socket_), times_});
  }

  void Secure() {
    Enter("in the TLS handshake");
    std::shared_ptr<TlsClient::Stream> stream = tls_.MakeStream(*socket_, url_);
    stream->async_handshake(asio::ssl::stream_base::client, [self = shared_from_this(), stream](error_code error) {
      if (!self->done_) return;
      if (error) {
        const Failure failure = TlsFailure(*stream, error);
        return self->Fail(failure, failure.reason == Reason::kCertificateRejected);
      }
      self->times_.tls = self->Step();
      self->Finish(Connected{Wire(self->socket_, stream), self->times_});
    });
  }

  void Enter(const char* doing) {
    doing_ = doing;
    began_ = loop_.Now();
  }
  Duration Step() const { return loop_.Now() - began_; }

  void Fail(Failure failure, bool fatal = false) {
    if (done_) Finish(std::unexpected(Loss{.cause = std::move(failure), .fatal = fatal}));
  }

  void Finish(std::expected<Connected, Loss> outcome) {
    // The rules may have changed while it was made.
    if (auto allowed = outcome ? Check(addresses_) : Result<void>(); !allowed)
      outcome = std::unexpected(Loss{.cause = std::move(allowed.error()), .fatal = true});
    const auto done = std::exchange(done_, nullptr);
    if (outcome) socket_.reset();  // The wire's now.
    Release();
    done(std::move(outcome));
  }

  // Ends whatever is under way.
  void Release() {
    stagger_.cancel();
    error_code ignored;
    for (const auto& attempt : std::exchange(attempts_, {})) attempt->close(ignored);
    if (socket_) socket_->close(ignored);
  }

  Loop& loop_;
  const Current<Access>& access_;
  TlsClient& tls_;
  const std::string identity_;
  const TargetUrl url_;
  const std::optional<IpAddress> avoid_;
  Done done_;
  const char* doing_ = "starting";
  SteadyTime began_;  // Of the step.
  ConnectTimes times_;
  SteadyTimer stagger_;
  std::vector<IpAddress> addresses_;
  size_t next_ = 0;
  std::vector<std::shared_ptr<Socket>> attempts_;
  std::shared_ptr<Socket> socket_;
};

class AttemptUnderWay final : public Connecting {
 public:
  explicit AttemptUnderWay(std::shared_ptr<Attempt> attempt) : attempt_(std::move(attempt)) {}
  ~AttemptUnderWay() override { attempt_->Abandon(); }
  const char* doing() const override { return attempt_->doing(); }

 private:
  std::shared_ptr<Attempt> attempt_;
};

}  // namespace

std::unique_ptr<Connecting> Connect(Loop& loop, const Current<Access>& access, TlsClient& tls,
                                    const std::string& identity, const TargetUrl& url, std::optional<IpAddress> avoid,
                                    std::function<void(std::expected<Connected, Loss>)> done) {
  auto attempt = std::make_shared<Attempt>(loop, access, tls, identity, url, avoid, std::move(done));
  attempt->Begin();
  return std::make_unique<AttemptUnderWay>(std::move(attempt));
}

}  // namespace fairlead
