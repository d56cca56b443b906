// The connection's way in: upgrade, reading, answers, and its end. What it sends is in sending.cc.
#include "exchange/connection.h"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/ssl/error.hpp>

namespace exchange {
namespace {

using namespace std::chrono_literals;

constexpr size_t kMaxUpgradeBytes = 64 << 10;
constexpr size_t kMaxPendingBytes = 4 << 20;  // of echoes and pongs; reading waits above it
constexpr uint64_t kMaxMessageBytes = 64 << 20;
constexpr Clock::duration kCloseAnswer = 5s;  // how long a client may take to answer a close frame

}  // namespace

Connection::Connection(Shared& shared, std::unique_ptr<Wire> wire, std::shared_ptr<ConnectionRecord> record)
    : shared_(shared),
      wire_(std::move(wire)),
      record_(std::move(record)),
      feed_timer_(wire_->socket().get_executor()),
      fault_timer_(wire_->socket().get_executor()),
      end_timer_(wire_->socket().get_executor()) {}

void Connection::Start(AcceptMode mode) {
  error_code ignored;
  wire_->socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  if (mode.kind == AcceptMode::Kind::kReset) return Abort("accept:reset");
  if (mode.kind == AcceptMode::Kind::kSilent) {
    // Below TLS, so that the handshake gets no answer either. Reading on tells when the client gives up.
    wire_->socket().async_read_some(asio::buffer(read_buffer_), [self = shared_from_this()](error_code error, size_t) {
      if (error) return self->PeerGone(error);
      self->Start({.kind = AcceptMode::Kind::kSilent});
    });
    return;
  }
  if (mode.kind == AcceptMode::Kind::kNeverUpgrade) plan_.fault = Fault{.kind = Fault::Kind::kNeverUpgrade};
  if (mode.kind == AcceptMode::Kind::kSlowHandshake) {
    plan_.fault = Fault{.kind = Fault::Kind::kSlowHandshake, .delay = mode.delay};
  }
  wire_->Handshake([self = shared_from_this()](error_code error) {
    if (error) return self->PeerGone(error);
    self->record_->server_name = self->wire_->ServerName();
    self->ReadUpgrade();
  });
}

void Connection::ReadUpgrade() {
  read_under_way_ = true;
  wire_->Read(asio::buffer(read_buffer_), [self = shared_from_this()](error_code error, size_t size) {
    self->read_under_way_ = false;
    if (error) return self->PeerGone(error);
    // Once the request is whole (and its answer is late, or never comes), this goes on only to see the client leave.
    const bool whole = !self->record_->target.empty();
    self->input_.append(self->read_buffer_.data(), size);
    if (self->record_->state != ConnectionRecord::State::kHandshake) return self->Parse();
    const size_t end = self->input_.find("\r\n\r\n");
    if (self->input_.size() > kMaxUpgradeBytes) return self->Abort("protocol_error");
    if (whole || end == std::string::npos) return self->ReadUpgrade();

    const auto request = ParseHttpRequest(std::string_view(self->input_).substr(0, end + 4));
    self->input_.erase(0, end + 4);
    if (!request) {
      self->record_->protocol_error = request.error();
      return self->End(Ending::kGoodbye, "protocol_error");
    }
    self->record_->target = request->target;
    self->record_->headers = request->headers;
    const auto refuse = [&](int status, const std::string& why) {
      self->record_->status = status;
      self->pending_ = PlainResponse(status, "", why);
      self->End(Ending::kGoodbye, "status");
    };
    const auto target = ParseTarget(request->target);
    if (!target) return refuse(400, target.error());
    auto plan = ParsePlan(*target);
    if (!plan) return refuse(400, plan.error());
    if (self->plan_.fault) plan->fault = self->plan_.fault;  // the accept mode's
    if (plan->fault && plan->fault->kind == Fault::Kind::kNeverUpgrade) {
      self->record_->faults.emplace_back("never_upgrade");
      return self->ReadUpgrade();
    }
    if (plan->fault && plan->fault->kind == Fault::Kind::kSlowHandshake) {
      self->record_->faults.emplace_back("slow_handshake");
      self->fault_timer_.expires_after(plan->fault->delay);
      plan->fault.reset();
      self->fault_timer_.async_wait([self, request = *request, plan = *plan](error_code cancelled) {
        if (!cancelled) self->Answer(request, plan);
      });
      return self->ReadUpgrade();
    }
    self->Answer(*request, *plan);
    if (self->record_->state == ConnectionRecord::State::kOpen) self->Parse();
  });
}

void Connection::Answer(const HttpRequest& request, const Plan& plan) {
  UpgradeAnswer answer = AnswerUpgrade(request, plan);
  if (answer.status == 101) {
    auto source = shared_.feeds.Open(plan);
    if (source) {
      source_ = std::move(*source);
    } else {
      answer = {.status = 409, .response = PlainResponse(409, "", source.error())};
    }
  }
  record_->status = answer.status;
  pending_ = answer.response;
  if (answer.status != 101) return End(Ending::kGoodbye, "status");
  Opened(plan, answer);
}

void Connection::Opened(const Plan& plan, const UpgradeAnswer& answer) {
  plan_ = plan;
  record_->state = ConnectionRecord::State::kOpen;
  record_->opened_at_unix_ns = UnixNanoseconds();
  record_->subprotocol = answer.subprotocol;
  if (answer.deflate) {
    record_->extensions = answer.deflate->extension;
    deflater_.emplace(answer.deflate->window_bits, answer.deflate->keep_context);
  }
  parser_ = MessageParser(answer.deflate.has_value(), kMaxMessageBytes);
  logged_in_ = plan_.login == Plan::Login::kNone;
  if (plan_.fault && plan_.fault->kind == Fault::Kind::kResetAtByte && !plan_.fault_after_frames &&
      !plan_.fault_after_time) {
    Apply(*plan_.fault);
    plan_.fault.reset();
  } else if (plan_.fault && plan_.fault_after_time) {
    fault_timer_.expires_after(*plan_.fault_after_time);
    fault_timer_.async_wait([self = shared_from_this()](error_code cancelled) {
      if (!cancelled) self->Apply(*self->plan_.fault);
    });
  } else if (plan_.fault && plan_.fault_after_frames.value_or(0) == 0) {
    fault_due_ = true;
  }
  if (!plan_.await_subscribe && logged_in_) feeding_ = true;
  Pump();
}

void Connection::ReadOn() {
  if (read_under_way_ || never_read_ || record_->state == ConnectionRecord::State::kClosed) return;
  if (pending_.size() > kMaxPendingBytes) return;  // Pump comes back here
  read_under_way_ = true;
  wire_->Read(asio::buffer(read_buffer_), [self = shared_from_this()](error_code error, size_t size) {
    self->read_under_way_ = false;
    if (error) return self->PeerGone(error);
    self->input_.append(self->read_buffer_.data(), size);
    self->Parse();
  });
}

void Connection::Parse() {
  // After our FIN or a violation the rest is read only to see the client leave.
  const auto deaf = [this] {
    return record_->state == ConnectionRecord::State::kClosed || ending_ == Ending::kFin || ending_ == Ending::kGoodbye;
  };
  if (!deaf()) parser_.Append(input_);
  input_.clear();
  while (!deaf()) {
    auto message = parser_.Next();
    if (!message) {
      record_->protocol_error = message.error().text;
      BeginClose(message.error().code, message.error().text);
      End(Ending::kGoodbye, "protocol_error");
      break;
    }
    if (!*message) break;
    Receive(std::move(**message));
  }
  Pump();
  ReadOn();
}

void Connection::Receive(Message message) {
  switch (message.opcode) {
    case Opcode::kPing:
      if (!no_pong_ && !silent_ && !closing_) AppendFrame(pending_, Opcode::kPong, message.payload);
      return shared_.records.Receive(*record_, Opcode::kPing, std::move(message.payload));
    case Opcode::kPong:
      return shared_.records.Receive(*record_, Opcode::kPong, std::move(message.payload));
    case Opcode::kClose:
      return ReceiveClose(message.payload);
    default:
      break;
  }
  std::string problem;
  if (message.compressed) {
    auto inflated = Inflate(message.payload, kMaxMessageBytes);
    if (!inflated) problem = "the message does not inflate";
    message.payload = inflated ? std::move(*inflated) : std::string();
  }
  if (message.opcode == Opcode::kText && !IsUtf8(message.payload)) problem = "a text message is not UTF-8";
  if (!problem.empty()) {
    record_->protocol_error = problem;
    BeginClose(1007, problem);
    return End(Ending::kGoodbye, "protocol_error");
  }
  if (plan_.feed == Plan::Feed::kEcho) {
    Queue(message.opcode, message.payload, true);
  } else if (message.opcode == Opcode::kText) {
    AnswerText(message.payload);
  }
  shared_.records.Receive(*record_, message.opcode, std::move(message.payload));
}

void Connection::AnswerText(const std::string& text) {
  const auto has = [&](std::string_view word) { return text.contains(word); };
  if (plan_.login != Plan::Login::kNone && (has("login") || !logged_in_)) {
    if (plan_.login == Plan::Login::kMute) return;
    const bool accepted = has("login") && plan_.login == Plan::Login::kAccept;
    const bool denied = has("login") && plan_.login == Plan::Login::kReject;
    logged_in_ = logged_in_ || accepted;
    return Queue(Opcode::kText,
                 accepted ? R"({"event":"login","ok":true})"
                 : denied ? R"({"event":"error","code":"denied"})"
                          : R"({"event":"error","code":"login_required"})",
                 false);
  }
  if (!plan_.await_subscribe) return;
  if (has("unsubscribe")) return Queue(Opcode::kText, R"({"event":"unsubscribed"})", false);
  if (!has("subscribe")) return;
  Queue(Opcode::kText, R"({"event":"subscribed"})", false);
  feeding_ = true;
}

void Connection::ReceiveClose(const std::string& payload) {
  if (record_->close_code_received) return;
  const bool coded = payload.size() >= 2;
  record_->close_code_received =
      coded ? static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1])) : 1005;
  record_->close_reason_received = coded ? payload.substr(2) : "";
  if (silent_) return;
  // Whoever began: the server closes the TCP connection first (section 7.1.1).
  const bool ours = closing_;
  BeginClose(coded ? *record_->close_code_received : 0, "");
  End(Ending::kGoodbye, ours ? "exchange_close" : "peer_close");
}

