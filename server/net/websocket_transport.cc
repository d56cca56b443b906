#include "net/websocket_transport.h"

#include <openssl/rand.h>

#include <array>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <optional>
#include <utility>

#include "net/direct_stream.h"
#include "net/websocket_upgrade.h"
#include "policy/websocket_codec.h"

namespace fairlead {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr size_t kReadBytes = 64 << 10;
// What one connection may read, or write, before the others have their turn.
constexpr size_t kTurnBytes = 128 << 10;
// What one connection may deliver before those who read it have theirs: inflating makes much of little.
constexpr size_t kTurnPayloadBytes = 256 << 10;
constexpr size_t kWriteBytes = 64 << 10;
constexpr size_t kPongBytes = 4 << 10;
constexpr size_t kKeptWriteBytes = 4 << 10;  // A buffer that a long write has grown beyond this is given back.
constexpr Duration kCloseTimeout = std::chrono::seconds(2);

// Keys for masking: from a strong source (RFC 6455 section 10.3), many at a time.
uint32_t MaskingKey() {
  static thread_local std::array<uint32_t, 256> keys;
  static thread_local size_t used = keys.size();
  if (used == keys.size()) {
    RAND_bytes(reinterpret_cast<unsigned char*>(keys.data()), sizeof(keys));
    used = 0;
  }
  return keys[used++];
}

Loss LostBy(const error_code& error, const char* doing) {
  return {.cause = {Reason::kConnectionLost, Phase::kUnspecified, std::string(doing) + ": " + error.message()}};
}

// The connection, kept by the operations under way on it. First it upgrades, then it carries frames.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Wire wire, const DialRequest& request, const Clock& clock)
      : stream_(std::move(wire)),
        clock_(clock),
        max_message_bytes_(request.websocket.max_message_bytes),
        upgrade_(std::make_unique<WebSocketUpgrade>(request)),
        turn_timer_(stream_.wire().get_executor()),
        close_timer_(stream_.wire().get_executor()) {}

  void Upgrade(Dialler::Done done) {
    done_ = std::move(done);
    out_ = upgrade_->request();
    // Not now: the caller is told of the outcome later.
    Post([](Connection& self) {
      self.Flush();
      self.AwaitReading();
    });
  }

  void Start(Transport::Listener& listener) {
    listener_ = &listener;
    Post([](Connection& self) { self.GoOn(); });
  }

  void Write(FrameKind kind, std::string_view payload) {
    std::optional<std::string> compressed;
    if (deflater_) compressed = deflater_->Compress(payload);
    Append(kind == FrameKind::kText ? Opcode::kText : Opcode::kBinary, compressed ? *compressed : payload,
           compressed.has_value());
    Submit();
  }
  void Ping(std::string_view payload) {
    Append(Opcode::kPing, payload);
    Submit();
  }
  void Close(uint16_t code, std::string_view reason) {
    EndIn(kCloseTimeout,
          {.cause = {Reason::kConnectionLost, Phase::kUnspecified, "the exchange did not answer our close frame"}});
    SayGoodbye(code, reason);
  }
  // Once the upgrade is done the connection belongs to its transport.
  void AbandonUpgrade() {
    if (done_) Abandon();
  }
  // The owner has lost interest.
  void Abandon() {
    listener_ = nullptr;
    done_ = nullptr;
    if (!ended_) stream_.wire().Abort();
    ended_ = true;
    close_timer_.cancel();
  }
  uint64_t BytesAcknowledged() const { return stream_.wire().BytesAcknowledged(); }
  std::optional<IpAddress> address() const { return stream_.wire().address(); }

 private:
  template <typename Action>
  void Post(Action action) {
    asio::post(stream_.wire().get_executor(), [self = shared_from_this(), action] {
      if (!self->ended_) action(*self);
    });
  }

  // ---- Reading. ----

  void AwaitReading() {
    stream_.WaitToRead([self = shared_from_this()](error_code error) {
      if (self->ended_) return;
      if (error) return self->Failed(error);
      self->Read();
    });
  }

  // Takes what has come, but not without end: a peer that sends flat out must leave time for the others.
  void Read() {
    // One for all: nothing stays in it.
    static thread_local std::array<char, kReadBytes> buffer;
    for (size_t taken = 0; taken < kTurnBytes;) {
      error_code error;
      const size_t bytes = stream_.Read(buffer.data(), buffer.size(), error);
      if (error == asio::error::would_block) return AwaitReading();
      if (error) return Failed(error);
      taken += bytes;
      if (!Take({buffer.data(), bytes})) return;
      if (bytes < buffer.size() && stream_.EmptiedByShortRead()) return AwaitReading();
    }
    Post([](Connection& self) { self.Read(); });
  }

