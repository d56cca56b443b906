// One answer for all who ask at the same time, and for those who ask soon after: whoever asks however often costs the
// gateway no more than the first.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "ops/admin_server.h"

namespace fairlead {

// Of one thread, but for what is posted.
class SharedAnswer {
 public:
  using Tell = std::function<void(AdminServer::Reply)>;

  // make: begins one; tells it once, on this thread. `age`: for how long it serves others.
  SharedAnswer(Timers& own, Duration age, std::function<void(Tell)> make)
      : own_(own), age_(age), make_(std::move(make)) {}

  void Ask(AdminServer::Answer answer) {
    if (latest_ && own_.Now() - told_at_ < age_) return answer(*latest_);
    asking_.push_back(std::move(answer));
    if (asking_.size() == 1) make_([this](AdminServer::Reply reply) { Told(std::move(reply)); });
  }

 private:
  void Told(AdminServer::Reply reply) {
    latest_ = std::move(reply);
    told_at_ = own_.Now();
    for (const auto& answer : std::exchange(asking_, {})) answer(*latest_);
  }

  Timers& own_;
  const Duration age_;
  const std::function<void(Tell)> make_;
  std::vector<AdminServer::Answer> asking_;
  std::optional<AdminServer::Reply> latest_;
  SteadyTime told_at_;
};

}  // namespace fairlead
