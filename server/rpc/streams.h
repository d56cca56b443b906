// What all streams of adapters share, and the list of those that are open.
#pragma once

#include <fairlead/v1/session.pb.h>

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "base/current.h"
#include "policy/access.h"
#include "policy/flush.h"
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
    virtual void Drain(WallTime deadline) = 0;
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

  // Refused: draining, or too many are open.
  Result<void> Admit(Member& member) {
    if (draining_) return NotSent(Reason::kDraining, "the gateway is shutting down");
    if (members_.size() >= limits_.streams) {
      return NotSent(Reason::kLimitReached, "limits.streams, " + std::to_string(limits_.streams) + ", are open");
    }
    const std::string& identity = member.admission().identity;
    const auto has = std::ranges::count_if(
        members_, [&identity](const Member* each) { return each->admission().identity == identity; });
    if (auto room = access_.Get()->CheckCap(identity, Cap::kStreams, static_cast<uint64_t>(has) + 1); !room)
      return room;
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

  Registry& registry() { return registry_; }
  Timers& timers() { return timers_; }
  const Current<Access>& access() const { return access_; }
  const Limits& limits() const { return limits_; }
  Flush::Batch batch() const { return batch_; }
  Flusher& flusher() { return flusher_; }

 private:
  Registry& registry_;
  Timers& timers_;
  const Limits& limits_;
  const Flush::Batch batch_;
  const Current<Access>& access_;
  Flusher flusher_;
  std::set<Member*> members_;
  std::function<void()> when_empty_;
  bool draining_ = false;
};

}  // namespace fairlead
