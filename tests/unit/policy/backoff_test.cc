#include "policy/backoff.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/random.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;

ReconnectPolicy From(Duration initial, Duration max, double factor) {
  return {.initial_backoff = initial, .max_backoff = max, .backoff_factor = factor};
}

TEST(Backoff, CapsGrowByTheFactorUpToTheHighest) {
  struct Case {
    ReconnectPolicy policy;
    std::vector<Duration> caps;
  };
  const Case cases[] = {
      {{}, {500ms, 1s, 2s, 4s, 8s, 16s, 30s, 30s}},
      {From(100ms, 1s, 3), {100ms, 300ms, 900ms, 1s, 1s}},
      {From(250ms, 10s, 1), {250ms, 250ms, 250ms}},
      {From(1ms, 24h, 100), {1ms, 100ms, 10s, 1000s, 24h, 24h}},
      {From(5s, 1s, 2), {5s, 5s}},  // The highest is never below the first.
      {From(2s, 2s, 2), {2s, 2s}},
  };
  for (const Case& each : cases) {
    Backoff backoff(each.policy);
    for (const Duration cap : each.caps) {
      EXPECT_LE(std::chrono::abs(backoff.cap() - cap), 1us) << "but for rounding";
      backoff.Next(0.5);
    }
  }
}

TEST(Backoff, PausesAreDrawnBetweenZeroAndTheCap) {
  Backoff backoff(From(1s, 8s, 2));
  EXPECT_EQ(backoff.Next(0), 0s);
  EXPECT_EQ(backoff.Next(0.5), 1s);  // Of 2 s.
  EXPECT_EQ(backoff.Next(0.25), 1s);
  EXPECT_GT(backoff.Next(0.999), 7990ms);
}

TEST(Backoff, ResetBeginsAnew) {
  Backoff backoff({});
  for (int i = 0; i < 10; ++i) backoff.Next(0.1);
  EXPECT_EQ(backoff.cap(), 30s);
  backoff.Reset();
  EXPECT_EQ(backoff.cap(), 500ms);
}

TEST(Backoff, NeverPausesBeyondItsCapAndNeverNegatively) {
  ForEachSeed(200, [](Draws& draws) {
    const Duration initial = 1ms + draws.Milliseconds(2000);
    const ReconnectPolicy policy =
        From(initial, initial + draws.Milliseconds(60'000), 1 + draws.Unit() * static_cast<double>(draws.Below(99)));
    Backoff backoff(policy);
    Duration last_cap = backoff.cap();
    for (int i = 0; i < 50; ++i) {
      const Duration cap = backoff.cap();
      EXPECT_GE(cap, last_cap);
      EXPECT_LE(cap, policy.max_backoff);
      last_cap = cap;
      const Duration pause = backoff.Next(draws.Unit());
      EXPECT_GE(pause, 0ns);
      EXPECT_LE(pause, cap);
      if (draws.OneIn(20)) {
        backoff.Reset();
        last_cap = backoff.cap();
        EXPECT_EQ(last_cap, policy.initial_backoff);
      }
    }
  });
}

}  // namespace
}  // namespace fairlead