void Connection::BeginClose(uint16_t code, std::string_view reason) {
  if (closing_) return;
  closing_ = true;
  source_.reset();
  record_->close_code_sent = code == 0 ? 1005 : code;
  if (!silent_) AppendFrame(pending_, Opcode::kClose, ClosePayload(code, reason));
  end_timer_.expires_after(kCloseAnswer);
  end_timer_.async_wait([self = shared_from_this()](error_code cancelled) {
    if (!cancelled) self->End(Ending::kGoodbye, "exchange_close");
  });
}

void Connection::PeerGone(error_code error) {
  const bool eof = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
  Close(!ending_why_.empty()           ? ending_why_
        : record_->close_code_received ? "peer_close"
        : eof                          ? "peer_eof"
                                       : "peer_reset");
}

void Connection::Abort(const std::string& why) {
  error_code ignored;
  wire_->socket().set_option(asio::socket_base::linger(true, 0), ignored);
  Close(why);
}

void Connection::Close(const std::string& why) {
  if (record_->state == ConnectionRecord::State::kClosed) return;
  record_->state = ConnectionRecord::State::kClosed;
  record_->closed_by = why;
  record_->closed_at_unix_ns = UnixNanoseconds();
  source_.reset();
  feed_timer_.cancel();
  fault_timer_.cancel();
  end_timer_.cancel();
  error_code ignored;
  wire_->socket().close(ignored);
  shared_.connections.erase(record_->id);
}

}  // namespace exchange
