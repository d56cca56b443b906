#include "policy/heartbeat.h"

#include <gtest/gtest.h>

#include "support/random.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using What = HeartbeatPolicy::What;

constexpr SteadyTime kStart{1h};

HeartbeatPolicy Quiet() {
  HeartbeatPolicy policy;
  policy.interval = 0s;
  policy.pong_timeout = 0s;
  return policy;
}

// Without anything that it would have to wait behind.
void Beat(Heartbeat& heartbeat, SteadyTime now) {
  heartbeat.Beaten(now);
  heartbeat.BeatBegan(now);
}

TEST(FillTokens, FillsWhatItKnowsAndKeepsTheRest) {
  const WallTime now{1'700'000'000'123ms};
  struct Case {
    std::string text;
    std::string filled;
  };
  const Case cases[] = {
      {"", ""},
      {"ping", "ping"},
      {"{unix_s}", "1700000000"},
      {"{unix_ms}", "1700000000123"},
      {R"({"op":"ping","ts":{unix_ms},"id":{n}})", R"({"op":"ping","ts":1700000000123,"id":7})"},
      {"{n}{n}", "77"},
      {"{{n}}", "{7}"},
      {"{nn}", "{nn}"},
      {"{", "{"},
      {"{n", "{n"},
      {"}{n}{", "}7{"},
      {"{}", "{}"},
      {"{ n }", "{ n }"},
  };
  for (const Case& each : cases) EXPECT_EQ(FillTokens(each.text, now, 7), each.filled) << each.text;
}

TEST(Heartbeat, BeatsAtEachInterval) {
  Heartbeat heartbeat({.pong_timeout = 0s}, kStart);
  EXPECT_EQ(heartbeat.Next(), kStart + 20s);
  EXPECT_FALSE(heartbeat.Check(kStart + 19s, 0).beat);
  EXPECT_TRUE(heartbeat.Check(kStart + 20s, 0).beat);
  heartbeat.Beaten(kStart + 21s);
  EXPECT_EQ(heartbeat.Next(), kStart + 41s);
}

TEST(Heartbeat, NumbersItsPayloads) {
  HeartbeatPolicy policy;
  policy.payload = "ping {n}";
  Heartbeat heartbeat(policy, kStart);
  EXPECT_EQ(heartbeat.NextPayload({}), "ping 1");
  EXPECT_EQ(heartbeat.NextPayload({}), "ping 2");
}

TEST(Heartbeat, AllOffWatchesNothing) {
  Heartbeat heartbeat(Quiet(), kStart);
  EXPECT_FALSE(heartbeat.Next());
  const auto verdict = heartbeat.Check(kStart + 100h, 0);
  EXPECT_FALSE(verdict.beat);
  EXPECT_FALSE(verdict.dead);
}

TEST(Heartbeat, AMissingPongIsDeath) {
  Heartbeat heartbeat({}, kStart);
  Beat(heartbeat, kStart + 20s);
  EXPECT_EQ(heartbeat.Next(), kStart + 30s);
  EXPECT_FALSE(heartbeat.Check(kStart + 29s, 0).dead);
  const auto verdict = heartbeat.Check(kStart + 30s, 0);
  ASSERT_TRUE(verdict.dead);
  EXPECT_EQ(verdict.dead->reason, Reason::kPongTimeout);
}

TEST(Heartbeat, ABeatBehindALongWriteDoesNotWaitForItsAnswerYet) {
  Heartbeat heartbeat({}, kStart);
  heartbeat.Beaten(kStart + 20s);
  EXPECT_FALSE(heartbeat.Check(kStart + 35s, 0).dead);
  heartbeat.BeatBegan(kStart + 35s);
  EXPECT_FALSE(heartbeat.Check(kStart + 44s, 0).dead);
  EXPECT_TRUE(heartbeat.Check(kStart + 45s, 0).dead);
}

TEST(Heartbeat, DataDoesNotStandForAPong) {
  Heartbeat heartbeat({}, kStart);
  Beat(heartbeat, kStart + 20s);
  heartbeat.Received("data", kStart + 25s);
  EXPECT_TRUE(heartbeat.Check(kStart + 30s, 0).dead);
}

TEST(Heartbeat, APongTellsTheRoundTrip) {
  Heartbeat heartbeat({}, kStart);
  EXPECT_FALSE(heartbeat.round_trip());
  Beat(heartbeat, kStart + 20s);
  heartbeat.Pong(kStart + 20s + 30ms);
  EXPECT_EQ(heartbeat.round_trip(), 30ms);
  EXPECT_EQ(heartbeat.Next(), kStart + 40s);
  heartbeat.Pong(kStart + 21s);  // An unasked one says nothing.
  EXPECT_EQ(heartbeat.round_trip(), 30ms);
}

TEST(Heartbeat, WaitsForTheFirstUnansweredBeat) {
  Heartbeat heartbeat({.interval = 5s}, kStart);
  Beat(heartbeat, kStart + 5s);
  Beat(heartbeat, kStart + 10s);
  EXPECT_FALSE(heartbeat.Check(kStart + 14s, 0).dead);
  EXPECT_TRUE(heartbeat.Check(kStart + 15s, 0).dead);
}

TEST(Heartbeat, ATextBeatIsAnsweredByAKeepaliveFrame) {
  HeartbeatPolicy policy{.what = What::kText, .payload = "ping"};
  policy.keepalive.contains = {"pong"};
  Heartbeat heartbeat(policy, kStart);
  Beat(heartbeat, kStart + 20s);
  heartbeat.Pong(kStart + 21s);  // Of somebody's ping frame.
  heartbeat.Received("a trade", kStart + 22s);
  EXPECT_TRUE(heartbeat.Check(kStart + 30s, 0).dead);
  heartbeat.Received(R"({"op":"pong"})", kStart + 23s);
  EXPECT_FALSE(heartbeat.Check(kStart + 30s, 0).dead);
  EXPECT_EQ(heartbeat.round_trip(), 3s);
}

