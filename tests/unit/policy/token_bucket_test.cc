#include "policy/token_bucket.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

using namespace std::chrono_literals;

// How many can be taken at once.
int TakeAll(TokenBucket& bucket, SteadyTime now) {
  int taken = 0;
  while (taken < 1000 && !bucket.Take(now)) ++taken;
  return taken;
}

TEST(TokenBucket, GivesASecondsWorthAtOnceAndThenAsTimePasses) {
  const SteadyTime start(1h);
  TokenBucket bucket(4);
  EXPECT_EQ(TakeAll(bucket, start), 4);
  EXPECT_EQ(bucket.Take(start), 250ms);
  EXPECT_EQ(bucket.Take(start + 249ms), 1ms) << "asking costs nothing";
  EXPECT_EQ(TakeAll(bucket, start + 250ms), 1);
  EXPECT_EQ(TakeAll(bucket, start + 1s), 3);
  EXPECT_EQ(TakeAll(bucket, start + 1h), 4) << "no more than a second's worth, however long it was quiet";
}

TEST(TokenBucket, NeverGivesMoreThanTwiceItsRateInASecond) {
  TokenBucket bucket(10);
  int taken = 0;
  for (SteadyTime now(5s); now < SteadyTime(15s); now += 7ms) taken += TakeAll(bucket, now);
  EXPECT_LE(taken, 10 + 10 * 10);
  EXPECT_GE(taken, 10 * 10);
}

TEST(TokenBucket, OfZeroNeverRunsDry) {
  TokenBucket bucket(0);
  EXPECT_EQ(TakeAll(bucket, SteadyTime(1s)), 1000);
}

TEST(TokenBucket, ALargeRateIsHeldToo) {
  TokenBucket bucket(UINT32_MAX);
  EXPECT_EQ(TakeAll(bucket, SteadyTime(1s)), 1000);
}

}  // namespace
}  // namespace fairlead
