#include "policy/lifecycle.h"

#include <gtest/gtest.h>

#include "support/random.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime kStart{1h};
constexpr WallTime kWall{1000h};

Loss Because(Reason reason, bool fatal = false) {
  return {.cause = {reason, Phase::kUnspecified, "for the test"}, .fatal = fatal};
}
const Loss kLost = Because(Reason::kConnectionLost);
const Loss kRefused = Because(Reason::kConnectFailed);

// A lifecycle that has been OPEN since kStart.
Lifecycle Opened(const ReconnectPolicy& policy) {
  Lifecycle lifecycle(policy);
  lifecycle.Start(kStart);
  lifecycle.Dialled(kWall, lifecycle.NextGeneration());
  lifecycle.SetUp(kStart);
  return lifecycle;
}

TEST(Lifecycle, ConnectsAndOpens) {
  Lifecycle lifecycle({});
  StateChange change = lifecycle.Start(kStart);
  EXPECT_EQ(change.state, State::kConnecting);
  EXPECT_EQ(change.attempt, 1u);
  EXPECT_EQ(change.generation, 0u);

  change = lifecycle.Dialled(kWall, lifecycle.NextGeneration());
  EXPECT_EQ(change.state, State::kOpening);
  EXPECT_EQ(change.generation, 1u);
  EXPECT_FALSE(change.blind_from) << "the first transport follows no other";

  change = lifecycle.SetUp(kStart);
  EXPECT_EQ(change.state, State::kOpen);
  EXPECT_EQ(change.generation, 1u);
  EXPECT_FALSE(change.cause);
}

TEST(Lifecycle, ASteadyTransportIsReplacedAtOnce) {
  Lifecycle lifecycle = Opened({});
  const StateChange change = lifecycle.Lost(kStart + 10s, kLost, 0.9);
  EXPECT_EQ(change.state, State::kReconnecting);
  EXPECT_EQ(change.retry_in, 0s);
  EXPECT_EQ(change.attempt, 1u);
  EXPECT_EQ(change.cause->reason, Reason::kConnectionLost);
  EXPECT_EQ(lifecycle.RetryDue().attempt, 1u);
}

TEST(Lifecycle, ASteadyTransportIsReplacedAfterAPauseIfSoWanted) {
  Lifecycle lifecycle = Opened({.first_retry_at_once = false});
  EXPECT_EQ(lifecycle.Lost(kStart + 10s, kLost, 0.5).retry_in, 250ms);
}

TEST(Lifecycle, AFlappingTransportPausesLongerEachTime) {
  Lifecycle lifecycle = Opened({});
  SteadyTime now = kStart;
  uint32_t attempt = 1;
  for (const Duration pause : {250ms, 500ms, 1000ms, 2000ms, 4000ms, 8000ms, 15'000ms, 15'000ms}) {
    const StateChange change = lifecycle.Lost(now += 9s, kLost, 0.5);
    EXPECT_EQ(change.retry_in, pause);
    EXPECT_EQ(change.attempt, ++attempt);
    EXPECT_EQ(lifecycle.RetryDue().attempt, attempt);
    lifecycle.Dialled(kWall, lifecycle.NextGeneration());
    lifecycle.SetUp(now);
  }
  // Until one stays.
  EXPECT_EQ(lifecycle.Lost(now + 10s, kLost, 0.5).attempt, 1u);
}

TEST(Lifecycle, StableAfterZeroForgivesEveryOpenTransport) {
  Lifecycle lifecycle = Opened({.max_attempts = 1, .stable_after = 0s});
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(lifecycle.Lost(kStart, kLost, 0.5).state, State::kReconnecting);
    lifecycle.RetryDue();
    lifecycle.Dialled(kWall, lifecycle.NextGeneration());
    lifecycle.SetUp(kStart);
  }
}

TEST(Lifecycle, ATransportLostBeforeItIsOpenIsAFailedDial) {
  Lifecycle lifecycle({.stable_after = 0s});
  lifecycle.Start(kStart);
  lifecycle.Dialled(kWall, lifecycle.NextGeneration());
  const StateChange change = lifecycle.Lost(kStart + 1h, kLost, 0.5);
  EXPECT_EQ(change.attempt, 2u);
  EXPECT_EQ(change.retry_in, 250ms);
}

TEST(Lifecycle, ParksWithoutAnOwnerAndTakesNoAccountOfIt) {
  Lifecycle lifecycle({.enabled = false, .max_attempts = 1, .max_outage = 1min});
  lifecycle.Start(kStart);
  lifecycle.Dialled(kWall, lifecycle.NextGeneration());
  StateChange change = lifecycle.Lost(kStart + 10s, Because(Reason::kNoOwner), 0.5);
  EXPECT_EQ(change.state, State::kReconnecting);
  EXPECT_EQ(change.retry_in, 0s);
  EXPECT_EQ(change.attempt, 1u) << "the exchange has not failed";
  change = lifecycle.Park();
  EXPECT_EQ(change.state, State::kWaiting);
  EXPECT_EQ(change.generation, 1u);
  change = lifecycle.OwnerCame(kStart + 24h);
  EXPECT_EQ(change.state, State::kConnecting);
  EXPECT_EQ(change.attempt, 1u);
  EXPECT_EQ(lifecycle.Dialled(kWall, lifecycle.NextGeneration()).generation, 2u);
  EXPECT_EQ(lifecycle.Lost(kStart + 24h + 1s, Because(Reason::kReconnectRequested), 0.5).state, State::kReconnecting)
      << "the outage began with the owner";
}

