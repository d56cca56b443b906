// Whether the gateway is shutting down, for each who refuses what is new then.
#pragma once

#include <algorithm>
#include <optional>

#include "base/failure.h"
#include "base/time.h"

namespace fairlead {

class Draining {
 public:
  // At `gone_by` the process ends, whatever is open.
  void Begin(SteadyTime gone_by) { gone_by_ = gone_by; }
  explicit operator bool() const { return gone_by_.has_value(); }

  // Once it has begun. It says to try again soon: this gateway may be gone long before gone_by.
  Failure Refusal(SteadyTime now) const {
    const Duration left = *gone_by_ - now;
    return {Reason::kDraining, Phase::kNotSent, "the gateway is shutting down",
            std::clamp(left, Duration(kLeastWait), Duration(kMostWait))};
  }

 private:
  static constexpr std::chrono::milliseconds kLeastWait{100};  // Nobody is told to try again at once.
  static constexpr std::chrono::seconds kMostWait{1};

  std::optional<SteadyTime> gone_by_;
};

}  // namespace fairlead
