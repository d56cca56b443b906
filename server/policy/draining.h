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

  // Once it has begun. retry_after is until gone_by: the same address may be another gateway's then, never before.
  Failure Refusal(SteadyTime now) const {
    return {Reason::kDraining, Phase::kNotSent, "the gateway is shutting down",
            std::max(*gone_by_ - now, Duration(kLeastWait))};
  }

 private:
  static constexpr std::chrono::milliseconds kLeastWait{100};  // Nobody is told to try again at once.

  std::optional<SteadyTime> gone_by_;
};

}  // namespace fairlead
