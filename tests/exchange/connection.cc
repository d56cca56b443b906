// The connection's way in: upgrade or preamble, reading, answers, and its end. What it sends is in sending.cc.
#include "exchange/connection.h"

#include <algorithm>

namespace exchange {
namespace {

using namespace std::chrono_literals;

constexpr size_t kMaxHeadBytes = 64 << 10;    // of an upgrade request or preamble
constexpr size_t kMaxPendingBytes = 4 << 20;  // of echoes and pongs; reading waits above it
constexpr Clock::duration kCloseAnswer = 5s;  // how long a client may take to answer a close frame

}  // namespace

Connection::Connection(Shared& shared, std::unique_ptr<Wire> wire, std::shared_ptr<ConnectionRecord> record)
    : Accepted(std::move(wire)),
      shared_(shared),
      record_(std::move(record)),
      feed_timer_(wire_->socket().get_executor()),
      fault_timer_(wire_->socket().get_executor()),
      write_timer_(wire_->socket().get_executor()),
      close_timer_(wire_->socket().get_executor()) {}

void Connection::Begin(const AcceptMode& mode) {
  if (mode.kind == AcceptMode::Kind::kNeverUpgrade) plan_.fault = Fault{.kind = Fault::Kind::kNeverUpgrade};
  if (mode.kind == AcceptMode::Kind::kSlowHandshake) {
    plan_.fault = Fault{.kind = Fault::Kind::kSlowHandshake, .delay = mode.delay};
  }
  record_->server_name = wire_->ServerName();
  ReadHead();
}

void Connection::ReadHead() {
  read_under_way_ = true;
  wire_->Read(asio::buffer(read_buffer_), [self = Self()](error_code error, size_t size) {
    self->read_under_way_ = false;
    if (error) return self->PeerGone(error);
    // Once the head is whole (and its answer is late, or never comes), this goes on only to see the client leave.
    const bool whole = !self->record_->target.empty();
    self->input_.append(self->read_buffer_.data(), size);
    if (self->record_->state != ConnectionRecord::State::kHandshake) return self->Parse();
    const std::string_view mark = self->record_->raw() ? "\n" : "\r\n\r\n";
    size_t end = self->input_.find(mark);
    if (self->input_.size() > kMaxHeadBytes) return self->Abort("protocol_error");
    if (whole || end == std::string::npos) return self->ReadHead();
    end += mark.size();
    const std::string head = self->input_.substr(0, end);
    self->input_.erase(0, end);
    if (self->record_->raw()) return self->ReceivePreamble(head);
    const auto request = ParseHttpRequest(head);
    if (request) return self->ReceiveUpgrade(*request);
    self->record_->protocol_error = request.error();
    self->End(Ending::kGoodbye, "protocol_error");
  });
}

void Connection::ReceiveUpgrade(const HttpRequest& request) {
  record_->target = request.target;
  record_->headers = request.headers;
  Prepare(request.target, request);
}

void Connection::ReceivePreamble(std::string_view line) {
  constexpr std::string_view kBegin = "FAIRLEAD-TEST ";
  if (!line.starts_with(kBegin)) {
    record_->protocol_error = "the preamble is not FAIRLEAD-TEST, a target and LF";
    return End(Ending::kGoodbye, "protocol_error");
  }
  record_->target = line.substr(kBegin.size(), line.size() - kBegin.size() - 1);
  Prepare(record_->target, std::nullopt);
}

void Connection::Prepare(const std::string& target_text, std::optional<HttpRequest> upgrade) {
  const auto target = ParseTarget(target_text);
  if (!target) return Refuse(400, target.error());
  auto plan = ParsePlan(*target, record_->raw());
  if (!plan) return Refuse(400, plan.error());
  if (plan_.fault) plan->fault = plan_.fault;  // the accept mode's
  if (plan->fault && plan->fault->kind == Fault::Kind::kNeverUpgrade) {
    record_->faults.emplace_back("never_upgrade");
    return ReadHead();
  }
  if (plan->fault && plan->fault->kind == Fault::Kind::kSlowHandshake) {
    record_->faults.emplace_back("slow_handshake");
    fault_timer_.expires_after(plan->fault->delay);
    plan->fault.reset();
    fault_timer_.async_wait([self = Self(), upgrade = std::move(upgrade), plan = *plan](error_code cancelled) {
      if (!cancelled) self->Answer(upgrade, plan);
    });
    return ReadHead();
  }
  Answer(upgrade, *plan);
  if (record_->state == ConnectionRecord::State::kOpen) Parse();
}

void Connection::Refuse(int status, const std::string& why) {
  if (record_->raw()) {  // there is no word for it: the record has it
    record_->protocol_error = why;
    return End(Ending::kGoodbye, "protocol_error");
  }
  record_->status = status;
  pending_ = PlainResponse(status, "", why);
  head_bytes_ = pending_.size();
  End(Ending::kGoodbye, "status");
}

void Connection::Answer(const std::optional<HttpRequest>& upgrade, const Plan& plan) {
  UpgradeAnswer answer;
  if (upgrade) answer = AnswerUpgrade(*upgrade, plan);
  if (!upgrade || answer.status == 101) {
    auto source = shared_.feeds.Open(plan);
    if (!source) return Refuse(409, source.error());
    source_ = std::move(*source);
  }
  if (upgrade) {
    record_->status = answer.status;
    pending_ = answer.response;
    head_bytes_ = pending_.size();
    if (answer.status != 101) return End(Ending::kGoodbye, "status");
  }
  Opened(plan, answer);
}

void Connection::Opened(const Plan& plan, const UpgradeAnswer& answer) {
  plan_ = plan;
  record_->state = ConnectionRecord::State::kOpen;
  record_->opened_at_unix_ns = UnixNanoseconds();
  record_->subprotocol = answer.subprotocol;
  if (answer.deflate) record_->extensions = answer.deflate->extension;
  codec_ = record_->raw() ? MakeFrameCodec(plan_.framing) : MakeWebSocketCodec(answer.deflate, plan_.fragment);
  logged_in_ = plan_.login == Plan::Login::kNone;
  if (plan_.fault && plan_.fault->kind == Fault::Kind::kResetAtByte && !plan_.fault_after_frames &&
      !plan_.fault_after_time) {
    Apply(*plan_.fault);
    plan_.fault.reset();
  } else if (plan_.fault && plan_.fault_after_time) {
    fault_timer_.expires_after(*plan_.fault_after_time);
    fault_timer_.async_wait([self = Self()](error_code cancelled) {
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
  wire_->Read(asio::buffer(read_buffer_), [self = Self()](error_code error, size_t size) {
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
  if (!deaf()) codec_->Append(input_);
  input_.clear();
  while (!deaf()) {
    auto message = codec_->Next();
    if (!message) {
      record_->protocol_error = message.error().text;
      if (!record_->raw()) BeginClose(message.error().code, message.error().text);
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
      if (!no_pong_) Queue(Opcode::kPong, message.payload, false);
      return shared_.records.Receive(*record_, Opcode::kPing, std::move(message.payload));
    case Opcode::kPong:
      return shared_.records.Receive(*record_, Opcode::kPong, std::move(message.payload));
    case Opcode::kClose:
      return ReceiveClose(message.payload);
    default:
      break;
  }
  if (!plan_.reply_to.empty() && message.payload.contains(plan_.reply_to)) {
    if (!no_pong_) Queue(message.opcode, plan_.reply, false);
  } else if (plan_.feed == Plan::Feed::kEcho) {
    Queue(message.opcode, message.payload, true);
  } else if (message.opcode == Opcode::kText || record_->raw()) {
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
  if (!record_->raw() && !silent_)
    codec_->Write(pending_, {.opcode = Opcode::kClose, .payload = ClosePayload(code, reason)});
  closing_ = true;
  source_.reset();
  if (record_->raw()) return End(Ending::kGoodbye, "exchange_close");  // it has no close frame
  record_->close_code_sent = code == 0 ? 1005 : code;
  close_timer_.expires_after(kCloseAnswer);
  close_timer_.async_wait([self = Self()](error_code cancelled) {
    if (!cancelled) self->End(Ending::kGoodbye, "exchange_close");
  });
}

void Connection::PeerGone(error_code error) {
  const bool eof = IsEof(error);
  Close(!ending_why_.empty()           ? ending_why_
        : record_->close_code_received ? "peer_close"
        : eof                          ? "peer_eof"
                                       : "peer_reset");
}

void Connection::Closed(const std::string& why) {
  record_->state = ConnectionRecord::State::kClosed;
  record_->closed_by = why;
  record_->closed_at_unix_ns = UnixNanoseconds();
  source_.reset();
  for (Timer* timer : {&feed_timer_, &fault_timer_, &write_timer_, &close_timer_}) timer->cancel();
  shared_.connections.erase(record_->id);
}

}  // namespace exchange
