#include "http/engine.h"

#include <algorithm>

namespace fairlead {

HttpEngine::HttpEngine(Connector& connector, Timers& timers, const Limits& limits, const HttpOptions& options,
                       const Current<Access>& access)
    : options_(options),
      around_{.connector = connector, .timers = timers, .limits = limits, .options = options_, .access = access},
      self_(std::make_shared<HttpEngine*>(this)) {
  around_.make_room = [this](const Pool& starved) { return MakeRoom(starved); };
  around_.relaxed = [this] { Relaxed(); };
  around_.forgotten = [this] {
    if (draining_) Relaxed();
  };
}

HttpEngine::~HttpEngine() {
  *self_ = nullptr;
  pools_.clear();  // What goes with them may still call.
}

Result<void> HttpEngine::Admit(const HttpUse& use, const HttpRequest& request) const {
  const Limits& limits = around_.limits;
  const auto reached = [](const char* limit, uint64_t value, const char* what) {
    return NotSent(Reason::kLimitReached, std::string(limit) + ", " + std::to_string(value) + what);
  };
  if (draining_) return std::unexpected(draining_.Refusal(around_.timers.Now()));
  if (around_.totals.requests >= limits.requests) return reached("limits.requests", limits.requests, ", are under way");
  if (around_.totals.body_bytes + request.body.size() > limits.total_body_bytes) {
    return reached("limits.total_body_bytes", limits.total_body_bytes,
                   ": the bodies of all requests under way fill it");
  }
  const auto access = around_.access.Get();
  if (auto room = access->CheckCap(use.identity, Cap::kRequests, use.requests + 1); !room) return room;
  return access->CheckCap(use.identity, Cap::kBodyBytes, use.body_bytes + request.body.size());
}

HttpEngine::UnderWay HttpEngine::Send(const std::string& identity, HttpRequest request, Done done) {
  HttpUse& use = use_of_.try_emplace(identity, HttpUse{.identity = identity}).first->second;
  if (auto admitted = Admit(use, request); !admitted) {
    ++around_.totals.measures.requests[0];
    done(std::unexpected(admitted.error()));
    return UnderWay(nullptr);
  }
  const TargetUrl url = request.url;
  auto call = std::make_shared<Call>(std::move(request), around_, use, std::move(done));
  auto& pool = pools_[{identity, url.Origin(), renewals_}];
  if (!pool) pool = std::make_unique<Pool>(identity, url, around_);
  if (auto served = pool->Serve(call); !served) {
    Relaxed();  // The pool may be new, and empty.
    call->Fail(std::move(served.error()));
  }
  return UnderWay(std::move(call));
}

bool HttpEngine::MakeRoom(const Pool& starved) {
  Pool* idlest = nullptr;
  for (const auto& [key, pool] : pools_) {
    const auto since = pool->idle_since();
    if (pool.get() == &starved || !since) continue;
    if (idlest == nullptr || *since < *idlest->idle_since()) idlest = pool.get();
  }
  return idlest != nullptr && idlest->CloseAnIdleOne();
}

void HttpEngine::Relaxed() {
  if (std::exchange(relaxing_, true)) return;
  around_.timers.Post([self = self_] {
    HttpEngine* engine = *self;
    if (engine == nullptr) return;
    engine->relaxing_ = false;
    std::erase_if(engine->pools_, [](const auto& each) { return each.second->empty(); });
    for (const auto& [key, pool] : engine->pools_) {
      if (pool->starved()) pool->Pump();
    }
    if (engine->draining_ && engine->around_.totals.requests == 0 && engine->drained_) {
      engine->pools_.clear();
      std::exchange(engine->drained_, nullptr)();
    }
  });
}

void HttpEngine::Renew() {
  ++renewals_;
  for (const auto& [key, pool] : pools_) {
    while (pool->CloseAnIdleOne()) {
    }
  }
  Relaxed();
}

std::vector<HttpEngine::PoolView> HttpEngine::Pools() const {
  std::vector<PoolView> views;
  for (const auto& [key, pool] : pools_) views.push_back({std::get<0>(key), std::get<1>(key), pool->counts()});
  return views;
}

void HttpEngine::Drain(SteadyTime gone_by, std::function<void()> done) {
  draining_.Begin(gone_by);
  drained_ = std::move(done);
  Relaxed();
}

}  // namespace fairlead
