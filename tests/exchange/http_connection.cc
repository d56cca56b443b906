// The HTTP connection's way in, and its end. What it answers is in http_answering.cc.
#include "exchange/http_connection.h"

#include <algorithm>

namespace exchange {
namespace {

constexpr size_t kMaxHeadBytes = 4 << 20;
constexpr size_t kMaxBodyBytes = 256 << 20;
constexpr size_t kMaxWaitingBytes = 1 << 20;  // received while a request is being answered; reading waits above it

}  // namespace

HttpConnection::HttpConnection(HttpShared& shared, std::unique_ptr<Wire> wire,
                               std::shared_ptr<HttpConnectionRecord> record)
    : Accepted(std::move(wire)),
      shared_(shared),
      record_(std::move(record)),
      answer_timer_(wire_->socket().get_executor()),
      idle_timer_(wire_->socket().get_executor()) {}

void HttpConnection::Begin(const AcceptMode&) {
  record_->server_name = wire_->ServerName();
  ReadOn();
}

void HttpConnection::ReadOn() {
  if (read_under_way_ || closed() || (received_ && input_.size() > kMaxWaitingBytes)) return;
  read_under_way_ = true;
  wire_->Read(asio::buffer(read_buffer_), [self = Self()](error_code error, size_t size) {
    self->read_under_way_ = false;
    if (error) return self->PeerGone(error);
    if (!self->deaf_) self->input_.append(self->read_buffer_.data(), size);
    self->Take();
    self->ReadOn();
  });
}

void HttpConnection::Take() {
  while (!closed() && !deaf_ && !unasked_ && !input_.empty()) {
    if (received_) {
      next_pipelined_ = true;
      return;
    }
    if (!request_record_) {
      idle_timer_.cancel();
      request_record_ = shared_.records.Begin(*record_, std::exchange(next_pipelined_, false));
      target_known_ = false;
      cut_request_at_.reset();
      TakeArmed();
    }
    if (request_ ? !TakeBody() : !TakeHead()) return;
  }
}

bool HttpConnection::TakeHead() {
  if (!target_known_) LearnTarget();
  const size_t end = input_.find("\r\n\r\n");
  const size_t size = end == std::string::npos ? input_.size() : end + 4;
  if (cut_request_at_ && *cut_request_at_ < size) return CutRequest(*cut_request_at_);
  request_record_->bytes_received = size;
  if (end == std::string::npos && cut_request_at_ == size) return CutRequest(size);
  if (end == std::string::npos) {
    if (size > kMaxHeadBytes) Violated("the head is too long");
    return false;
  }
  auto request = ParseStrictly(std::string_view(input_).substr(0, size));
  if (!request) {
    Violated(request.error());
    return false;
  }
  request_ = std::move(*request);
  request_record_->method = request_->method;
  request_record_->headers = request_->headers;
  record_->bytes_received += size;
  input_.erase(0, size);
  if (const auto framed = reader_.Begin(*request_); !framed) {
    Violated(framed.error());
    return false;
  }
  return TakeBody();
}

bool HttpConnection::TakeBody() {
  uint64_t available = input_.size();
  if (cut_request_at_) available = std::min(available, *cut_request_at_ - request_record_->bytes_received);
  const auto taken = reader_.Take(std::string_view(input_).substr(0, available), body_);
  if (!taken || body_.size() > kMaxBodyBytes) {
    Violated(taken ? "the body is too long" : taken.error());
    return false;
  }
  request_record_->bytes_received += *taken;
  record_->bytes_received += *taken;
  input_.erase(0, *taken);
  if (reader_.done()) Received();
  if (cut_request_at_ && request_record_ && request_record_->bytes_received == *cut_request_at_) {
    return CutRequest(*cut_request_at_);
  }
  if (!received_) return false;
  Respond();
  return true;
}

// The first bytes of a request choose for it what was armed without a target; its target, the rest.
void HttpConnection::TakeArmed() {
  const std::string& target = request_record_->target;
  const auto found = std::ranges::find_if(shared_.armed, [&](const Armed& armed) {
    return target_known_ ? !armed.target.empty() && target.contains(armed.target) : armed.target.empty();
  });
  if (found == shared_.armed.end()) return;
  armed_ = *found;
  if (--found->count == 0) shared_.armed.erase(found);
  if (armed_->fault && armed_->fault->kind == HttpFault::Kind::kResetRequestAt) cut_request_at_ = armed_->fault->byte;
}

void HttpConnection::LearnTarget() {
  const size_t end = input_.find("\r\n");
  if (end == std::string::npos || (cut_request_at_ && *cut_request_at_ < end)) return;
  target_known_ = true;
  request_record_->target = TargetOf(std::string_view(input_).substr(0, end));
  if (!armed_ && !shared_.armed.empty()) TakeArmed();
  if (!request_record_->target.contains('?')) return;
  Parameters query = LenientQuery(request_record_->target);
  if (request_record_->target.starts_with("/order?") && query.contains("id")) request_record_->order = query["id"];
  const auto name = query.extract("fault");
  if (!name || armed_) return;
  const auto fault = TakeHttpFault(name.mapped(), query);
  if (fault && fault->kind == HttpFault::Kind::kResetRequestAt) cut_request_at_ = fault->byte;
}

// The request was taken up to the byte that was asked for: what is behind it counts as never read.
bool HttpConnection::CutRequest(size_t taken) {
  request_record_->bytes_received = taken;
  request_record_->fault = "reset_request_at";
  Abort("fault:reset_request_at");
  return false;
}

void HttpConnection::Violated(const std::string& rule) {
  shared_.records.ProtocolError(*record_, rule);
  deaf_ = true;
  input_.clear();
  request_record_->status = 400;
  piece_ = PlainResponse(400, "", rule);
  write_under_way_ = true;
  wire_->Write(asio::buffer(piece_), [self = Self()](error_code) {
    self->write_under_way_ = false;
    self->End(Ending::kGoodbye, "protocol_error");
  });
}

void HttpConnection::Received() {
  received_ = true;
  if (!input_.empty()) next_pipelined_ = true;
  const std::string_view target = request_->target;
  if (request_->method == "POST" && target.substr(0, target.find('?')) == "/order") {
    request_record_->order = OrderId(LenientQuery(target), body_);
  }
  shared_.records.End(*request_record_, true, body_);
}

bool HttpConnection::Misbehave(Now what) {
  if (closed() || ending_ != Ending::kNone) return false;
  switch (what) {
    case Now::kDrop:
      deaf_ = true;
      End(Ending::kFin, "fault:drop");
      break;
    case Now::kReset:
      Abort("fault:reset");
      break;
    case Now::kHalfClose:
      End(Ending::kFinButRead, "");
      break;
  }
  return true;
}

void HttpConnection::PeerGone(error_code error) {
  Close(!ending_why_.empty() ? ending_why_ : IsEof(error) ? "peer_eof" : "peer_reset");
}

void HttpConnection::Closed(const std::string& why) {
  if (request_record_ && !received_) {
    if (!request_) record_->bytes_received += request_record_->bytes_received;
    shared_.records.End(*request_record_, false, std::move(body_));
  }
  answer_timer_.cancel();
  idle_timer_.cancel();
  shared_.records.Closed(*record_, why);
  shared_.connections.erase(record_->id);
}

}  // namespace exchange
