// What all streams of adapters share, and the list of those that are open.
#pragma once

#include <fairlead/v1/session.pb.h>

#include <functional>
#include <set>
#include <utility>

#include "base/measures.h"
#include "policy/flush.h"
#include "rpc/flusher.h"
#include "session/registry.h"

namespace fairlead {

// Loop thread, except for the references it hands out. Outlives its streams.
class Streams {
 public:
  // An open Attach or Tail stream.
  class Member {
   public:
    virtual void Drain(WallTime deadline) = 0;

   protected:
    ~Member() = default;
  };

  Streams(Registry& registry, Timers& timers, const Limits& limits, Flush::Batch batch)
      : registry_(registry), timers_(timers), limits_(limits), batch_(batch) {}

  // Refused: draining, or limits.streams are open.
  Result<void> Admit(Member& member) {
    if (draining_) return NotSent(Reason::kDraining, "the gateway is shutting down");
    if (members_.size() >= limits_.streams) {
      return NotSent(Reason::kLimitReached, "limits.streams, " + std::to_string(limits_.streams) + ", are open");
    }
    members_.insert(&member);
    return {};
  }
  void Leave(Member& member) {
    members_.erase(&member);
    if (members_.empty() && when_empty_) timers_.Post(std::exchange(when_empty_, nullptr));
  }

  // Tells all, and admits no more. Each ends when its sessions have.
  void Drain(WallTime deadline) {
    draining_ = true;
    const std::set<Member*> all = members_;
    for (Member* member : all) member->Drain(deadline);
  }
  // Runs the callback once no stream is open; soon, if none is.
  void WhenEmpty(std::function<void()> callback) {
    if (members_.empty()) return timers_.Post(std::move(callback));
    when_empty_ = std::move(callback);
  }

  size_t size() const { return members_.size(); }
  Registry& registry() { return registry_; }
  Timers& timers() { return timers_; }
  const Limits& limits() const { return limits_; }
  Flush::Batch batch() const { return batch_; }
  Flusher& flusher() { return flusher_; }
  AdapterMeasures& measures() { return measures_; }
  RpcMeasures& rpcs() { return rpcs_; }

 private:
  Registry& registry_;
  Timers& timers_;
  const Limits& limits_;
  const Flush::Batch batch_;
  Flusher flusher_;
  AdapterMeasures measures_;
  RpcMeasures rpcs_;
  std::set<Member*> members_;
  std::function<void()> when_empty_;
  bool draining_ = false;
};

}  // namespace fairlead