TEST(Heartbeat, ATextBeatWithoutKeepaliveHasNoAnswerToWaitFor) {
  Heartbeat heartbeat({.what = What::kText, .payload = "ping"}, kStart);
  Beat(heartbeat, kStart + 20s);
  EXPECT_FALSE(heartbeat.Check(kStart + 1000s, 0).dead);
}

TEST(Heartbeat, OnlyDataEndsIdleness) {
  HeartbeatPolicy policy;
  policy.idle_timeout = 15s;
  policy.keepalive.contains = {"hb"};
  Heartbeat heartbeat(policy, kStart);
  EXPECT_EQ(heartbeat.Next(), kStart + 15s);
  heartbeat.Received("trade", kStart + 5s);
  EXPECT_EQ(heartbeat.Next(), kStart + 20s);
  heartbeat.Received("hb", kStart + 12s);
  heartbeat.Pong(kStart + 13s);
  EXPECT_FALSE(heartbeat.Check(kStart + 19s, 0).dead);
  const auto verdict = heartbeat.Check(kStart + 20s, 0);
  ASSERT_TRUE(verdict.dead);
  EXPECT_EQ(verdict.dead->reason, Reason::kIdleTimeout);
}

TEST(Heartbeat, AWriteThatDoesNotMoveIsStuck) {
  Heartbeat heartbeat(Quiet(), kStart);
  heartbeat.WriteBegan(kStart);
  EXPECT_EQ(heartbeat.Next(), kStart + 10s);
  EXPECT_FALSE(heartbeat.Check(kStart + 9s, 0).dead);
  const auto verdict = heartbeat.Check(kStart + 10s, 0);
  ASSERT_TRUE(verdict.dead);
  EXPECT_EQ(verdict.dead->reason, Reason::kWriteTimeout);
}

TEST(Heartbeat, AWriteThatIsSlowButMovesIsNot) {
  Heartbeat heartbeat(Quiet(), kStart);
  heartbeat.WriteBegan(kStart);
  for (int second = 9; second < 90; second += 9)
    EXPECT_FALSE(heartbeat.Check(kStart + std::chrono::seconds(second), static_cast<uint64_t>(second)).dead);
  EXPECT_EQ(heartbeat.Next(), kStart + 91s);
  heartbeat.WriteEnded();
  EXPECT_FALSE(heartbeat.Next());
}

// Whoever calls Check when Next says so, and does what it says, never calls in vain for ever and never beats too early.
TEST(Heartbeat, KeepsItsPromisesWhateverHappens) {
  ForEachSeed(300, [](Draws& draws) {
    HeartbeatPolicy policy;
    const auto span = [&](uint64_t most) { return draws.OneIn(3) ? Duration::zero() : 1ms + draws.Milliseconds(most); };
    policy.interval = span(5000);
    policy.pong_timeout = span(3000);
    policy.idle_timeout = span(8000);
    policy.write_timeout = 1ms + draws.Milliseconds(3000);
    policy.what = draws.OneIn(2) ? What::kPing : What::kText;
    if (draws.OneIn(2)) policy.keepalive.contains = {"hb"};
    Heartbeat heartbeat(policy, kStart);
    SteadyTime now = kStart;
    SteadyTime last_beat = kStart;
    SteadyTime last_data = kStart;
    std::optional<SteadyTime> write_began;
    uint64_t acknowledged = 0;
    for (int step = 0; step < 300; ++step) {
      const auto next = heartbeat.Next();
      if (!next) {
        EXPECT_TRUE(policy.interval == 0s && policy.idle_timeout == 0s);
      }
      const SteadyTime event = now + draws.Milliseconds(1500);
      if (next && *next <= event) {
        now = std::max(now, *next);
        const auto verdict = heartbeat.Check(now, acknowledged);
        if (verdict.dead) {
          switch (verdict.dead->reason) {
            case Reason::kIdleTimeout:
              EXPECT_GE(now - last_data, policy.idle_timeout);
              break;
            case Reason::kWriteTimeout:
              ASSERT_TRUE(write_began);
              EXPECT_GE(now - *write_began, policy.write_timeout);
              break;
            default:
              EXPECT_EQ(verdict.dead->reason, Reason::kPongTimeout);
              EXPECT_GE(now - kStart, policy.interval + policy.pong_timeout);
          }
          return;
        }
        if (verdict.beat) {
          EXPECT_GE(now - last_beat, policy.interval);
          last_beat = now;
          Beat(heartbeat, now);
        }
        if (const auto again = heartbeat.Next()) {
          EXPECT_GT(*again, now) << "calls for a check, and it changes nothing";
        }
        continue;
      }
      now = event;
      switch (draws.Below(6)) {
        case 0:
          heartbeat.Received("data", last_data = now);
          break;
        case 1:
          heartbeat.Received("hb", now);
          if (policy.keepalive.empty()) last_data = now;
          break;
        case 2:
          heartbeat.Pong(now);
          break;
        case 3:
          heartbeat.WriteBegan(now);
          write_began = write_began.value_or(now);
          break;
        case 4:
          heartbeat.WriteEnded();
          write_began.reset();
          break;
        default:
          ++acknowledged;
      }
    }
  });
}

}  // namespace
}  // namespace fairlead
