// The connections of one identity, origin and profile, and the requests that wait for them, in order of arrival.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/current.h"
#include "http/call.h"
#include "http/connection.h"
#include "policy/access.h"
#include "policy/pool_choice.h"

namespace fairlead {

// What pools use of the world. Outlives them.
struct HttpSurroundings {
  Connector& connector;
  Timers& timers;
  const Limits& limits;
  const HttpOptions& options;
  const Current<Access>& access;
  HttpTotals totals = {};
  // A pool wants more connections than the total allows: whether an idle one of another pool has made room.
  std::function<bool(Pool& starved)> make_room = {};
  // A pool is empty, or has what a starved one may use: others may go on, and it may be dropped. Not from within a
  // pool's call.
  std::function<void()> relaxed = {};
  // A request is no longer counted: a drain may be over.
  std::function<void()> forgotten = {};
};

// Loop thread.
class Pool {
 public:
  Pool(std::string identity, TargetUrl origin, HttpSurroundings& around);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Queues it and serves it when its turn comes. Refused as kLimitReached: too many wait.
  Result<void> Serve(const std::shared_ptr<Call>& call);

  // For a waiting request: it waits no more.
  void Forget(const Call& call);
  // A connection is on its way to it.
  bool IsComingFor(const Call& call) const;
  // "waiting for a free connection": what a waiting request waits for, for the message of its timeout.
  std::string Doing(const Call& call) const;

  // Gives waiting requests what there is, and dials for the others as far as it may.
  void Pump();
  // Closes the connection that has been idle for longest; false: none is idle.
  bool CloseAnIdleOne();
  // Since when its longest idle connection has been idle.
  std::optional<SteadyTime> idle_since();
  bool empty() const { return connections_.empty() && dials_.empty() && waiting_.empty(); }
  bool starved() const { return starved_; }
  PoolCounts counts() const;

 private:
  struct Kept {
    std::unique_ptr<Connection> connection;
    std::optional<ConnectTimes> times;  // Until it has carried its first request.
  };
  bool Admits();
  void Dial();
  void Dialled(std::list<std::unique_ptr<Dialling>>::iterator dial, Result<OpenedStream> opened);
  void Changed(Connection& connection);
  // A connection that can carry a request now, or the end.
  std::list<Kept>::iterator Usable();
  void Starve(bool starved);
  std::list<Kept>::iterator LongestIdle();
  size_t PlaceOf(const Call& call) const;
  void ArmIdleTimer();

  const std::string identity_;
  const TargetUrl origin_;
  HttpSurroundings& around_;
  Connection::Tally tally_ = {};
  std::list<Kept> connections_;  // Those that carry a request last; before them the most recently used first.
  std::list<std::unique_ptr<Dialling>> dials_;
  std::deque<std::shared_ptr<Call>> waiting_;
  std::unique_ptr<Timer> again_;  // To pump.
  std::unique_ptr<Timer> idle_timer_;
  bool idle_timer_armed_ = false;
  bool starved_ = false;  // The total has no room for what it needs.
};

}  // namespace fairlead
