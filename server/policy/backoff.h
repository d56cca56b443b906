// How long to pause before the next dial: exponential with full jitter ("Exponential Backoff And Jitter", AWS
// Architecture Blog, 2015).
#pragma once

#include <algorithm>

#include "base/frame.h"
#include "base/time.h"

namespace fairlead {

// Of fairlead.v1.ReconnectPolicy, which documents each.
struct ReconnectPolicy {
  bool enabled = true;
  bool first_retry_at_once = true;
  Duration initial_backoff = std::chrono::milliseconds(500);
  Duration max_backoff = std::chrono::seconds(30);
  double backoff_factor = 2;
  uint32_t max_attempts = 0;               // Zero: any number.
  Duration max_outage = Duration::zero();  // Zero: any time.
  Duration stable_after = std::chrono::seconds(10);
  Duration max_age = Duration::zero();  // Zero: any.
  bool make_before_break = false;
  Duration overlap = std::chrono::seconds(2);
  Match shutdown = {};
};

class Backoff {
 public:
  explicit Backoff(const ReconnectPolicy& policy)
      : initial_(policy.initial_backoff),
        max_(std::max(policy.initial_backoff, policy.max_backoff)),
        factor_(policy.backoff_factor),
        cap_(initial_) {}

  // The next pause, between zero and the cap; draw is from [0, 1). The cap grows.
  Duration Next(double draw) {
    const Duration pause = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(cap_) * draw);
    const auto grown = std::chrono::duration<double>(cap_) * factor_;
    cap_ = grown < std::chrono::duration<double>(max_) ? std::chrono::duration_cast<Duration>(grown) : max_;
    return pause;
  }
  Duration cap() const { return cap_; }
  void Reset() { cap_ = initial_; }

 private:
  Duration initial_;
  Duration max_;
  double factor_;
  Duration cap_;
};

}  // namespace fairlead
