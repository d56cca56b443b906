// The HTTP connection's way out: answers and faults.
#include "exchange/http_connection.h"

namespace exchange {

void HttpConnection::Respond() {
  if (half_closed_) {  // recorded, never answered: the next one may come
    request_record_.reset();
    request_.reset();
    body_.clear();
    received_ = false;
    armed_.reset();
    return;
  }
  if (armed_ && armed_->answer) {
    answer_ = {};
    answer_.first = *armed_->answer;
    answer_.after = armed_->after;
  } else {
    answer_ = MakeHttpAnswer(*request_, body_, request_record_->index, shared_.recordings);
  }
  if (armed_ && armed_->fault) answer_.fault = armed_->fault;
  // A request that ended before its reset came due is answered.
  if (answer_.fault && answer_.fault->kind == HttpFault::Kind::kResetRequestAt) answer_.fault.reset();
  if (answer_.fault) request_record_->fault = HttpFaultName(answer_.fault->kind);
  const auto asked = request_->Find("Connection");
  if (answer_.after == HttpAnswer::After::kKeep && asked && EqualIgnoringCase(*asked, "close")) {
    answer_.after = HttpAnswer::After::kClose;
  }
  body_.clear();
  first_written_ = false;
  if (answer_.fault && answer_.fault->kind == HttpFault::Kind::kNeverAnswer) return;
  request_record_->status = answer_.status;
  Later(answer_.before, &HttpConnection::Step);
}

void HttpConnection::Later(std::chrono::milliseconds delay, void (HttpConnection::*step)()) {
  if (delay.count() == 0) return (this->*step)();
  answer_timer_.expires_after(delay);
  answer_timer_.async_wait([self = Self(), step](error_code cancelled) {
    if (!cancelled) ((*self).*step)();
  });
}

void HttpConnection::Step() {
  if (closed() || half_closed_ || write_under_way_ || ending_ != Ending::kNone) return;
  piece_.clear();
  bool last = false;
  if (first_written_) {
    last = !answer_.more(piece_);
  } else {
    first_written_ = true;
    piece_.swap(answer_.first);
    last = !answer_.more;
  }
  bool cut = false;
  using Kind = HttpFault::Kind;
  if (answer_.fault && answer_.fault->kind >= Kind::kResetResponseAt && answer_.fault->kind <= Kind::kStallAt) {
    const uint64_t left = answer_.fault->byte - request_record_->response_bytes;
    cut = left <= piece_.size();
    if (left < piece_.size()) last = false;
    if (cut) piece_.resize(left);
  }
  if (piece_.empty()) return Written({}, 0, last, cut);
  write_under_way_ = true;
  wire_->Write(asio::buffer(piece_), [self = Self(), last, cut](error_code error) {
    self->write_under_way_ = false;
    self->Written(error, self->piece_.size(), last, cut);
  });
}

void HttpConnection::Written(error_code error, size_t size, bool last, bool cut) {
  if (closed()) return;
  if (error) {
    // The reading side knows better how the client left; only when nothing is being read is this all there is.
    if (!read_under_way_) PeerGone(error);
    return;
  }
  record_->bytes_sent += size;
  if (!unasked_) request_record_->response_bytes += size;
  if (last && !unasked_) {
    request_record_->response_complete = true;
    request_record_->answered_at_unix_ns = UnixNanoseconds();
  }
  if (ending_ != Ending::kNone) return Pump();  // asked for meanwhile
  if (cut) return CutResponse();
  if (last) return Answered();
  Later(size > 0 && answer_.before_body.count() > 0 ? std::exchange(answer_.before_body, {}) : answer_.between,
        &HttpConnection::Step);
}

void HttpConnection::CutResponse() {
  const std::string why = "fault:" + std::string(HttpFaultName(answer_.fault->kind));
  switch (answer_.fault->kind) {
    case HttpFault::Kind::kResetResponseAt:
      deaf_ = true;
      return End(Ending::kReset, why);
    case HttpFault::Kind::kCloseResponseAt:
      deaf_ = true;
      return End(answer_.fault->goodbye ? Ending::kGoodbye : Ending::kFin, why);
    default:
      return;  // silence
  }
}

void HttpConnection::Answered() {
  const bool unasked = std::exchange(unasked_, false);
  if (!unasked) {
    request_record_.reset();
    request_.reset();
    received_ = false;
    armed_.reset();
  }
  if (answer_.after != HttpAnswer::After::kKeep) {
    deaf_ = true;
    const auto after = answer_.after;
    return End(after == HttpAnswer::After::kClose ? Ending::kGoodbye
               : after == HttpAnswer::After::kFin ? Ending::kFin
                                                  : Ending::kReset,
               "exchange_close");
  }
  if (answer_.fault && answer_.fault->kind >= HttpFault::Kind::kCloseIdle) {
    idle_fault_ = answer_.fault->kind;
    if (answer_.fault->idle.count() == 0) {
      IdleFault();
    } else {
      idle_timer_.expires_after(answer_.fault->idle);
      idle_timer_.async_wait([self = Self()](error_code cancelled) {
        if (!cancelled) self->IdleFault();
      });
    }
  }
  if (!input_.empty()) Take();
  ReadOn();
}

void HttpConnection::IdleFault() {
  if (closed() || request_record_ || !idle_fault_) return;  // not idle any more
  const auto kind = *std::exchange(idle_fault_, std::nullopt);
  const std::string why = "fault:" + std::string(HttpFaultName(kind));
  if (kind == HttpFault::Kind::kHalfClose) return End(Ending::kFinButRead, "");
  deaf_ = true;
  End(kind == HttpFault::Kind::kCloseIdle ? Ending::kGoodbye : Ending::kReset, why);
}

bool HttpConnection::SendUnasked(std::string bytes, HttpAnswer::After after) {
  if (closed() || ending_ != Ending::kNone || received_ || write_under_way_) return false;
  answer_ = {};
  answer_.first = std::move(bytes);
  answer_.after = after;
  first_written_ = false;
  unasked_ = true;
  Step();
  return true;
}

void HttpConnection::Pump() {
  if (!write_under_way_ && !half_closed_ && !closed()) Depart();
}

}  // namespace exchange
