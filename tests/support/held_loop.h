// The gateway's loop as others see it: what they post waits until a test has it turn.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "support/virtual_time.h"

namespace fairlead {

class HeldLoop final : public Timers {
 public:
  explicit HeldLoop(VirtualTime& time) : time_(time) {}
  SteadyTime Now() const override { return time_.Now(); }
  WallTime WallNow() const override { return time_.WallNow(); }
  std::unique_ptr<Timer> MakeTimer() override { return time_.MakeTimer(); }
  // Any thread.
  void Post(std::function<void()> callback) override {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(callback));
  }
  void Turn() {
    std::vector<std::function<void()>> due;
    {
      const std::lock_guard lock(mutex_);
      due.swap(posted_);
    }
    for (const auto& each : due) each();
  }
  size_t posted() const {
    const std::lock_guard lock(mutex_);
    return posted_.size();
  }

 private:
  VirtualTime& time_;
  mutable std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
};

}  // namespace fairlead
