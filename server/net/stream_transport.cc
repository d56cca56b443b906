#include "net/stream_transport.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>
#include <cassert>

#include "policy/framing.h"

namespace fairlead {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr Duration kCloseTimeout = std::chrono::seconds(2);

// The connection, kept by the operations under way on it.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  Stream(Wire wire, const SocketOptions& options, Loop& loop)
      : wire_(std::move(wire)),
        framing_(options.framing),
        deframer_(options.framing, options.max_frame_bytes),
        loop_(loop),
        end_timer_(loop.MakeTimer()) {}

  // Not framed. done comes when it is in the kernel, or with what went wrong.
  void WritePreamble(std::string preamble, std::function<void(error_code)> done) {
    writing_ = std::move(preamble);
    asio::async_write(wire_, asio::buffer(writing_),
                      [self = shared_from_this(), done = std::move(done)](error_code error, size_t) { done(error); });
  }

  void Start(Transport::Listener& listener) {
    listener_ = &listener;
    Read();
  }

  void Write(std::string_view payload) {
    writing_ = Enframe(framing_, payload);
    writes_ = true;
    asio::async_write(wire_, asio::buffer(writing_),
                      [self = shared_from_this()](error_code error, size_t) { self->Wrote(error); });
  }

  void Close() {
    closing_ = true;
    EndIn(kCloseTimeout, Lost("the exchange did not end the connection after we had"));
    if (!writes_) wire_.EndWriting();
  }

  // The owner has lost interest.
  void Abandon() {
    listener_ = nullptr;
    if (!std::exchange(ended_, true)) wire_.Abort();
    end_timer_->Cancel();
  }
  uint64_t BytesAcknowledged() const { return wire_.BytesAcknowledged(); }
  std::optional<IpAddress> address() const { return wire_.address(); }

 private:
  static Loss Lost(std::string message) {
    return {.cause = {Reason::kConnectionLost, Phase::kUnspecified, std::move(message)}};
  }

  void Read() {
    const std::span<char> room = deframer_.Room();
    wire_.async_read_some(asio::buffer(room.data(), room.size()),
                          [self = shared_from_this()](error_code error, size_t bytes) { self->DidRead(error, bytes); });
  }

  void DidRead(const error_code& error, size_t bytes) {
    if (ended_) return;
    deframer_.Filled(bytes);
    if (!error) {
      if (Deliver()) Read();
      return;
    }
    std::string message =
        error == asio::error::eof ? "the exchange ended the connection" : "the connection ended: " + error.message();
    if (deframer_.unfinished() > 0) {
      message += ", " + std::to_string(deframer_.unfinished()) + " bytes into a frame, which is dropped";
    }
    End(Lost(std::move(message)));
  }

  // All whole frames; false: it has ended.
  bool Deliver() {
    for (;;) {
      const auto frame = deframer_.Next();
      if (!frame) {
        End({.cause = frame.error()});
        return false;
      }
      if (!*frame) return true;
      listener_->Received(FrameKind::kBinary, **frame);
      if (ended_) return false;
    }
  }

  void Wrote(const error_code& error) {
    writes_ = false;
    if (ended_) return;
    if (error) {
      // The read that is under way knows better why the connection ended; it fails too, soon.
      return EndIn(std::chrono::seconds(1), Lost("the connection ended: " + error.message()));
    }
    writing_.clear();
    if (closing_) wire_.EndWriting();
    listener_->Written();
  }

  void EndIn(Duration delay, Loss loss) {
    end_timer_->At(loop_.Now() + delay, [this, loss = std::move(loss)] { End(loss); });
  }

  void End(const Loss& loss) {
    const auto self = shared_from_this();
    if (std::exchange(ended_, true)) return;
    end_timer_->Cancel();
    wire_.Abort();
    if (listener_ != nullptr) std::exchange(listener_, nullptr)->Ended(loss);
  }

  Wire wire_;
  const Framing framing_;
  Deframer deframer_;
  Loop& loop_;
  Transport::Listener* listener_ = nullptr;
  std::string writing_;
  bool writes_ = false;  // writing_ is under way.
  bool closing_ = false;
  bool ended_ = false;
  std::unique_ptr<Timer> end_timer_;
};

class StreamTransport final : public Transport {
 public:
  explicit StreamTransport(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~StreamTransport() override { stream_->Abandon(); }

  void Start(Listener& listener) override { stream_->Start(listener); }
  void Write(FrameKind /*kind*/, std::string payload) override { stream_->Write(payload); }
  void Ping(std::string /*payload*/) override { assert(false && "refused where commands are read"); }
  void Close(uint16_t /*code*/, std::string /*reason*/) override { stream_->Close(); }
  uint64_t BytesAcknowledged() const override { return stream_->BytesAcknowledged(); }
  std::optional<IpAddress> address() const override { return stream_->address(); }

 private:
  std::shared_ptr<Stream> stream_;
};

// The dial's last part.
class Opening final : public std::enable_shared_from_this<Opening> {
 public:
  Opening(std::shared_ptr<Stream> stream, Dialler::Done done) : stream_(std::move(stream)), done_(std::move(done)) {}

  void Begin(Loop& loop, const std::string& preamble) {
    const auto opened = [self = shared_from_this()](error_code error) { self->Opened(error); };
    if (preamble.empty()) return loop.Post([opened] { opened({}); });
    stream_->WritePreamble(preamble, opened);
  }
  void Abandon() {
    if (std::exchange(done_, nullptr)) stream_->Abandon();
  }

 private:
  void Opened(const error_code& error) {
    const auto done = std::exchange(done_, nullptr);
    if (!done) return;
    if (!error) return done(std::make_unique<StreamTransport>(stream_));
    stream_->Abandon();
    done(std::unexpected(Loss{.cause = {Reason::kConnectionLost, Phase::kNotSent,
                                        "the connection ended while the preamble was written: " + error.message()}}));
  }

  std::shared_ptr<Stream> stream_;
  Dialler::Done done_;
};

class OpeningUnderWay final : public Dialling {
 public:
  explicit OpeningUnderWay(std::shared_ptr<Opening> opening) : opening_(std::move(opening)) {}
  ~OpeningUnderWay() override { opening_->Abandon(); }

 private:
  std::shared_ptr<Opening> opening_;
};

}  // namespace

std::unique_ptr<Dialling> OpenStream(Wire wire, const SocketOptions& options, Loop& loop, Dialler::Done done) {
  auto opening = std::make_shared<Opening>(std::make_shared<Stream>(std::move(wire), options, loop), std::move(done));
  opening->Begin(loop, options.preamble);
  return std::make_unique<OpeningUnderWay>(std::move(opening));
}

}  // namespace fairlead