  // With what was kept, then with what comes.
  void GoOn() {
    const std::string kept = std::exchange(kept_, {});
    if (TakeFrames(kept)) Read();
  }
  // A timer, not a post: the timers that others have set for now run first.
  void GoOnNextTurn() {
    turn_timer_.expires_after(Duration::zero());
    turn_timer_.async_wait([self = shared_from_this()](error_code error) {
      if (!error && !self->ended_) self->GoOn();
    });
  }

  // False: no more is to be read now.
  bool Take(std::string_view bytes) { return upgrade_ ? TakeAnswer(bytes) : TakeFrames(bytes); }

  bool TakeAnswer(std::string_view bytes) {
    auto answer = upgrade_->Feed(bytes, clock_.WallNow());
    if (!answer) return true;
    upgrade_.reset();
    if (!*answer) {
      Refuse(std::move(answer->error()));
      return false;
    }
    reader_.emplace(max_message_bytes_, (*answer)->deflate);
    if ((*answer)->deflate) deflater_.emplace(*(*answer)->deflate);
    kept_ = std::move((*answer)->frames);
    FinishUpgrade();
    return false;  // Start goes on.
  }

  bool TakeFrames(std::string_view bytes) {
    if (bytes.empty()) return true;
    size_t delivered = 0;
    listener_->ReadBegins();
    while (!ended_) {
      switch (reader_->Next(bytes)) {
        case WebSocketReader::Found::kNothing:
          listener_->ReadEnds();
          if (pong_ || sent_ < out_.size()) Flush();
          return !ended_;
        case WebSocketReader::Found::kMessage: {
          const std::string_view payload = reader_->payload();
          delivered += payload.size();
          listener_->Received(reader_->kind(), payload);
          if (ended_ || delivered < kTurnPayloadBytes || bytes.empty()) break;
          kept_ = bytes;
          listener_->ReadEnds();
          if (!ended_) GoOnNextTurn();
          return false;
        }
        case WebSocketReader::Found::kPing:
          OwePong(reader_->control());
          break;
        case WebSocketReader::Found::kPong:
          listener_->Ponged(reader_->control());
          break;
        case WebSocketReader::Found::kClose:
          listener_->ReadEnds();
          if (!ended_) AnswerClose(reader_->close_code(), reader_->close_reason());
          return false;
        case WebSocketReader::Found::kViolation:
          listener_->ReadEnds();
          if (!ended_) AnswerViolation(reader_->violation());
          return false;
      }
    }
    return false;
  }

  void Failed(const error_code& error) {
    if (!upgrade_) return End(LostBy(error, "the connection ended"));
    Loss loss = LostBy(error, "the connection ended during the upgrade");
    loss.cause.phase = Phase::kNotSent;
    Refuse(std::move(loss));
  }

  // ---- Writing. ----

  void Append(Opcode opcode, std::string_view payload, bool compressed = false) {
    AppendFrame(out_, opcode, payload, MaskingKey(), compressed);
  }
  // What the listener waits to see written ends here.
  void Submit() {
    submitted_ = true;
    submitted_to_ = out_.size();
    // What is told of it comes later, never from within the call.
    if (!flushing_later_) Flush();
  }

  // Writes what waits, as far as the kernel takes it; the rest when it takes more.
  void Flush() {
    if (ended_ || flushing_later_ || write_failed_) return;
    for (size_t turn = 0; AppendOwed() || sent_ < out_.size();) {
      error_code error;
      const size_t left = std::min(out_.size() - sent_, kWriteBytes);
      const size_t bytes = turn < kTurnBytes ? stream_.Write(out_.data() + sent_, left, error) : 0;
      sent_ += bytes;
      turn += bytes;
      if (error == asio::error::would_block) {
        flushing_later_ = true;
        return stream_.WaitToWrite([self = shared_from_this()](error_code failed) {
          self->flushing_later_ = false;
          if (!failed) self->Flush();
        });
      }
      if (error) return FailedToWrite(error);
      if (bytes == 0) {
        flushing_later_ = true;
        return Post([](Connection& self) {
          self.flushing_later_ = false;
          self.Flush();
        });
      }
      if (submitted_ && sent_ >= submitted_to_) TellWritten();
    }
    out_.clear();
    sent_ = 0;
    if (out_.capacity() > kKeptWriteBytes) out_ = {};
    if (closed_by_ && said_goodbye_) Leave();
  }

  // Pongs and the goodbye go between frames. True: there is something to write.
  bool AppendOwed() {
    if (sent_ < out_.size()) return true;
    out_.clear();
    sent_ = 0;
    if (said_goodbye_) return false;
    if (pong_) Append(Opcode::kPong, *std::exchange(pong_, std::nullopt));
    if (goodbye_) {
      Append(Opcode::kClose, *std::exchange(goodbye_, std::nullopt));
      said_goodbye_ = true;
    }
    return !out_.empty();
  }

  // Written when the read is over. Of many, while others still wait to be written, the latest is enough
  // (section 5.5.3).
  void OwePong(std::string_view payload) {
    if (said_goodbye_) return;
    if (out_.size() < kPongBytes) {
      Append(Opcode::kPong, payload);
    } else {
      pong_ = payload;
    }
  }

