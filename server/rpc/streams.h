// What all streams of adapters share, and the list of those that are open.
#pragma once

#include <fairlead/v1/session.pb.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/current.h"
#include "base/measures.h"
#include "policy/access.h"
#include "policy/draining.h"
#include "policy/flush.h"
#include "policy/token_bucket.h"
#include "rpc/flusher.h"
#include "rpc/identity.h"
#include "session/registry.h"

namespace fairlead {

// Loop thread, except for the references it hands out. Outlives its streams.
class Streams {
 public:
  // An open Attach or Tail stream.
  class Member {
   public:
    virtual void Drain(SteadyTime gone_by) = 0;
    // It may go on, but perhaps not with all that it reads.
    virtual void Recheck() = 0;
    // It ends with this, at once, whatever its peer does.
    virtual void Revoke(const Failure& cause) = 0;
    const Admission& admission() const { return admission_; }

   protected:
    explicit Member(Admission admission) : admission_(std::move(admission)) {}
    ~Member() = default;

   private:
    const Admission admission_;
  };

  // The references outlive it.
  Streams(Registry& registry, Timers& timers, const Limits& limits, Flush::Batch batch, const Current<Access>& access)
      : registry_(registry), timers_(timers), limits_(limits), batch_(batch), access_(access) {}

  // Refused: draining, too many are open, or the access has changed since the call was let in.
  Result<void> Admit(Member& member);
  void Leave(Member& member) {
    members_.erase(&member);
    if (members_.empty() && when_empty_) timers_.Post(std::exchange(when_empty_, nullptr));
  }

  // The access has changed: ends those that it does not allow, and tells how many. One whose peer reads nothing is cut
  // off a little later.
  size_t Recheck();
  // Runs it when a peer that reads has had time for the end of its stream.
  void CutOffLater(std::function<void()> cut_off);

  // Tells all, and admits no more. Each ends when its sessions have.
  void Drain(SteadyTime gone_by) {
    draining_.Begin(gone_by);
    const std::set<Member*> all = members_;
    for (Member* member : all) member->Drain(gone_by);
  }
  // Runs the callback once no stream is open; soon, if none is.
  void WhenEmpty(std::function<void()> callback) {
    if (members_.empty()) return timers_.Post(std::move(callback));
    when_empty_ = std::move(callback);
  }

  size_t size() const { return members_.size(); }
  Registry& registry() { return registry_; }
  Timers& timers() { return timers_; }
  const Current<Access>& access() const { return access_; }
  const Limits& limits() const { return limits_; }
  Flush::Batch batch() const { return batch_; }
  Flusher& flusher() { return flusher_; }
  AdapterMeasures& measures() { return measures_; }
  RpcMeasures& rpcs() { return rpcs_; }

 private:
  // Takes one from the totals of the identity and of all.
  Result<void> CheckRate(const std::string& identity, const Access& access);

  Registry& registry_;
  Timers& timers_;
  const Limits& limits_;
  const Flush::Batch batch_;
  const Current<Access>& access_;
  Flusher flusher_;
  TokenBucket new_streams_{limits_.new_streams_per_second};
  std::map<std::string, TokenBucket> new_streams_of_;  // By identity, of those that have a cap.
  AdapterMeasures measures_;
  RpcMeasures rpcs_;
  std::set<Member*> members_;
  std::function<void()> when_empty_;
  std::vector<std::function<void()>> cut_offs_;
  std::unique_ptr<Timer> cut_off_timer_ = timers_.MakeTimer();
  Draining draining_;
};

}  // namespace fairlead
