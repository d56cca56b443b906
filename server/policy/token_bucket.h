// So many a second, and a second's worth at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/time.h"

namespace fairlead {

class TokenBucket {
 public:
  // Full at first. 0: it never runs dry.
  explicit TokenBucket(uint32_t per_second)
      : per_second_(per_second),
        price_(per_second == 0 ? Duration::zero() : Duration(std::chrono::seconds(1)) / per_second) {}

  uint32_t per_second() const { return per_second_; }
  // Takes one token. Absent: it is taken; else when there will be one.
  std::optional<Duration> Take(SteadyTime now) {
    // What it owes is paid off by time; a second's worth may be owed.
    owed_until_ = std::max(owed_until_, now);
    const Duration wait = owed_until_ + price_ - (now + std::chrono::seconds(1));
    if (wait > Duration::zero()) return wait;
    owed_until_ += price_;
    return std::nullopt;
  }

 private:
  uint32_t per_second_;
  Duration price_;
  SteadyTime owed_until_ = SteadyTime::min();
};

}  // namespace fairlead
