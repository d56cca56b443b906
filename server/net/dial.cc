#include "net/dial.h"

#include "net/connect.h"
#include "net/stream_transport.h"
#include "net/tls.h"
#include "net/websocket_transport.h"

namespace fairlead {
namespace {

// One dial: the connection, then what makes a transport of it. Finish ends it, whoever calls first.
class Dial : public std::enable_shared_from_this<Dial> {
 public:
  Dial(Loop& loop, DialRequest request, Dialler::Done done)
      : loop_(loop), request_(std::move(request)), done_(std::move(done)), deadline_(loop.MakeTimer()) {}

  void Begin(const Current<Access>& access, TlsClient& tls) {
    const std::weak_ptr<Dial> weak = weak_from_this();
    deadline_->At(loop_.Now() + request_.timeout, [this] {
      Finish(std::unexpected(Loss{
          .cause = {Reason::kDialTimeout, Phase::kNotSent,
                    std::string("the dial timeout passed while ") + (connecting_ ? connecting_->doing() : doing_)}}));
    });
    connecting_ = Connect(loop_, access, tls, request_.identity, request_.url, request_.avoid,
                          [weak](std::expected<Connected, Loss> connected) {
                            const auto self = weak.lock();
                            if (!self || !self->done_) return;
                            if (!connected) return self->Finish(std::unexpected(std::move(connected.error())));
                            self->MakeTransport(std::move(connected->wire));
                          });
  }

  // Nobody waits any more.
  void Abandon() {
    done_ = nullptr;
    Release();
  }

 private:
  void MakeTransport(Wire wire) {
    const auto finished = [weak = weak_from_this()](auto outcome) {
      if (const auto self = weak.lock(); self && self->done_) self->Finish(std::move(outcome));
    };
    if (request_.url.IsRawSocket()) {
      doing_ = "writing the preamble";
      making_ = OpenStream(std::move(wire), request_.socket, loop_, finished);
    } else {
      doing_ = "waiting for the answer to the upgrade";
      making_ = UpgradeToWebSocket(std::move(wire), request_, loop_, finished);
    }
    const auto done_with = std::exchange(connecting_, nullptr);
  }

  void Finish(std::expected<std::unique_ptr<Transport>, Loss> outcome) {
    const auto self = shared_from_this();
    const auto done = std::exchange(done_, nullptr);
    Release();
    done(std::move(outcome));
  }

  // Ends whatever is under way.
  void Release() {
    deadline_->Cancel();
    connecting_.reset();
    making_.reset();
  }

  Loop& loop_;
  DialRequest request_;
  Dialler::Done done_;
  std::unique_ptr<Timer> deadline_;
  std::unique_ptr<Connecting> connecting_;
  const char* doing_ = "";  // Behind the connection; for the timeout's message.
  std::unique_ptr<Dialling> making_;
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
  NetDialler(Loop& loop, const Current<Access>& access, TlsClient& tls) : loop_(loop), access_(access), tls_(tls) {}

  std::unique_ptr<Dialling> Dial(DialRequest request, Done done) override {
    auto dial = std::make_shared<class Dial>(loop_, std::move(request), std::move(done));
    dial->Begin(access_, tls_);
    return std::make_unique<DialUnderWay>(std::move(dial));
  }

 private:
  Loop& loop_;
  const Current<Access>& access_;
  TlsClient& tls_;
};

}  // namespace

std::unique_ptr<Dialler> MakeDialler(Loop& loop, const Current<Access>& access, TlsClient& tls) {
  return std::make_unique<NetDialler>(loop, access, tls);
}

}  // namespace fairlead
