#include "policy/copies.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr size_t kA = 0;
constexpr size_t kB = 1;

// Two transports that bring numbered frames.
struct Feed {
  explicit Feed(Dedupe dedupe = {.json_pointer = "/n"}, size_t max_keys = 1000) : copies(std::move(dedupe), max_keys) {}

  void Up(size_t lane) {
    copies.Begin(lane);
    copies.Join(lane);
    copies.Open(lane, now);
  }
  bool IsCopy(size_t lane, int number) { return IsCopy(lane, "{\"n\":" + std::to_string(number) + "}"); }
  bool IsCopy(size_t lane, const std::string& payload) { return copies.IsCopy(lane, payload, now); }
  Copies::Tally Tally(size_t lane) { return copies.TallyOf(lane, now); }

  SteadyTime now = SteadyTime() + seconds(1);
  Copies copies;
};

struct Both : Feed {
  explicit Both(Dedupe dedupe = {.json_pointer = "/n"}, size_t max_keys = 1000) : Feed(std::move(dedupe), max_keys) {
    Up(kA);
    Up(kB);
  }
};

TEST(Copies, OfTwoFramesOfOneKeyTheSecondIsTheCopyWhoeverBringsIt) {
  Both feed;
  EXPECT_FALSE(feed.IsCopy(kA, 1));
  EXPECT_TRUE(feed.IsCopy(kB, 1));
  EXPECT_FALSE(feed.IsCopy(kB, 2));
  EXPECT_TRUE(feed.IsCopy(kA, 2));
  EXPECT_EQ(feed.copies.met(), 2u);
}

TEST(Copies, FramesWithoutAKeyAreNeverCopies) {
  Both feed;
  EXPECT_FALSE(feed.IsCopy(kA, "hello"));
  EXPECT_FALSE(feed.IsCopy(kB, "hello"));
  EXPECT_EQ(feed.copies.met(), 0u);
}

TEST(Copies, WhatOneTransportRepeatsIsPassedOnAsOften) {
  Both feed({.json_pointer = ""});
  EXPECT_FALSE(feed.IsCopy(kA, "bid 100"));
  EXPECT_FALSE(feed.IsCopy(kA, "bid 101"));
  EXPECT_FALSE(feed.IsCopy(kA, "bid 100"));
  EXPECT_TRUE(feed.IsCopy(kB, "bid 100"));
  EXPECT_TRUE(feed.IsCopy(kB, "bid 101"));
  EXPECT_TRUE(feed.IsCopy(kB, "bid 100"));
  EXPECT_FALSE(feed.IsCopy(kB, "bid 100")) << "ahead of the other by one";
  EXPECT_TRUE(feed.IsCopy(kA, "bid 100"));
}

// A payload that came before the second transport can come again: that is news.
TEST(Copies, APayloadIsNoCopyOfWhatCameBeforeItsTransportWasThere) {
  Feed feed({.json_pointer = ""});
  feed.Up(kA);
  feed.copies.Begin(kB);
  EXPECT_FALSE(feed.IsCopy(kA, "bid 100"));
  feed.copies.Join(kB);
  EXPECT_FALSE(feed.IsCopy(kB, "bid 100"));
  EXPECT_TRUE(feed.IsCopy(kA, "bid 100"));
}

// What it lags behind one that is gone proves nothing of the one that has come instead.
TEST(Copies, ACopyOfWhatAFormerTransportBroughtIsNoMeetingWithTheNextOne) {
  for (const char* pointer : {"/n", ""}) {
    Both feed({.json_pointer = pointer});
    EXPECT_FALSE(feed.IsCopy(kA, 1));
    feed.copies.End(kA, feed.now);
    feed.Up(kA);
    EXPECT_TRUE(feed.IsCopy(kB, 1));
    EXPECT_EQ(feed.copies.met(), 0u) << pointer;
    EXPECT_FALSE(feed.IsCopy(kA, 2));
    EXPECT_TRUE(feed.IsCopy(kB, 2));
    EXPECT_EQ(feed.copies.met(), 1u) << pointer;
  }
}

// A number that stands in a frame names one frame: a snapshot of the latest is no news.
TEST(Copies, ANumberedFrameIsACopyOfWhatCameBeforeItsTransportWasThere) {
  Feed feed;
  feed.Up(kA);
  feed.copies.Begin(kB);
  EXPECT_FALSE(feed.IsCopy(kA, 1));
  feed.copies.Join(kB);
  EXPECT_TRUE(feed.IsCopy(kB, 1));
  EXPECT_EQ(feed.copies.met(), 1u);
}

TEST(Copies, ATransportAloneIsNotLookedAt) {
  Feed feed;
  feed.Up(kA);
  EXPECT_FALSE(feed.IsCopy(kA, 1));
  EXPECT_FALSE(feed.IsCopy(kA, 1));
  EXPECT_EQ(feed.copies.keys(), 0u);
}

TEST(Copies, WhatAnEndedTransportHasBroughtIsRememberedForTheWindow) {
  Both feed;
  EXPECT_FALSE(feed.IsCopy(kA, 1));
  EXPECT_FALSE(feed.IsCopy(kA, 2));
  feed.copies.End(kA, feed.now);
  feed.now += seconds(5) - milliseconds(1);
  EXPECT_TRUE(feed.IsCopy(kB, 1));
  feed.now += milliseconds(1);
  EXPECT_FALSE(feed.IsCopy(kB, 2)) << "the window is over";
  EXPECT_EQ(feed.Tally(kB).misses, 1u) << "it came too late";
}

