#include "net/websocket_transport.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/bind_handler.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <boost/beast/zlib/error.hpp>

#include "policy/upgrade.h"

namespace fairlead {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using boost::system::error_code;

// What Beast calls to end a connection after the close handshake or a failure; found by the type of the stream.
template <typename Handler>
void async_teardown(beast::role_type /*role*/, Wire& wire, Handler&& handler) {
  wire.Linger();
  asio::post(wire.get_executor(), beast::bind_front_handler(std::forward<Handler>(handler), error_code()));
}
void beast_close_socket(Wire& wire) { wire.Abort(); }

namespace {

constexpr size_t kReadBytes = 4096;          // An idle session's read buffer.
constexpr size_t kKeptReadBytes = 64 << 10;  // A read buffer that a long message has grown beyond this shrinks again.
constexpr Duration kCloseTimeout = std::chrono::seconds(2);
constexpr uint16_t kNoStatusReceived = 1005;  // RFC 6455 section 7.1.5.

// Of a message that does not inflate.
bool IsDeflateError(const error_code& error) {
  return error.category() == beast::zlib::make_error_code(beast::zlib::error::need_buffers).category();
}

Loss LossOf(const error_code& error, const websocket::close_reason& reason, uint64_t max_message_bytes) {
  if (error == websocket::error::closed) {
    const uint16_t code =
        reason.code == websocket::close_code::none ? kNoStatusReceived : static_cast<uint16_t>(reason.code);
    return {
        .cause = {Reason::kPeerClosed, Phase::kUnspecified, "the exchange closed with code " + std::to_string(code)},
        .close_code = code,
        .close_reason = std::string(reason.reason.data(), reason.reason.size())};
  }
  if (error == websocket::error::message_too_big) {
    return {.cause = {Reason::kMessageTooLong, Phase::kUnspecified,
                      "a message is longer than websocket.max_message_bytes, " + std::to_string(max_message_bytes)}};
  }
  if (error.category() == websocket::make_error_code(websocket::error::closed).category()) {
    return {.cause = {Reason::kProtocolError, Phase::kUnspecified,
                      "the exchange broke the WebSocket protocol: " + error.message()}};
  }
  if (IsDeflateError(error)) {
    return {.cause = {Reason::kProtocolError, Phase::kUnspecified, "a message does not inflate: " + error.message()}};
  }
  return {.cause = {Reason::kConnectionLost, Phase::kUnspecified, "the connection ended: " + error.message()}};
}

// The connection, kept by the operations under way on it. First it upgrades, then it carries frames.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Wire wire, const DialRequest& request, const Clock& clock)
      : stream_(std::move(wire)),
        clock_(clock),
        subprotocols_(request.websocket.subprotocols),
        close_timer_(stream_.get_executor()) {
    stream_.set_option(websocket::stream_base::timeout{.handshake_timeout = websocket::stream_base::none(),
                                                       .idle_timeout = websocket::stream_base::none(),
                                                       .keep_alive_pings = false});
    websocket::permessage_deflate deflate;
    deflate.client_enable = request.websocket.permessage_deflate;
    stream_.set_option(deflate);
    stream_.auto_fragment(false);
    max_message_bytes_ = request.websocket.max_message_bytes;
    stream_.read_message_max(max_message_bytes_);
    stream_.set_option(websocket::stream_base::decorator(
        [headers = request.headers, offered = subprotocols_](websocket::request_type& upgrade) {
          upgrade.set(beast::http::field::user_agent, "fairlead");
          bool own_agent = false;
          for (const Header& header : headers) {
            if (beast::iequals(header.name, "user-agent") && !std::exchange(own_agent, true)) {
              upgrade.set(beast::http::field::user_agent, header.value);
            } else {
              upgrade.insert(header.name, header.value);
            }
          }
          std::string list;
          for (const std::string& name : offered) list += (list.empty() ? "" : ", ") + name;
          if (!list.empty()) upgrade.set(beast::http::field::sec_websocket_protocol, list);
        }));
  }