  void TellWritten() {
    submitted_ = false;
    Post([](Connection& self) {
      if (self.listener_ != nullptr) self.listener_->Written();
    });
  }

  // The read that is under way knows better why the connection ended (a close frame, perhaps); it fails too, soon.
  void FailedToWrite(const error_code& error) {
    write_failed_ = true;
    if (upgrade_) return;  // There may be an answer all the same.
    if (closed_by_) return End(*closed_by_);
    EndIn(std::chrono::seconds(1), LostBy(error, "the connection ended"));
  }

  // ---- Ends. ----

  void FinishUpgrade();
  void Refuse(Loss loss) {
    stream_.wire().Abort();
    ended_ = true;
    std::exchange(done_, nullptr)(std::unexpected(std::move(loss)));
  }

  void SayGoodbye(uint16_t code, std::string_view reason) {
    if (!said_goodbye_) goodbye_ = ClosePayload(code, reason);
    Flush();
  }

  void AnswerClose(uint16_t code, std::string_view reason) {
    EndAfterGoodbye(
        {.cause = {Reason::kPeerClosed, Phase::kUnspecified, "the exchange closed with code " + std::to_string(code)},
         .close_code = code,
         .close_reason = std::string(reason)},
        code);
  }
  void AnswerViolation(const WebSocketReader::Violation& violation) {
    EndAfterGoodbye({.cause = violation.cause}, violation.close_code);
  }

  // Nothing more is read. The end comes when our close frame is out, or cannot be got out.
  void EndAfterGoodbye(Loss loss, uint16_t code) {
    if (write_failed_) return End(loss);
    closed_by_ = std::move(loss);
    EndIn(kCloseTimeout, *closed_by_);
    SayGoodbye(code, {});
  }
  void Leave() {
    stream_.wire().Linger();
    left_ = true;
    End(*closed_by_);
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
    if (!left_) stream_.wire().Abort();
    if (listener_ != nullptr) std::exchange(listener_, nullptr)->Ended(loss);
  }

  DirectStream stream_;
  const Clock& clock_;
  const uint64_t max_message_bytes_;
  std::unique_ptr<WebSocketUpgrade> upgrade_;  // Until it is done.
  Dialler::Done done_;
  Transport::Listener* listener_ = nullptr;
  std::string kept_;  // Read and not taken: behind the answer to the upgrade, or behind a turn's payload.
  std::optional<WebSocketReader> reader_;
  std::optional<Deflater> deflater_;

  std::string out_;  // What is being written, sent_ bytes of it done.
  size_t sent_ = 0;
  bool submitted_ = false;   // A frame of the listener's is in it
  size_t submitted_to_ = 0;  // and ends here.
  bool flushing_later_ = false;
  bool write_failed_ = false;
  std::optional<std::string> pong_;     // Owed.
  std::optional<std::string> goodbye_;  // Owed: the payload of a close frame.
  bool said_goodbye_ = false;

  std::optional<Loss> closed_by_;  // The peer has closed or is at fault: nothing more is read.
  bool left_ = false;              // Lingering: not to be cut off.
  SteadyTimer turn_timer_;
  SteadyTimer close_timer_;
  bool ended_ = false;
};

class WebSocketTransport final : public Transport {
 public:
  explicit WebSocketTransport(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~WebSocketTransport() override { connection_->Abandon(); }
  WebSocketTransport(const WebSocketTransport&) = delete;
  WebSocketTransport& operator=(const WebSocketTransport&) = delete;

  void Start(Listener& listener) override { connection_->Start(listener); }
  void Write(FrameKind kind, std::string payload) override { connection_->Write(kind, payload); }
  void Ping(std::string payload) override { connection_->Ping(payload); }
  void Close(uint16_t code, std::string reason) override { connection_->Close(code, reason); }
  uint64_t BytesAcknowledged() const override { return connection_->BytesAcknowledged(); }
  std::optional<IpAddress> address() const override { return connection_->address(); }

 private:
  std::shared_ptr<Connection> connection_;
};

void Connection::FinishUpgrade() {
  std::exchange(done_, nullptr)(std::make_unique<WebSocketTransport>(shared_from_this()));
}

// The dial's last part.
class Upgrading final : public Dialling {
 public:
  explicit Upgrading(std::weak_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~Upgrading() override {
    if (const auto connection = connection_.lock()) connection->AbandonUpgrade();
  }
  Upgrading(const Upgrading&) = delete;
  Upgrading& operator=(const Upgrading&) = delete;

 private:
  std::weak_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Dialling> UpgradeToWebSocket(Wire wire, const DialRequest& request, const Clock& clock,
                                             Dialler::Done done) {
  auto connection = std::make_shared<Connection>(std::move(wire), request, clock);
  connection->Upgrade(std::move(done));
  return std::make_unique<Upgrading>(connection);
}

}  // namespace fairlead