TEST(Lifecycle, RetryAfterOutweighsAShorterPause) {
  Lifecycle lifecycle({});
  lifecycle.Start(kStart);
  Loss loss = Because(Reason::kUpgradeRefused);
  loss.cause.retry_after = 7s;
  EXPECT_EQ(lifecycle.Lost(kStart, loss, 0.5).retry_in, 7s);
  lifecycle.RetryDue();
  loss.cause.retry_after = 1ms;
  EXPECT_EQ(lifecycle.Lost(kStart, loss, 0.5).retry_in, 500ms);
}

TEST(Lifecycle, EndsAfterSoManyFailedDials) {
  Lifecycle lifecycle({.max_attempts = 3});
  lifecycle.Start(kStart);
  EXPECT_EQ(lifecycle.Lost(kStart, kRefused, 0).state, State::kReconnecting);
  lifecycle.RetryDue();
  EXPECT_EQ(lifecycle.Lost(kStart, kRefused, 0).state, State::kReconnecting);
  EXPECT_EQ(lifecycle.RetryDue().attempt, 3u);
  const StateChange end = lifecycle.Lost(kStart, kRefused, 0);
  EXPECT_EQ(end.state, State::kClosed);
  EXPECT_EQ(end.cause->reason, Reason::kAttemptsExhausted);
  EXPECT_NE(end.cause->message.find("CONNECT_FAILED"), std::string::npos) << "keeps the last cause";
}

TEST(Lifecycle, EndsWhenTheOutageLastsTooLong) {
  Lifecycle lifecycle = Opened({.max_outage = 20s});
  EXPECT_EQ(lifecycle.Lost(kStart + 15s, kLost, 0.9).state, State::kReconnecting) << "it was stable until then";
  lifecycle.RetryDue();
  EXPECT_EQ(lifecycle.Lost(kStart + 34s, kRefused, 0).state, State::kReconnecting);
  lifecycle.RetryDue();
  const StateChange end = lifecycle.Lost(kStart + 35s, kRefused, 0.5);
  EXPECT_EQ(end.state, State::kClosed) << "the pause would outlast it";
  EXPECT_EQ(end.cause->reason, Reason::kOutageExhausted);
}

TEST(Lifecycle, ATransportThatWasNotStableDoesNotEndTheOutage) {
  Lifecycle lifecycle({.max_outage = 10s});
  lifecycle.Start(kStart);
  lifecycle.Lost(kStart + 5s, kRefused, 0);
  lifecycle.RetryDue();
  lifecycle.Dialled(kWall, lifecycle.NextGeneration());
  lifecycle.SetUp(kStart + 6s);
  EXPECT_EQ(lifecycle.Lost(kStart + 11s, kLost, 0).cause->reason, Reason::kOutageExhausted);
}

TEST(Lifecycle, AFatalLossEnds) {
  Lifecycle lifecycle({});
  lifecycle.Start(kStart);
  const StateChange end = lifecycle.Lost(kStart, Because(Reason::kCertificateRejected, /*fatal=*/true), 0.5);
  EXPECT_EQ(end.state, State::kClosed);
  EXPECT_EQ(end.cause->reason, Reason::kCertificateRejected);
}

TEST(Lifecycle, WithoutReconnectingAnyLossEndsButAWish) {
  Lifecycle lifecycle = Opened({.enabled = false});
  EXPECT_EQ(lifecycle.Lost(kStart, Because(Reason::kReconnectRequested), 0.5).state, State::kReconnecting);
  lifecycle.RetryDue();
  EXPECT_EQ(lifecycle.Lost(kStart, kRefused, 0.5).state, State::kClosed);
}

TEST(Lifecycle, AWishForANewTransportIsNoFailure) {
  Lifecycle lifecycle = Opened({.first_retry_at_once = false, .max_attempts = 1});
  const StateChange change = lifecycle.Lost(kStart + 1s, Because(Reason::kReconnectRequested), 0.9);
  EXPECT_EQ(change.state, State::kReconnecting);
  EXPECT_EQ(change.retry_in, 0s);
  EXPECT_EQ(change.attempt, 1u);
}