  void Upgrade(const TargetUrl& url, Dialler::Done done);

  void Start(Transport::Listener& listener) {
    listener_ = &listener;
    stream_.control_callback([this](websocket::frame_type type, beast::string_view payload) {
      if (type == websocket::frame_type::pong && listener_ != nullptr)
        listener_->Ponged({payload.data(), payload.size()});
    });
    buffer_.resize(kReadBytes);
    Read();
  }

  void Write(FrameKind kind, std::string payload) {
    writing_ = std::move(payload);
    stream_.text(kind == FrameKind::kText);
    stream_.async_write(asio::buffer(writing_),
                        [self = shared_from_this()](error_code error, size_t) { self->Wrote(error); });
  }
  void Ping(const std::string& payload) {
    stream_.async_ping(websocket::ping_data(payload.data(), payload.size()),
                       [self = shared_from_this()](error_code error) { self->Wrote(error); });
  }
  void Close(uint16_t code, const std::string& reason) {
    EndIn(kCloseTimeout,
          {.cause = {Reason::kConnectionLost, Phase::kUnspecified, "the exchange did not answer our close frame"}});
    websocket::close_reason close(static_cast<websocket::close_code>(code));
    close.reason.assign(reason.data(), std::min(reason.size(), close.reason.max_size()));
    stream_.async_close(close, [self = shared_from_this()](error_code error) {
      // Whichever saw the exchange's answer tells: this, or the read under way.
      if (!error || !self->reading_)
        self->End(LossOf(error ? error : error_code(websocket::error::closed), self->stream_.reason(), 0));
    });
  }
  // Once the upgrade is done the connection belongs to its transport.
  void AbandonUpgrade() {
    if (done_) Abandon();
  }
  // The owner has lost interest.
  void Abandon() {
    listener_ = nullptr;
    done_ = nullptr;
    if (!ended_) stream_.next_layer().Abort();
    ended_ = true;
    close_timer_.cancel();
  }
  uint64_t BytesAcknowledged() const { return stream_.next_layer().BytesAcknowledged(); }

 private:
  void Read() {
    reading_ = true;
    stream_.async_read_some(
        asio::buffer(buffer_.data() + filled_, buffer_.size() - filled_),
        [self = shared_from_this()](error_code error, size_t bytes) { self->DidRead(error, bytes); });
  }

  void DidRead(const error_code& error, size_t bytes) {
    reading_ = false;
    if (ended_) return;
    if (IsDeflateError(error)) stream_.next_layer().Abort();  // Beast says no goodbye here.
    if (error) return End(LossOf(error, stream_.reason(), max_message_bytes_));
    filled_ += bytes;
    if (stream_.is_message_done()) {
      const FrameKind kind = stream_.got_text() ? FrameKind::kText : FrameKind::kBinary;
      std::string payload(buffer_.data(), filled_);
      filled_ = 0;
      if (buffer_.size() > kKeptReadBytes) {
        buffer_.resize(kReadBytes);
        buffer_.shrink_to_fit();
      }
      listener_->Received(kind, std::move(payload));
      if (ended_) return;
    } else if (filled_ == buffer_.size()) {
      buffer_.resize(buffer_.size() * 2);
    }
    Read();
  }

  void Wrote(const error_code& error) {
    if (ended_) return;
    if (!error) {
      writing_.clear();
      return listener_->Written();
    }
    // The read that is under way knows better why the connection ended (a close frame, perhaps); it fails too, soon.
    EndIn(std::chrono::seconds(1), LossOf(error, stream_.reason(), max_message_bytes_));
  }

  void EndIn(Duration delay, Loss loss) {
    close_timer_.expires_after(delay);
    close_timer_.async_wait([self = shared_from_this(), loss = std::move(loss)](error_code error) {
      if (!error) self->End(loss);
    });
  }