TEST(Copies, AKeyThatReturnsIsRememberedAnew) {
  Both feed({.json_pointer = "", .window = seconds(1)});
  for (int i = 0; i < 10; ++i) {
    feed.now += milliseconds(600);
    EXPECT_FALSE(feed.IsCopy(kA, "tick")) << i;
    feed.now += milliseconds(300);
    EXPECT_TRUE(feed.IsCopy(kB, "tick")) << i;
  }
  EXPECT_EQ(feed.Tally(kB).misses, 0u);
  feed.now += seconds(3);
  feed.IsCopy(kA, "another");
  EXPECT_EQ(feed.copies.keys(), 1u);
}

TEST(Copies, NoMoreKeysThanAllowedAreRemembered) {
  Both feed({.json_pointer = "/n"}, /*max_keys=*/3);
  for (int n = 1; n <= 5; ++n) EXPECT_FALSE(feed.IsCopy(kA, n));
  EXPECT_EQ(feed.copies.keys(), 3u);
  EXPECT_FALSE(feed.IsCopy(kB, 2)) << "forgotten: passed on, not lost";
  EXPECT_TRUE(feed.IsCopy(kB, 5));
}

TEST(Copies, TalliesTellWhoWonHowFarTheOtherLaggedAndWhatItMissed) {
  Both feed;
  for (int n = 1; n <= 100; ++n) {
    EXPECT_FALSE(feed.IsCopy(kA, n));
    feed.now += milliseconds(n);
    if (n % 10 != 0) EXPECT_TRUE(feed.IsCopy(kB, n));
  }
  EXPECT_EQ(feed.Tally(kA).wins, 100u);
  EXPECT_EQ(feed.Tally(kA).copies, 0u);
  EXPECT_FALSE(feed.Tally(kA).lag_p50);
  EXPECT_EQ(feed.Tally(kB).wins, 0u);
  EXPECT_EQ(feed.Tally(kB).copies, 90u);
  EXPECT_EQ(feed.Tally(kB).lag_p50, milliseconds(49));
  EXPECT_EQ(feed.Tally(kB).lag_p99, milliseconds(98));
  EXPECT_LT(feed.Tally(kB).misses, 10u) << "the last still have time";
  feed.now += seconds(5);
  EXPECT_EQ(feed.Tally(kB).misses, 10u);
  EXPECT_EQ(feed.Tally(kA).misses, 0u);
  feed.Up(kB);
  EXPECT_EQ(feed.Tally(kB).misses, 0u) << "of the latest transport";
}

TEST(Copies, LagsAreThoseOfTheLatest1024) {
  Both feed;
  for (int n = 1; n <= 2048; ++n) {
    feed.IsCopy(kA, n);
    feed.now += n <= 1024 ? milliseconds(50) : milliseconds(1);
    feed.IsCopy(kB, n);
  }
  EXPECT_EQ(feed.Tally(kB).lag_p99, milliseconds(1));
}

// What is sent before a transport is set up is not its affair.
TEST(Copies, BeforeItIsSetUpATransportNeitherMissesNorLags) {
  Feed feed;
  feed.Up(kA);
  feed.copies.Begin(kB);
  feed.copies.Join(kB);
  EXPECT_FALSE(feed.IsCopy(kA, 1));
  feed.now += seconds(4);
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), Duration::zero());
  feed.copies.Open(kB, feed.now);
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), Duration::zero());
  EXPECT_FALSE(feed.IsCopy(kA, 2));
  feed.now += seconds(10);
  EXPECT_EQ(feed.Tally(kB).misses, 1u);
  EXPECT_EQ(feed.Tally(kA).wins, 1u);
}

TEST(Copies, ATransportIsBehindAsLongAsItHasNotBroughtWhatTheOtherHas) {
  Both feed;
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), Duration::zero());
  feed.IsCopy(kA, 1);
  feed.now += seconds(1);
  feed.IsCopy(kA, 2);
  feed.now += seconds(1);
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), seconds(2));
  EXPECT_EQ(feed.copies.Behind(kA, feed.now), Duration::zero());
  EXPECT_TRUE(feed.IsCopy(kB, 1));
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), seconds(2)) << "as old as what it brought last";
  EXPECT_TRUE(feed.IsCopy(kB, 2));
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), Duration::zero());
  feed.now += seconds(100);
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), Duration::zero()) << "nothing came: nobody lags";
  feed.IsCopy(kA, 0);
  feed.now += seconds(100);
  feed.IsCopy(kA, 3);
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), Duration::zero()) << "what it missed long ago is a miss, not a lag";
  feed.now += seconds(1);
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), seconds(1));
  EXPECT_FALSE(feed.IsCopy(kB, 4));
  EXPECT_EQ(feed.copies.Behind(kB, feed.now), Duration::zero()) << "it is in front";
  feed.now += seconds(1);
  feed.copies.End(kB, feed.now);
  EXPECT_EQ(feed.copies.Behind(kA, feed.now), Duration::zero());
}

}  // namespace
}  // namespace fairlead
