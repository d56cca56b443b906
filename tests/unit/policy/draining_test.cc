// What those are told who come while the gateway shuts down.
#include "policy/draining.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

using namespace std::chrono_literals;

TEST(Draining, RefusesUntilTheProcessIsGone) {
  const SteadyTime begin{1h};
  Draining draining;
  EXPECT_FALSE(draining);
  draining.Begin(begin + 5s);
  ASSERT_TRUE(draining);
  const Failure refusal = draining.Refusal(begin + 4500ms);
  EXPECT_EQ(refusal.reason, Reason::kDraining);
  EXPECT_EQ(refusal.phase, Phase::kNotSent);
  EXPECT_EQ(refusal.retry_after, 500ms);
}

TEST(Draining, NobodyIsToldToWaitForLong) {
  Draining draining;
  draining.Begin(SteadyTime(1h));
  EXPECT_EQ(draining.Refusal(SteadyTime(1h) - 30s).retry_after, 1s) << "it ends as soon as all are gone";
}

TEST(Draining, NobodyIsToldToComeBackAtOnce) {
  Draining draining;
  draining.Begin(SteadyTime(1h));
  EXPECT_EQ(draining.Refusal(SteadyTime(1h)).retry_after, 100ms);
  EXPECT_EQ(draining.Refusal(SteadyTime(2h)).retry_after, 100ms) << "it ends late";
}

}  // namespace
}  // namespace fairlead
