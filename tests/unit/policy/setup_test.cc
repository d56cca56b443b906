#include "policy/setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/random.h"

namespace fairlead {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Verdict = Setup::Verdict;

// Tests say fairlead::Setup: testing::Test has a member of that name.

SetupStep Plain(const std::string& key) { return {.key = key, .payload = "do " + key}; }
SetupStep Expecting(const std::string& key, const std::string& expect, const std::string& reject = "") {
  SetupStep step = Plain(key);
  step.expect.contains = {expect};
  if (!reject.empty()) step.reject.contains = {reject};
  return step;
}

TEST(Setup, WithoutStepsIsDoneAtOnce) {
  fairlead::Setup setup({});
  EXPECT_FALSE(setup.running());
  EXPECT_EQ(setup.Begin(), Verdict::kDone);
  EXPECT_FALSE(setup.running());
}

TEST(Setup, AStepWithoutExpectIsDoneWhenWritten) {
  fairlead::Setup setup({Plain("a"), Plain("b")});
  EXPECT_EQ(setup.Begin(), Verdict::kSend);
  EXPECT_EQ(setup.current().key, "a");
  EXPECT_EQ(setup.Received("anything"), Verdict::kWait);
  EXPECT_EQ(setup.Written("a"), Verdict::kSend);
  EXPECT_EQ(setup.current().key, "b");
  EXPECT_EQ(setup.Written("b"), Verdict::kDone);
  EXPECT_FALSE(setup.running());
}

TEST(Setup, AStepWithExpectIsDoneWhenAFrameMatches) {
  fairlead::Setup setup({Expecting("login", "\"ok\""), Plain("sub")});
  EXPECT_EQ(setup.Begin(), Verdict::kSend);
  EXPECT_EQ(setup.Written("login"), Verdict::kWait);
  EXPECT_EQ(setup.Received("a trade"), Verdict::kWait);
  EXPECT_EQ(setup.Received(R"({"login":"ok"})"), Verdict::kSend);
  EXPECT_EQ(setup.current().key, "sub");
}

TEST(Setup, AStepThatAsksIsSentByItsAnswer) {
  SetupStep login = Expecting("login", "ok", "no");
  login.ask = true;
  fairlead::Setup setup({login, Plain("sub")});
  EXPECT_TRUE(setup.Asks());
  EXPECT_EQ(setup.Begin(), Verdict::kAsk);
  EXPECT_TRUE(setup.asking());
  EXPECT_EQ(setup.Received("ok"), Verdict::kWait) << "nothing was said yet that this could answer";
  EXPECT_EQ(setup.Received("no"), Verdict::kWait);
  EXPECT_FALSE(setup.Answer("sub"));
  EXPECT_TRUE(setup.Answer("login"));
  EXPECT_FALSE(setup.asking());
  EXPECT_FALSE(setup.Answer("login")) << "once";
  EXPECT_EQ(setup.Written("login"), Verdict::kWait);
  EXPECT_EQ(setup.Received("ok"), Verdict::kSend);
  EXPECT_FALSE(setup.Answer("sub")) << "does not ask";
  EXPECT_EQ(setup.Written("sub"), Verdict::kDone);
  EXPECT_FALSE(setup.Answer("login")) << "over";
  EXPECT_EQ(setup.Begin(), Verdict::kAsk) << "anew for each transport";
  EXPECT_TRUE(setup.asking());
}

TEST(Setup, AStepThatAsksWithoutExpectIsDoneWhenItsAnswerIsWritten) {
  SetupStep login = Plain("login");
  login.ask = true;
  fairlead::Setup setup({login});
  EXPECT_EQ(setup.Begin(), Verdict::kAsk);
  EXPECT_TRUE(setup.Answer("login"));
  EXPECT_EQ(setup.Written("login"), Verdict::kDone);
  EXPECT_FALSE(setup.asking());
}

TEST(Setup, OnlyStoredStepsAsk) {
  SetupStep login = Plain("login");
  login.ask = true;
  fairlead::Setup setup({login});
  setup.Begin();
  setup.Store(Plain("login"));
  EXPECT_FALSE(setup.Asks()) << "the next transport needs no owner";
  EXPECT_TRUE(setup.asking()) << "the run under way goes on with what it began with";
}

TEST(Setup, TheAnswerMayOvertakeTheNewsOfTheWrite) {
  fairlead::Setup setup({Expecting("login", "ok"), Plain("sub")});
  setup.Begin();
  EXPECT_EQ(setup.Received("ok"), Verdict::kSend);
  EXPECT_EQ(setup.Written("login"), Verdict::kWait) << "late news of the step before";
  EXPECT_EQ(setup.current().key, "sub");
  EXPECT_EQ(setup.Written("sub"), Verdict::kDone);
}

TEST(Setup, AFrameMatchesOneStepOnly) {
  fairlead::Setup setup({Expecting("a", "ok"), Expecting("b", "ok")});
  setup.Begin();
  EXPECT_EQ(setup.Received("ok"), Verdict::kSend);
  EXPECT_EQ(setup.current().key, "b");
  EXPECT_EQ(setup.Received("ok"), Verdict::kDone);
}

TEST(Setup, ARejectWinsOverAnExpect) {
  fairlead::Setup setup({Expecting("login", "login", "denied")});
  setup.Begin();
  EXPECT_EQ(setup.Received("login denied"), Verdict::kRejected);
  EXPECT_EQ(setup.current().key, "login");
}

TEST(Setup, AllPartsMustOccurInOneFrame) {
  SetupStep step = Plain("login");
  step.expect.contains = {"login", "ok"};
  fairlead::Setup setup({step});
  setup.Begin();
  EXPECT_EQ(setup.Received("login"), Verdict::kWait);
  EXPECT_EQ(setup.Received("ok"), Verdict::kWait);
  EXPECT_EQ(setup.Received("ok, that is your login"), Verdict::kDone);
}

TEST(Setup, ANewTransportBeginsWithTheFirstStep) {
  fairlead::Setup setup({Plain("a"), Plain("b")});
  setup.Begin();
  setup.Written("a");
  EXPECT_EQ(setup.Begin(), Verdict::kSend);
  EXPECT_EQ(setup.current().key, "a");
}

TEST(Setup, StoresInPlaceOrAsTheLastAndForgets) {
  fairlead::Setup setup({Plain("login"), Plain("btc")});
  setup.Store(Plain("eth"));
  EXPECT_THAT(setup.Keys(), ElementsAre("login", "btc", "eth"));
  setup.Store({.key = "btc", .payload = "another"});
  EXPECT_THAT(setup.Keys(), ElementsAre("login", "btc", "eth"));
  setup.Forget("login");
  setup.Forget("unknown");
  EXPECT_THAT(setup.Keys(), ElementsAre("btc", "eth"));
  EXPECT_NE(setup.Find("eth"), nullptr);
  EXPECT_EQ(setup.Find("login"), nullptr);
  setup.Begin();
  EXPECT_EQ(setup.current().payload, "another");
}

TEST(Setup, CountsPayloadsAndMatches) {
  fairlead::Setup setup({Expecting("a", "12345", "678"), {.key = "b", .payload = "pp"}});
  EXPECT_EQ(setup.bytes(), 4u + 5u + 3u + 2u);
  setup.Forget("a");
  EXPECT_EQ(setup.bytes(), 2u);
  setup.Forget("b");
  EXPECT_EQ(setup.bytes(), 0u);
  EXPECT_THAT(setup.Keys(), IsEmpty());
}

// Steps come in order, each once, and the run is done after the last.
TEST(Setup, RunsEachStepOnceInOrderWhateverHappens) {
  ForEachSeed(200, [](Draws& draws) {
    std::vector<SetupStep> steps;
    for (uint64_t i = draws.Below(6); i > 0; --i) {
      const std::string key = "k" + std::to_string(i);
      steps.push_back(draws.OneIn(2) ? Plain(key) : Expecting(key, "ok"));
    }
    fairlead::Setup setup(steps);
    std::vector<std::string> sent;
    Verdict verdict = setup.Begin();
    for (int i = 0; i < 1000 && verdict != Verdict::kDone; ++i) {
      if (verdict == Verdict::kSend) sent.push_back(setup.current().key);
      switch (draws.Below(4)) {
        case 0:
          verdict = setup.Received("ok");
          break;
        case 1:
          verdict = setup.Received("noise");
          break;
        default:
          verdict = setup.Written(draws.OneIn(3) ? "other" : setup.current().key);
      }
    }
    EXPECT_EQ(verdict, Verdict::kDone);
    EXPECT_EQ(sent, setup.Keys());
    EXPECT_EQ(setup.Received("ok"), Verdict::kWait) << "after the run frames mean nothing";
    EXPECT_EQ(setup.Written("k1"), Verdict::kWait);
  });
}

}  // namespace
}  // namespace fairlead