TEST(Lifecycle, TellsTheCloseFrameAndTheBlindWindow) {
  Lifecycle lifecycle = Opened({});
  Loss loss = Because(Reason::kPeerClosed);
  loss.close_code = 1012;
  loss.close_reason = "restart";
  loss.last_heard = kWall + 5s;
  StateChange change = lifecycle.Lost(kStart, loss, 0.5);
  EXPECT_EQ(change.close_code, 1012);
  EXPECT_EQ(change.close_reason, "restart");
  lifecycle.RetryDue();
  lifecycle.Lost(kStart, kRefused, 0.5);  // A dial that failed heard nothing.
  lifecycle.RetryDue();
  change = lifecycle.Dialled(kWall + 9s, lifecycle.NextGeneration());
  EXPECT_EQ(change.generation, 2u);
  EXPECT_EQ(change.blind_from, kWall + 5s);
  EXPECT_EQ(change.blind_until, kWall + 9s);
}

TEST(Lifecycle, CloseEndsInEveryState) {
  const Loss wish = Because(Reason::kClosed);
  for (int steps = 0; steps < 4; ++steps) {
    Lifecycle lifecycle({});
    lifecycle.Start(kStart);
    if (steps > 0) lifecycle.Dialled(kWall, lifecycle.NextGeneration());
    if (steps > 1) lifecycle.SetUp(kStart);
    if (steps > 2) lifecycle.Lost(kStart, kLost, 0.5);
    const StateChange end = lifecycle.Close(wish);
    EXPECT_EQ(end.state, State::kClosed);
    EXPECT_EQ(end.cause->reason, Reason::kClosed);
    EXPECT_EQ(lifecycle.state(), State::kClosed);
  }
}

// Random events, judged by a few promises that hold whatever happens.
TEST(Lifecycle, KeepsItsPromisesWhateverHappens) {
  ForEachSeed(500, [](Draws& draws) {
    ReconnectPolicy policy;
    policy.first_retry_at_once = draws.OneIn(2);
    policy.initial_backoff = 1ms + draws.Milliseconds(1000);
    policy.max_backoff = policy.initial_backoff + draws.Milliseconds(10'000);
    policy.stable_after = draws.Milliseconds(3000);
    policy.max_attempts = draws.OneIn(2) ? 0 : static_cast<uint32_t>(draws.Between(1, 5));
    policy.max_outage = draws.OneIn(2) ? 0s : 1ms + draws.Milliseconds(30'000);
    Lifecycle lifecycle(policy);
    SteadyTime now = kStart;
    SteadyTime opened_at = now;
    SteadyTime outage_began = now;
    uint64_t generation = 0;
    uint32_t failures = 0;  // In a row.
    StateChange change = lifecycle.Start(now);
    for (int step = 0; step < 200 && change.state != State::kClosed; ++step) {
      now += draws.Milliseconds(draws.OneIn(4) ? 5000 : 50);
      const State before = change.state;
      const bool lost = before != State::kReconnecting && draws.OneIn(3);
      if (lost) {
        const bool stable = before == State::kOpen && now - opened_at >= policy.stable_after;
        const bool wish = before != State::kConnecting && draws.OneIn(5);
        if (stable) {
          failures = 0;
          outage_began = now;
        } else if (!wish) {
          ++failures;
        }
        change = lifecycle.Lost(now, wish ? Because(Reason::kReconnectRequested) : kLost, draws.Unit());
        ASSERT_TRUE(change.state == State::kReconnecting || change.state == State::kClosed);
        ASSERT_TRUE(change.cause);
        if (change.state == State::kReconnecting) {
          ASSERT_TRUE(change.retry_in);
          EXPECT_GE(*change.retry_in, 0s);
          EXPECT_LE(*change.retry_in, policy.max_backoff);
          EXPECT_TRUE(policy.max_attempts == 0 || failures < policy.max_attempts);
          EXPECT_TRUE(policy.max_outage == 0s || now + *change.retry_in - outage_began <= policy.max_outage);
          EXPECT_EQ(change.attempt, failures + 1);
          now += *change.retry_in;
        } else if (change.cause->reason == Reason::kAttemptsExhausted) {
          EXPECT_EQ(failures, policy.max_attempts);
        } else {
          EXPECT_EQ(change.cause->reason, Reason::kOutageExhausted);
          EXPECT_GT(now + policy.max_backoff - outage_began, policy.max_outage);
        }
      } else if (before == State::kConnecting) {
        change = lifecycle.Dialled(kWall, lifecycle.NextGeneration());
        EXPECT_EQ(change.state, State::kOpening);
        EXPECT_EQ(change.generation, ++generation) << "rises by one with each OPENING";
      } else if (before == State::kOpening) {
        change = lifecycle.SetUp(opened_at = now);
        EXPECT_EQ(change.state, State::kOpen);
      } else if (before == State::kReconnecting) {
        change = lifecycle.RetryDue();
        EXPECT_EQ(change.state, State::kConnecting);
      }
      EXPECT_EQ(change.generation, generation);
      EXPECT_EQ(lifecycle.generation(), generation);
      EXPECT_EQ(lifecycle.state(), change.state);
    }
  });
}

}  // namespace
}  // namespace fairlead
