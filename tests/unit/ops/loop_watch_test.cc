#include "ops/loop_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "support/held_loop.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

TEST(LoopWatch, TellsHowLateEachTurnIs) {
  VirtualTime time;
  HeldLoop loop(time);
  std::vector<Duration> late;
  LoopWatch watch(time, loop, [&](Duration each) { late.push_back(each); });
  watch.Begin();
  EXPECT_FALSE(watch.begun());
  time.Advance(milliseconds(3));
  EXPECT_EQ(watch.Waits(), milliseconds(3));
  loop.Turn();
  EXPECT_TRUE(watch.begun());
  EXPECT_EQ(watch.Waits(), Duration::zero());
  time.Advance(milliseconds(500));
  loop.Turn();
  EXPECT_THAT(late, ElementsAre(milliseconds(3), milliseconds(3)));
}

TEST(LoopWatch, GivesAStuckLoopOneBeat) {
  VirtualTime time;
  HeldLoop loop(time);
  LoopWatch watch(time, loop, [](Duration) {});
  watch.Begin();
  time.Advance(std::chrono::seconds(7));
  EXPECT_EQ(loop.posted(), 1u);
  EXPECT_EQ(watch.Waits(), std::chrono::seconds(7));
  loop.Turn();
  EXPECT_EQ(watch.Waits(), Duration::zero());
  time.Advance(LoopWatch::kInterval);
  EXPECT_EQ(loop.posted(), 1u);
}

}  // namespace
}  // namespace fairlead
