#include "ops/loop_watch.h"

#include <utility>

namespace fairlead {

LoopWatch::LoopWatch(Timers& own, Timers& loop, std::function<void(Duration)> late)
    : own_(own), loop_(loop), late_(std::move(late)), timer_(own.MakeTimer()) {}

void LoopWatch::Beat() {
  const SteadyTime now = own_.Now();
  // One at a time: a loop that hangs is not given more to do.
  if (answered_.load(std::memory_order_relaxed) == sent_) {
    ++sent_;
    sent_at_ = now;
    loop_.Post([this, now] {
      late_(loop_.Now() - now);
      answered_.fetch_add(1, std::memory_order_relaxed);
    });
  }
  timer_->At(now + kInterval, [this] { Beat(); });
}

Duration LoopWatch::Waits() const {
  return answered_.load(std::memory_order_relaxed) == sent_ ? Duration::zero() : own_.Now() - sent_at_;
}

}  // namespace fairlead
