// HTTP requests to exchanges: finds each its pool, and holds what all pools share.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/current.h"
#include "http/pool.h"
#include "http/request.h"
#include "policy/access.h"
#include "policy/draining.h"

namespace fairlead {

// Loop thread. Outlives the requests under way.
class HttpEngine {
 public:
  // The references outlive it.
  HttpEngine(Connector& connector, Timers& timers, const Limits& limits, const HttpOptions& options,
             const Current<Access>& access);
  ~HttpEngine();
  HttpEngine(const HttpEngine&) = delete;
  HttpEngine& operator=(const HttpEngine&) = delete;

  using Done = Call::Done;
  // A request under way; destroying it cancels it, and its callback does not come.
  class UnderWay {
   public:
    explicit UnderWay(std::shared_ptr<Call> call) : call_(std::move(call)) {}
    ~UnderWay() {
      if (call_) call_->Abandon();
    }
    UnderWay(UnderWay&&) = default;
    UnderWay& operator=(UnderWay&&) = delete;

   private:
    std::shared_ptr<Call> call_;
  };
  // done comes once; it may come from within the call. Nothing is ever sent twice.
  UnderWay Send(const std::string& identity, HttpRequest request, Done done);

  // Where connections may go has changed: those that there are carry what has been asked for already, and no more.
  void Renew();
  // Refuses new requests, lets those under way finish, closes all connections and runs the callback.
  void Drain(SteadyTime gone_by, std::function<void()> done);

  const HttpOptions& options() const { return options_; }
  struct PoolView {
    const std::string& identity;
    const std::string& origin;
    PoolCounts counts;
  };
  std::vector<PoolView> Pools() const;
  const HttpTotals& totals() const { return around_.totals; }

 private:
  // Identity, origin, and how often Renew was called. A profile is the API's, for later.
  using Key = std::tuple<std::string, std::string, uint64_t>;
  Result<void> Admit(const HttpUse& use, const HttpRequest& request) const;
  bool MakeRoom(const Pool& starved);
  // In the loop's next turn: drops empty pools, serves starved ones, and ends the drain.
  void Relaxed();

  const HttpOptions options_;
  HttpSurroundings around_;
  std::map<std::string, HttpUse> use_of_;  // By identity.
  std::map<Key, std::unique_ptr<Pool>> pools_;
  uint64_t renewals_ = 0;
  Draining draining_;
  std::function<void()> drained_;
  std::shared_ptr<HttpEngine*> self_;
  bool relaxing_ = false;
};

}  // namespace fairlead
