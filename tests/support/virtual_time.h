// Time that passes only when a test says so. Callbacks run in the order of their deadlines, and those of one deadline
// in the order in which they were asked for.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/time.h"

namespace fairlead {

// Outlives its timers.
class VirtualTime final : public Timers {
 public:
  SteadyTime Now() const override { return now_; }
  WallTime WallNow() const override { return kWallStart + (now_ - kStart); }
  std::unique_ptr<Timer> MakeTimer() override { return std::make_unique<VirtualTimer>(*this); }
  void Post(std::function<void()> callback) override { Add(now_, std::move(callback)); }

  // Runs what is due by now, and what follows from it at once.
  void Settle() { Advance(Duration::zero()); }
  void Advance(Duration span) {
    const SteadyTime until = now_ + span;
    int at_one_instant = 0;
    while (!queue_.empty() && queue_.begin()->first.first <= until) {
      auto due = queue_.extract(queue_.begin());
      at_one_instant = due.key().first == now_ ? at_one_instant + 1 : 0;
      if (at_one_instant > kSpinning) {
        ADD_FAILURE() << "spinning: callbacks follow each other without time passing";
        return;
      }
      now_ = std::max(now_, due.key().first);
      due.mapped()();
      if (after_each) after_each();
    }
    now_ = until;
  }
  // When the next callback is due.
  std::optional<SteadyTime> NextDue() const {
    return queue_.empty() ? std::nullopt : std::optional(queue_.begin()->first.first);
  }
  std::function<void()> after_each = {};     // Called when a callback has run, before time goes on.
  size_t timers() const { return timers_; }  // That somebody has.
  // Since the beginning.
  Duration Passed() const { return now_ - kStart; }

  static constexpr SteadyTime kStart{std::chrono::hours(1)};
  static constexpr WallTime kWallStart{std::chrono::seconds(1'700'000'000)};

 private:
  static constexpr int kSpinning = 100'000;
  using Key = std::pair<SteadyTime, uint64_t>;

  class VirtualTimer final : public Timer {
   public:
    explicit VirtualTimer(VirtualTime& time) : time_(time) { ++time_.timers_; }
    ~VirtualTimer() override {
      Cancel();
      --time_.timers_;
    }
    VirtualTimer(const VirtualTimer&) = delete;
    VirtualTimer& operator=(const VirtualTimer&) = delete;
    void At(SteadyTime deadline, std::function<void()> callback) override {
      Cancel();
      // The callback may destroy this timer, which must then not cancel another's place.
      key_ = time_.Add(deadline, [this, callback = std::move(callback)] {
        key_.reset();
        callback();
      });
    }
    void Cancel() override {
      if (key_) time_.queue_.erase(*std::exchange(key_, std::nullopt));
    }

   private:
    VirtualTime& time_;
    std::optional<Key> key_;
  };

  Key Add(SteadyTime deadline, std::function<void()> callback) {
    const Key key{std::max(deadline, now_), ++order_};
    queue_.emplace(key, std::move(callback));
    return key;
  }

  SteadyTime now_ = kStart;
  uint64_t order_ = 0;
  size_t timers_ = 0;
  std::map<Key, std::function<void()>> queue_;
};

}  // namespace fairlead
