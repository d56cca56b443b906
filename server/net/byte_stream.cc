#include "net/byte_stream.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>
#include <utility>
#include <vector>

namespace fairlead {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr size_t kReadBytes = 32u << 10;

// Kept by the operations under way on it.
class Line : public std::enable_shared_from_this<Line> {
 public:
  Line(Wire wire, bool tls) : wire_(std::move(wire)), tls_(tls) {}

  void Read(ByteStream::ReadDone done) {
    read_done_ = std::move(done);
    buffer_.resize(kReadBytes);
    wire_.async_read_some(asio::buffer(buffer_), [self = shared_from_this()](error_code error, size_t bytes) {
      const auto read_done = std::exchange(self->read_done_, nullptr);
      if (!read_done) return;
      if (!error) return read_done(std::string_view(self->buffer_.data(), bytes));
      // The kernel tells a reset once: if a write was told, or is about to be, what follows only looks like an end in
      // order.
      const bool in_doubt = self->write_failed_ || self->write_done_ != nullptr;
      if (error == asio::error::eof && !in_doubt) return read_done(std::string_view());
      read_done(std::unexpected(
          Failure{Reason::kConnectionLost, Phase::kUnspecified, "the connection ended: " + error.message()}));
    });
  }

  // Kept here: TLS may read on in what it writes after everybody else has lost interest.
  void Write(std::string head, std::string body, ByteStream::WriteDone done) {
    write_done_ = std::move(done);
    head_ = std::move(head);
    body_ = std::move(body);
    const std::array<asio::const_buffer, 2> parts = {asio::buffer(head_), asio::buffer(body_)};
    asio::async_write(wire_, parts, [self = shared_from_this()](error_code error, size_t bytes) {
      const auto write_done = std::exchange(self->write_done_, nullptr);
      self->head_.clear();
      self->body_ = {};
      self->write_failed_ = static_cast<bool>(error);
      if (!write_done) return;
      if (!error) return write_done(Phase::kSentNoReply);
      // A record that TLS could not write whole is in none of the counts, and may be in the kernel in part.
      write_done(bytes == 0 && !self->tls_ ? Phase::kNotSent : Phase::kPartlySent);
    });
  }

  void Abort() { wire_.Abort(); }
  bool Quiet() const { return wire_.Quiet(); }
  void Abandon() {
    read_done_ = nullptr;
    write_done_ = nullptr;
    wire_.Abort();
  }

 private:
  Wire wire_;
  const bool tls_;
  std::vector<char> buffer_;
  std::string head_;
  std::string body_;
  bool write_failed_ = false;
  ByteStream::ReadDone read_done_;
  ByteStream::WriteDone write_done_;
};

class NetStream final : public ByteStream {
 public:
  explicit NetStream(std::shared_ptr<Line> line) : line_(std::move(line)) {}
  ~NetStream() override { line_->Abandon(); }

  void Read(ReadDone done) override { line_->Read(std::move(done)); }
  void Write(std::string head, std::string body, WriteDone done) override {
    line_->Write(std::move(head), std::move(body), std::move(done));
  }
  void Abort() override { line_->Abort(); }
  bool Quiet() const override { return line_->Quiet(); }

 private:
  std::shared_ptr<Line> line_;
};

// A connection under its own timeout.
class Opening final : public Dialling {
 public:
  Opening(Loop& loop, Connector::Done done) : loop_(loop), done_(std::move(done)), deadline_(loop.MakeTimer()) {}

  void Begin(const Current<Access>& access, TlsClient& tls, const std::string& identity, const TargetUrl& url,
             Duration timeout) {
    deadline_->At(loop_.Now() + timeout, [this] {
      Finish(NotSent(Reason::kDialTimeout, std::string("http.dial_timeout passed while ") + connecting_->doing()));
    });
    connecting_ = Connect(
        loop_, access, tls, identity, url, std::nullopt,
        [this, secure = url.secure](std::expected<Connected, Loss> connected) {
          if (!connected) return Finish(std::unexpected(std::move(connected.error().cause)));
          Finish(OpenedStream{std::make_unique<NetStream>(std::make_shared<Line>(std::move(connected->wire), secure)),
                              connected->times});
        });
  }

 private:
  // The receiver destroys this object, or may.
  void Finish(Result<OpenedStream> outcome) {
    deadline_->Cancel();
    const auto done = std::exchange(done_, nullptr);
    done(std::move(outcome));
  }

  Loop& loop_;
  Connector::Done done_;
  std::unique_ptr<Timer> deadline_;
  std::unique_ptr<Connecting> connecting_;
};

class NetConnector final : public Connector {
 public:
  NetConnector(Loop& loop, const Current<Access>& access, TlsClient& tls) : loop_(loop), access_(access), tls_(tls) {}

  std::unique_ptr<Dialling> Open(const std::string& identity, const TargetUrl& url, Duration timeout,
                                 Done done) override {
    auto opening = std::make_unique<Opening>(loop_, std::move(done));
    opening->Begin(access_, tls_, identity, url, timeout);
    return opening;
  }

 private:
  Loop& loop_;
  const Current<Access>& access_;
  TlsClient& tls_;
};

}  // namespace

std::unique_ptr<Connector> MakeConnector(Loop& loop, const Current<Access>& access, TlsClient& tls) {
  return std::make_unique<NetConnector>(loop, access, tls);
}

}  // namespace fairlead