  void End(const Loss& loss) {
    if (std::exchange(ended_, true)) return;
    close_timer_.cancel();
    // After a close frame, ours or theirs, Beast has called async_teardown, which lingers.
    const bool lingering = loss.cause.reason == Reason::kPeerClosed || loss.cause.reason == Reason::kProtocolError ||
                           loss.cause.reason == Reason::kMessageTooLong;
    if (!lingering) stream_.next_layer().Abort();
    if (listener_ != nullptr) std::exchange(listener_, nullptr)->Ended(loss);
  }

  websocket::stream<Wire, true> stream_;
  const Clock& clock_;
  uint64_t max_message_bytes_ = 0;
  std::vector<std::string> subprotocols_;
  websocket::response_type answer_;
  Dialler::Done done_;
  Transport::Listener* listener_ = nullptr;
  std::string buffer_;  // The message that is being read: the first filled_ bytes.
  size_t filled_ = 0;
  std::string writing_;
  SteadyTimer close_timer_;
  bool reading_ = false;
  bool ended_ = false;
};

class WebSocketTransport final : public Transport {
 public:
  explicit WebSocketTransport(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~WebSocketTransport() override { connection_->Abandon(); }

  void Start(Listener& listener) override { connection_->Start(listener); }
  void Write(FrameKind kind, std::string payload) override { connection_->Write(kind, std::move(payload)); }
  void Ping(std::string payload) override { connection_->Ping(payload); }
  void Close(uint16_t code, std::string reason) override { connection_->Close(code, reason); }
  uint64_t BytesAcknowledged() const override { return connection_->BytesAcknowledged(); }

 private:
  std::shared_ptr<Connection> connection_;
};

// The dial's last part.
class Upgrading final : public Dialling {
 public:
  explicit Upgrading(std::weak_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~Upgrading() override {
    if (const auto connection = connection_.lock()) connection->AbandonUpgrade();
  }

 private:
  std::weak_ptr<Connection> connection_;
};

void Connection::Upgrade(const TargetUrl& url, Dialler::Done done) {
  done_ = std::move(done);
  stream_.async_handshake(answer_, url.HostHeader(), url.target, [self = shared_from_this()](error_code error) {
    if (!self->done_) return;
    const auto finish = std::exchange(self->done_, nullptr);
    const WallTime now = self->clock_.WallNow();
    const auto fail = [&](Loss loss) {
      self->stream_.next_layer().Abort();
      self->ended_ = true;
      finish(std::unexpected(std::move(loss)));
    };
    if (error == websocket::error::upgrade_declined) {
      const auto retry_after = self->answer_[beast::http::field::retry_after];
      return fail(UpgradeRefused(self->answer_.result_int(), {retry_after.data(), retry_after.size()}, now));
    }
    const bool cut_off = error == beast::http::error::end_of_stream || error == beast::http::error::partial_message;
    if (error == websocket::condition::handshake_failed ||
        (error.category() == beast::http::make_error_code({}).category() && !cut_off)) {
      return fail({.cause = {Reason::kUpgradeInvalid, Phase::kNotSent,
                             "the answer to the upgrade is not valid: " + error.message()}});
    }
    if (error) {
      return fail({.cause = {Reason::kConnectionLost, Phase::kNotSent,
                             "the connection ended during the upgrade: " + error.message()}});
    }
    const auto chosen = self->answer_[beast::http::field::sec_websocket_protocol];
    if (auto failure = CheckSubprotocol(self->subprotocols_, {chosen.data(), chosen.size()})) {
      return fail({.cause = std::move(*failure)});
    }
    finish(std::make_unique<WebSocketTransport>(self));
  });
}

}  // namespace

std::unique_ptr<Dialling> UpgradeToWebSocket(Wire wire, const DialRequest& request, const Clock& clock,
                                             Dialler::Done done) {
  auto connection = std::make_shared<Connection>(std::move(wire), request, clock);
  connection->Upgrade(request.url, std::move(done));
  return std::make_unique<Upgrading>(connection);
}

}  // namespace fairlead
