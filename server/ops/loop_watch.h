// Whether the gateway's loop turns, and how late it is: a beat is posted to it twice a second, from another thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "base/time.h"

namespace fairlead {

// Used on the thread of `own`. Both outlive it; `loop` must have ended when it does.
class LoopWatch {
 public:
  static constexpr Duration kInterval = std::chrono::milliseconds(500);

  // late: called on the loop, with how long a beat has waited for its turn.
  LoopWatch(Timers& own, Timers& loop, std::function<void(Duration late)> late);
  // Beats from now on.
  void Begin() { Beat(); }

  // Any thread. The loop has turned once.
  bool begun() const { return answered_.load(std::memory_order_relaxed) != 0; }
  // For how long a beat has waited; zero: none does.
  Duration Waits() const;

 private:
  void Beat();

  Timers& own_;
  Timers& loop_;
  const std::function<void(Duration)> late_;
  const std::unique_ptr<Timer> timer_;
  uint64_t sent_ = 0;
  SteadyTime sent_at_;
  std::atomic<uint64_t> answered_ = 0;
};

}  // namespace fairlead
