#include "policy/topics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr SteadyTime kStart{1h};
constexpr WallTime kWall{1000h};

Topic Of(const std::string& key, Duration max_silence) {
  return {.key = key, .match = {{"\"" + key + "\""}}, .max_silence = max_silence};
}

TEST(Topics, AreStaleWhenTheyAreSilentForTooLong) {
  Topics topics({Of("btc", 5s), Of("eth", 3s)});
  topics.Begin(kStart);
  EXPECT_EQ(topics.Next(), kStart + 3s);
  EXPECT_THAT(topics.Check(kStart + 3s - 1ns), IsEmpty());
  EXPECT_THAT(topics.Check(kStart + 3s), ElementsAre(1));
  EXPECT_THAT(topics.Check(kStart + 4s), IsEmpty()) << "told once";
  EXPECT_EQ(topics.Next(), kStart + 5s);
  EXPECT_THAT(topics.Check(kStart + 5s), ElementsAre(0));
  EXPECT_FALSE(topics.Next());
  EXPECT_TRUE(topics.states()[0].stale);
}

TEST(Topics, AFrameKeepsItsTopicsAndBringsThemBack) {
  Topics topics({Of("btc", 5s), Of("eth", 5s)});
  topics.Begin(kStart);
  EXPECT_THAT(topics.Received(R"({"s":"btc"})", kStart + 4s, kWall), IsEmpty()) << "it was not gone";
  EXPECT_EQ(topics.states()[0].last_heard, kWall);
  EXPECT_FALSE(topics.states()[1].last_heard);
  EXPECT_THAT(topics.Check(kStart + 5s), ElementsAre(1));
  EXPECT_EQ(topics.Next(), kStart + 9s);
  EXPECT_THAT(topics.Received(R"({"s":"eth"})", kStart + 6s, kWall + 6s), ElementsAre(1));
  EXPECT_FALSE(topics.states()[1].stale);
  EXPECT_THAT(topics.Check(kStart + 11s), ElementsAre(0, 1)) << "and may go again";
}

TEST(Topics, OneFrameMayBelongToSeveral) {
  Topics topics({Of("btc", 1s), Of("eth", 1s)});
  topics.Begin(kStart);
  topics.Check(kStart + 1s);
  EXPECT_THAT(topics.Received(R"(["btc","eth"])", kStart + 2s, kWall), ElementsAre(0, 1));
}

TEST(Topics, WithoutAnOpenTransportSilenceSaysNothing) {
  Topics topics({Of("btc", 1s)});
  EXPECT_FALSE(topics.Next()) << "not yet";
  EXPECT_THAT(topics.Check(kStart + 1h), IsEmpty());
  topics.Begin(kStart);
  topics.Stop();
  EXPECT_FALSE(topics.Next());
  EXPECT_THAT(topics.Check(kStart + 1h), IsEmpty());
  EXPECT_THAT(topics.Received(R"("btc")", kStart, kWall), IsEmpty());
  topics.Begin(kStart + 2h);
  EXPECT_EQ(topics.Next(), kStart + 2h + 1s) << "counted anew";
}

TEST(Topics, ReplacedByTheSameTheyStayWhatTheyAre) {
  Topics topics({Of("btc", 1s), Of("eth", 4s), Of("sol", 4s)});
  topics.Begin(kStart);
  topics.Received(R"("eth")", kStart + 1s, kWall);
  topics.Check(kStart + 1s);
  topics.Replace({Of("btc", 1s), Of("eth", 4s), Of("sol", 2s), Of("xrp", 3s)}, kStart + 2s);
  EXPECT_TRUE(topics.states()[0].stale) << "still";
  EXPECT_EQ(topics.states()[1].last_heard, kWall);
  EXPECT_THAT(topics.Check(kStart + 4s), ElementsAre(2)) << "another silence is another topic";
  EXPECT_THAT(topics.Check(kStart + 5s), ElementsAre(1, 3)) << "a new one counts from now";
}

TEST(Topics, ANewTransportBeginsAnew) {
  Topics topics({Of("btc", 1s)});
  topics.Begin(kStart);
  topics.Check(kStart + 1s);
  topics.Begin(kStart + 5s);
  EXPECT_FALSE(topics.states()[0].stale);
  EXPECT_THAT(topics.Received(R"("btc")", kStart + 5s, kWall), IsEmpty());
}

}  // namespace
}  // namespace fairlead
