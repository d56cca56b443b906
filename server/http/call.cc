#include "http/call.h"

#include <utility>

#include "http/pool.h"
#include "policy/http_request.h"

namespace fairlead {
namespace {

std::string Milliseconds(Duration span) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(span).count()) + " ms";
}

}  // namespace

Call::Call(HttpRequest request, Timers& timers, const Limits& limits, HttpTotals& totals,
           uint64_t response_header_bytes, Done done)
    : request_(std::move(request)),
      timers_(timers),
      limits_(limits),
      totals_(totals),
      response_header_bytes_(response_header_bytes),
      done_(std::move(done)),
      arrived_(timers.Now()),
      timeout_(timers.MakeTimer()),
      wait_(timers.MakeTimer()),
      counted_bytes_(request_.body.size()),
      request_bytes_(request_.body.size()) {
  ++totals_.requests;
  totals_.body_bytes += counted_bytes_;
}

Call::~Call() {
  --totals_.requests;
  totals_.body_bytes -= counted_bytes_;
}

void Call::WaitIn(Pool& pool) {
  pool_ = &pool;
  timeout_->At(arrived_ + request_.timeout, [this] { TimedOut(); });
  wait_->At(arrived_ + request_.max_wait, [this] { WaitExpired(); });
}

void Call::SendOn(Connection& connection, const std::optional<ConnectTimes>& times) {
  state_ = State::kSent;
  pool_ = nullptr;
  connection_ = &connection;
  wait_->Cancel();
  timing_.pool_wait = timers_.Now() - arrived_;
  timing_.connection = times;
  reused_connection_ = connection.used();
  connection.Send({.head = RequestHead(request_.method, request_.url, request_.headers, request_.body.size()),
                   .body = std::move(request_.body),
                   .to_head = request_.method == "HEAD",
                   .limits = {.header_bytes = response_header_bytes_, .body_bytes = request_.max_response_bytes},
                   .grew = [self = shared_from_this()](size_t bytes) { return self->Grew(bytes); }},
                  [self = shared_from_this()](Result<Answer> answer) {
                    self->connection_ = nullptr;
                    if (!answer) return self->Finish(std::unexpected(std::move(answer.error())));
                    self->timing_.first_byte = answer->first_byte;
                    self->timing_.total = self->timers_.Now() - self->arrived_;
                    self->Finish(HttpResponse{.status = answer->status,
                                              .headers = std::move(answer->headers),
                                              .body = std::move(answer->body),
                                              .timing = self->timing_,
                                              .reused_connection = self->reused_connection_});
                  });
}

void Call::Fail(Failure failure) { Finish(std::unexpected(std::move(failure))); }

void Call::Abandon() {
  done_ = nullptr;
  if (state_ == State::kDone) return;
  if (connection_ != nullptr) {
    connection_->Cancel(Reason::kUnspecified, "the caller cancelled the request");
  } else {
    const auto self = shared_from_this();
    if (pool_ != nullptr) pool_->Forget(*this);
    Finish(NotSent(Reason::kUnspecified, "the caller cancelled the request"));
  }
}

// Each request comes by here once, whatever becomes of it.
void Call::Finish(Result<HttpResponse> outcome) {
  const auto self = shared_from_this();
  state_ = State::kDone;
  pool_ = nullptr;
  timeout_->Cancel();
  wait_->Cancel();
  if (const auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
}

void Call::WaitExpired() {
  // The pool knows whether a connection is being made for it; then it waits for nobody.
  if (pool_ == nullptr || pool_->IsBeingDialledFor(*this)) return;
  const auto self = shared_from_this();
  pool_->Forget(*this);
  Fail({Reason::kWaitExpired, Phase::kNotSent,
        "no connection became free within request.max_wait, " + Milliseconds(request_.max_wait) +
            "; http.connections_per_pool and limits.http_connections bound them"});
}

void Call::TimedOut() {
  const auto self = shared_from_this();
  const std::string told = "request.timeout, " + Milliseconds(request_.timeout) + ", passed";
  if (connection_ != nullptr) return connection_->Cancel(Reason::kRequestTimeout, told);
  const std::string doing = pool_->Doing(*this);
  pool_->Forget(*this);
  Fail({Reason::kRequestTimeout, Phase::kNotSent, told + " while " + doing});
}

Result<void> Call::Grew(size_t body_bytes) {
  const uint64_t now = request_bytes_ + body_bytes;
  const uint64_t more = now > counted_bytes_ ? now - counted_bytes_ : 0;
  if (totals_.body_bytes + more > limits_.total_body_bytes) {
    return std::unexpected(Failure{Reason::kLimitReached, Phase::kReplied,
                                   "limits.total_body_bytes, " + std::to_string(limits_.total_body_bytes) +
                                       ": the bodies of all requests under way fill it"});
  }
  totals_.body_bytes += more;
  counted_bytes_ += more;
  return {};
}

}  // namespace fairlead
