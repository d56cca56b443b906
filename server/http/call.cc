#include "http/call.h"

#include <algorithm>
#include <utility>

#include "http/pool.h"
#include "policy/http_request.h"

namespace fairlead {
Call::Call(HttpRequest request, HttpSurroundings& around, HttpUse& of_identity, Done done)
    : request_(std::move(request)),
      around_(around),
      of_identity_(of_identity),
      most_body_bytes_(around.access.Get()->CapOf(of_identity.identity, Cap::kBodyBytes)),
      done_(std::move(done)),
      arrived_(around.timers.Now()),
      timeout_(around.timers.MakeTimer()),
      counted_bytes_(request_.body.size()),
      request_bytes_(request_.body.size()) {
  ++around_.totals.requests;
  ++of_identity_.requests;
  around_.totals.body_bytes += counted_bytes_;
  of_identity_.body_bytes += counted_bytes_;
}

Call::~Call() {
  --around_.totals.requests;
  --of_identity_.requests;
  around_.totals.body_bytes -= counted_bytes_;
  of_identity_.body_bytes -= counted_bytes_;
  around_.forgotten();
}

void Call::WaitIn(Pool& pool) {
  pool_ = &pool;
  timeout_->At(arrived_ + request_.timeout, [this] { TimedOut(); });
}

void Call::MayExpire() {
  if (state_ != State::kWaiting) return;
  wait_ = around_.timers.MakeTimer();
  wait_->At(arrived_ + request_.max_wait, [this] { WaitExpired(); });
}

void Call::SendOn(Connection& connection, const std::optional<ConnectTimes>& times) {
  state_ = State::kSent;
  pool_ = nullptr;
  connection_ = &connection;
  if (wait_) wait_->Cancel();
  timing_.pool_wait = around_.timers.Now() - arrived_;
  timing_.connection = times;
  reused_connection_ = connection.used();
  connection.Send(
      {.head = RequestHead(request_.method, request_.url, request_.headers, request_.body.size()),
       .body = std::move(request_.body),
       .to_head = request_.method == "HEAD",
       .limits = {.header_bytes = around_.options.response_header_bytes, .body_bytes = request_.max_response_bytes},
       .grew = [self = shared_from_this()](size_t bytes) { return self->Grew(bytes); }},
      [self = shared_from_this()](Result<Answer> answer) {
        self->connection_ = nullptr;
        if (!answer) return self->Finish(std::unexpected(std::move(answer.error())));
        self->timing_.first_byte = answer->first_byte;
        self->timing_.total = self->around_.timers.Now() - self->arrived_;
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

void Call::Count(const Result<HttpResponse>& outcome) const {
  HttpMeasures& measures = around_.totals.measures;
  ++measures.requests[outcome ? std::min(outcome->status / 100, 5u) : 0];
  if (!outcome) return;
  measures.pool_wait.Observe(outcome->timing.pool_wait);
  measures.first_byte.Observe(outcome->timing.first_byte);
  measures.total.Observe(outcome->timing.total);
  const auto& made = outcome->timing.connection;
  if (!made) return;
  measures.resolve.Observe(made->resolve);
  measures.connect.Observe(made->connect);
  if (made->tls) measures.tls.Observe(*made->tls);
}

// Each request comes by here once, whatever becomes of it.
void Call::Finish(Result<HttpResponse> outcome) {
  const auto self = shared_from_this();
  state_ = State::kDone;
  pool_ = nullptr;
  timeout_->Cancel();
  if (wait_) wait_->Cancel();
  Count(outcome);
  if (const auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
}

void Call::WaitExpired() {
  const auto self = shared_from_this();
  // A connection that became free or was closed in this turn of the loop has not told the pool yet.
  if (pool_ != nullptr) pool_->Pump();
  // The pool knows whether a connection is on its way to it; then it waits for nobody.
  if (pool_ == nullptr || pool_->IsComingFor(*this)) return;
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
  if (around_.totals.body_bytes + more > around_.limits.total_body_bytes) {
    return std::unexpected(Failure{Reason::kLimitReached, Phase::kReplied,
                                   "limits.total_body_bytes, " + std::to_string(around_.limits.total_body_bytes) +
                                       ": the bodies of all requests under way fill it"});
  }
  if (most_body_bytes_ && of_identity_.body_bytes + more > *most_body_bytes_) {
    Failure reached = Access::CapReached(of_identity_.identity, Cap::kBodyBytes, *most_body_bytes_);
    reached.phase = Phase::kReplied;
    return std::unexpected(std::move(reached));
  }
  around_.totals.body_bytes += more;
  of_identity_.body_bytes += more;
  counted_bytes_ += more;
  return {};
}

}  // namespace fairlead
