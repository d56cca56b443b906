// One request under way: from its arrival through a pool's queue and a connection to its one outcome.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/limits.h"
#include "base/measures.h"
#include "http/connection.h"
#include "http/request.h"

namespace fairlead {

class Pool;
struct HttpSurroundings;

// What all pools and requests use up together. Outlives them.
struct HttpTotals {
  size_t requests = 0;
  size_t starved_pools = 0;  // Those that the total of connections has no room for.
  size_t connections = 0;    // Those being made included.
  uint64_t body_bytes = 0;
  HttpMeasures measures = {};
};

// What all requests of one identity use up together. Outlives them.
struct HttpUse {
  std::string identity;
  size_t requests = 0;
  uint64_t body_bytes = 0;
};

// Loop thread. Kept by whoever waits for it and by the connection that carries it.
class Call : public std::enable_shared_from_this<Call> {
 public:
  enum class State { kWaiting, kSent, kDone };
  using Done = std::function<void(Result<HttpResponse>)>;

  Call(HttpRequest request, HttpSurroundings& around, HttpUse& of_identity, Done done);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // It waits in the pool, which outlives its waiting: its timeout runs.
  void WaitIn(Pool& pool);
  // It was not served at once: the time that it may wait runs.
  void MayExpire();
  // The pool has a connection for it. `times`: it was made for this request.
  void SendOn(Connection& connection, const std::optional<ConnectTimes>& times);
  // It will get no connection.
  void Fail(Failure failure);
  // Nobody wants the outcome any more: done does not come, and a connection that carries it is closed.
  void Abandon();

  State state() const { return state_; }
  const HttpRequest& request() const { return request_; }

 private:
  void Finish(Result<HttpResponse> outcome);
  void Count(const Result<HttpResponse>& outcome) const;
  void WaitExpired();
  void TimedOut();
  Result<void> Grew(size_t body_bytes);

  HttpRequest request_;
  HttpSurroundings& around_;
  HttpUse& of_identity_;
  const std::optional<uint64_t> most_body_bytes_;  // Of the identity, as of its arrival: a change keeps no answer back.
  Done done_;
  State state_ = State::kWaiting;
  const SteadyTime arrived_;
  Pool* pool_ = nullptr;              // While it waits.
  Connection* connection_ = nullptr;  // While it is sent.
  HttpTiming timing_;
  bool reused_connection_ = false;
  std::unique_ptr<Timer> timeout_;
  std::unique_ptr<Timer> wait_;  // Made when it has to wait.
  uint64_t counted_bytes_ = 0;   // What has been counted of it.
  uint64_t request_bytes_;
};

}  // namespace fairlead
