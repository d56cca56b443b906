// Setup that knows credentials: what a session asks its owner for, and what it does without one.
#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

SetupStep Login() {
  return {.key = "login", .payload = {}, .expect = {{"welcome"}}, .reject = {{"refused"}}, .ask = true};
}

SessionOptions Signing() {
  SessionOptions options = With({Login(), Step("sub")});
  options.linger = 10min;
  return options;
}

SessionOptions Asking() {
  SessionOptions options = PlainOptions();
  options.ask_before_dial = true;
  options.linger = 10min;
  return options;
}

// A conversation, and what is asked and answered in it.
struct Signed : Conversation {
  explicit Signed(SessionOptions options = Signing(), const Limits& bounds = {})
      : Conversation(std::move(options), bounds) {}

  void AnswerStep(uint64_t id, const std::string& payload, uint64_t generation, const std::string& key = "login") {
    Send({.id = id, .payload = payload, .generation = generation, .answers = key});
  }
  // A transport whose login is asked for.
  void Dialled() {
    dialler.Accept();
    Read();
  }
  // The exchange cuts, and the pause is over.
  void Drop() {
    peer().End();
    time.Advance(1min);
  }
  void Open(SessionOptions options) {
    const auto session = Testbed::Open(std::move(options));
    owner = std::make_unique<Subscriber>(session);
    session->Resume();
  }
};

TEST(AskedStep, IsWrittenAsTheOwnerAnswersIt) {
  Signed talk;
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "OPENING g1", "asked login g1 #1"));
  EXPECT_THAT(talk.peer().Messages(), IsEmpty());
  talk.AnswerStep(7, "signed at noon", 1);
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("signed at noon"));
  EXPECT_THAT(talk.Read(), ElementsAre("7 WRITTEN")) << "and now the exchange's word";
  talk.peer().Text("welcome");
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("signed at noon", "do sub"));
  EXPECT_THAT(talk.Read(), ElementsAre("text welcome", "OPEN g1"));
}

TEST(AskedStep, IsAskedAnewOnEachTransport) {
  Signed talk;
  talk.Dialled();
  talk.peer().takes_writes = false;
  talk.AnswerStep(1, "first", 1);
  talk.Drop();
  EXPECT_THAT(talk.Read(), ElementsAre("1 UNKNOWN CONNECTION_LOST", HasSubstr("RECONNECTING"), "CONNECTING #2"));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("OPENING g2"), "asked login g2 #2"));
  EXPECT_THAT(talk.peer().Messages(), IsEmpty()) << "the old signature is not stored";
}

TEST(AskedStep, RefusesAnAnswerForAnotherTransport) {
  Signed talk;
  talk.Dialled();
  talk.Drop();
  talk.Dialled();
  talk.AnswerStep(1, "late", 1);
  talk.AnswerStep(2, "early", 3);
  EXPECT_THAT(talk.Read(), ElementsAre("1 NOT_SENT WRONG_GENERATION", "2 NOT_SENT WRONG_GENERATION"));
  EXPECT_THAT(talk.peer().Messages(), IsEmpty());
}

TEST(AskedStep, RefusesAnAnswerThatNobodyAskedFor) {
  Signed talk;
  talk.Dialled();
  talk.AnswerStep(1, "x", 1, "sub");
  talk.AnswerStep(2, "x", 1, "unknown");
  talk.AnswerStep(3, "signed", 1);
  talk.AnswerStep(4, "again", 1);
  EXPECT_THAT(talk.Read(),
              ElementsAre("1 NOT_SENT NOT_ASKED", "2 NOT_SENT NOT_ASKED", "4 NOT_SENT NOT_ASKED", "3 WRITTEN"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("signed"));
  talk.peer().Text("welcome");
  talk.time.Settle();
  talk.AnswerStep(5, "x", 1);
  EXPECT_THAT(talk.Read(), ElementsAre("text welcome", "OPEN g1", "5 NOT_SENT WRONG_GENERATION"));
}

TEST(AskedStep, WhatTheExchangeSaysBeforeTheAnswerIsNoReplyToIt) {
  Signed talk;
  talk.Dialled();
  talk.peer().Text("welcome, please log in, or be refused");
  EXPECT_THAT(talk.Read(), ElementsAre("text welcome, please log in, or be refused"));
  talk.AnswerStep(1, "signed", 1);
  talk.time.Settle();
  EXPECT_EQ(talk.session().state(), State::kOpening);
  talk.peer().Text("refused");
  EXPECT_TRUE(talk.peer().goodbye) << "but now it is";
}

TEST(AskedStep, CountsAgainstTheSendQueue) {
  Signed talk(Signing(), {.send_queue_bytes = 100});
  talk.Dialled();
  talk.AnswerStep(1, std::string(37, 'x'), 1);
  EXPECT_THAT(talk.Read(), ElementsAre("1 NOT_SENT LIMIT_REACHED"));
  talk.AnswerStep(2, std::string(36, 'x'), 1);
  EXPECT_EQ(talk.peer().Messages().size(), 1u) << "it may still be answered";
}

TEST(AskedStep, FailsTheTransportWhenTheOwnerDoesNotAnswer) {
  Signed talk;
  talk.Dialled();
  talk.time.Advance(10s);
  EXPECT_TRUE(talk.peer().goodbye);
  EXPECT_THAT(talk.Read(), ElementsAre("RECONNECTING #2 in 250ms: ASK_TIMEOUT 1000 "));
  EXPECT_THAT(talk.After(1s), ElementsAre("CONNECTING #2")) << "the owner is there: it may be luckier";
}

TEST(AskedStep, FailsTheTransportWhenTheExchangeDoesNotReply) {
  Signed talk;
  talk.Dialled();
  talk.time.Advance(9s);
  talk.AnswerStep(1, "signed", 1);
  talk.time.Settle();
  EXPECT_THAT(talk.Read(), ElementsAre("1 WRITTEN"));
  EXPECT_THAT(talk.After(1s), ElementsAre("RECONNECTING #2 in 250ms: SETUP_TIMEOUT"))
      << "the step's time, with the asking";
}

TEST(AskedStep, WaitsForAnOwnerWhoComesInTime) {
  Signed talk;
  talk.Dialled();
  talk.owner.reset();
  talk.time.Advance(9s);
  talk.Open(Signing());
  EXPECT_THAT(talk.Read(), ElementsAre("asked login g1 #1"));
  talk.AnswerStep(1, "signed", 1);
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("signed"));
}

TEST(AskedStep, WithoutAnOwnerTheSessionParks) {
  Signed talk;
  talk.Dialled();
  Subscriber reader(talk.session().shared_from_this(), {.owner = false});
  talk.owner.reset();
  talk.time.Advance(10s);
  EXPECT_TRUE(talk.peer().goodbye);
  talk.time.Advance(1ms);
  EXPECT_THAT(reader.Read(), ElementsAre("RECONNECTING #1 in 0ms: NO_OWNER 1000 ", "WAITING"));
  talk.time.Advance(1h);
  EXPECT_THAT(reader.Read(), IsEmpty()) << "it does not dial";
  EXPECT_EQ(talk.dialler.requests.size(), 1u);

  talk.Open(Signing());
  EXPECT_THAT(reader.Read(), ElementsAre("CONNECTING #1"));
  talk.dialler.Accept();
  talk.time.Settle();
  EXPECT_THAT(reader.Read(), ElementsAre(HasSubstr("OPENING g2"))) << "questions are the owner's";
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", HasSubstr("OPENING g2"), "asked login g2 #2"));
}

TEST(AskedStep, AnOpenSessionGoesOnWithoutAnOwnerAndParksAtItsNextLoss) {
  Signed talk;
  talk.Dialled();
  talk.AnswerStep(1, "signed", 1);
  talk.time.Settle();
  talk.peer().Text("welcome");
  talk.time.Settle();
  Subscriber reader(talk.session().shared_from_this(), {.owner = false});
  talk.owner.reset();
  talk.peer().Text("one");
  talk.time.Advance(1min);
  talk.peer().End();
  talk.time.Advance(1min);
  EXPECT_THAT(reader.Read(), ElementsAre("text one", HasSubstr("RECONNECTING"), "WAITING"));
}

TEST(AskedStep, AParkedSessionLingersAndCloses) {
  Signed talk;
  talk.Dialled();
  talk.owner.reset();
  talk.time.Advance(10s);
  talk.time.Advance(10min - 10s - 1ms);
  EXPECT_EQ(talk.registry.size(), 1u);
  talk.time.Advance(1ms);
  EXPECT_EQ(talk.registry.size(), 0u);
}

TEST(AskedStep, AnOutageEndsWhenTheOwnerComesBack) {
  SessionOptions options = Signing();
  options.reconnect.max_outage = 5min;
  Signed talk(options);
  talk.Dialled();
  talk.owner.reset();
  talk.time.Advance(10s);
  talk.time.Advance(9min);
  talk.Open(options);
  talk.dialler.Refuse();
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", HasSubstr("RECONNECTING #2"))) << "it was nobody's outage";
}

TEST(AskedStep, ATakeoverIsAskedWhatTheFormerOwnerWas) {
  Signed talk;
  talk.Dialled();
  const auto former = std::exchange(talk.owner, nullptr);
  talk.Open(Signing());
  EXPECT_THAT(former->Read(), ElementsAre("ended: SUPERSEDED"));
  EXPECT_THAT(talk.Read(), ElementsAre("asked login g1 #1"));
}

TEST(AskedStep, IsAskedForNoMoreWhenTheSessionCloses) {
  Signed talk;
  talk.Dialled();
  talk.session().Close({Reason::kClosed});
  talk.AnswerStep(1, "signed", 1);
  talk.time.Advance(10s);
  EXPECT_THAT(talk.Read(), ElementsAre("1 NOT_SENT WRONG_GENERATION", "CLOSED: CLOSED 1000 ", "ended: CLOSED, closed"));
}

TEST(AskBeforeDial, TheDialWaitsForTheAnswer) {
  Signed talk(Asking());
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "asked before dial g1 #1"));
  EXPECT_THAT(talk.dialler.requests, IsEmpty());
  ASSERT_TRUE(talk.session().Answer(
      1, Target{{"ws", false, "other.example.com", 81, Secret("/ws/key1")}, {{"X-Token", "t1"}}}));
  ASSERT_EQ(talk.dialler.requests.size(), 1u);
  EXPECT_EQ(talk.dialler.requests[0].url.Redacted(), "ws://other.example.com:81/ws/key1");
  EXPECT_EQ(talk.dialler.requests[0].headers.at(0).value.Reveal(), "t1");
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g1", "OPEN g1"));
  EXPECT_EQ(talk.session().options().url.host, "stream.example.com") << "what it was opened with is what it is";

  talk.peer().End();
  EXPECT_THAT(talk.After(1s), ElementsAre(HasSubstr("RECONNECTING"), "CONNECTING #2", "asked before dial g2 #2"));
  ASSERT_TRUE(talk.session().Answer(2, std::nullopt));
  EXPECT_EQ(talk.dialler.requests[1].url.host, "other.example.com") << "where the last dial went";
}

TEST(AskBeforeDial, RefusesAnAnswerToAnotherQuestion) {
  Signed talk(Asking());
  talk.time.Advance(10s);
  EXPECT_THAT(talk.Read(),
              ElementsAre("CONNECTING #1", "RECONNECTING #2 in 250ms: ASK_TIMEOUT", "asked before dial g1 #1"));
  const auto refused = [&](uint64_t number) {
    const auto answered = talk.session().Answer(number, std::nullopt);
    return answered ? Reason::kUnspecified : answered.error().reason;
  };
  EXPECT_EQ(refused(1), Reason::kNotAsked) << "nothing is asked in the pause";
  EXPECT_THAT(talk.After(1s), ElementsAre("CONNECTING #2", "asked before dial g1 #2"));
  EXPECT_EQ(refused(1), Reason::kNotAsked) << "the late answer to the first, for a dial of the same generation";
  EXPECT_EQ(refused(3), Reason::kNotAsked);
  EXPECT_THAT(talk.dialler.requests, IsEmpty());
  EXPECT_EQ(refused(2), Reason::kUnspecified);
  EXPECT_EQ(refused(2), Reason::kNotAsked) << "a second time";
  EXPECT_EQ(talk.dialler.requests.size(), 1u);
}

TEST(AskBeforeDial, AStepIsNotAnsweredSo) {
  Signed talk;
  talk.Dialled();
  EXPECT_FALSE(talk.session().Answer(1, std::nullopt));
}

TEST(AskBeforeDial, WithoutAnOwnerTheSessionParks) {
  Signed talk(Asking());
  talk.Read();
  ASSERT_TRUE(talk.session().Answer(1, std::nullopt));
  talk.Dialled();
  Subscriber reader(talk.session().shared_from_this(), {.owner = false});
  talk.owner.reset();
  talk.Drop();
  EXPECT_THAT(reader.Read(), ElementsAre(HasSubstr("RECONNECTING"), "WAITING"));
  talk.Open(Asking());
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #2", "asked before dial g2 #2"));
}

TEST(AskBeforeDial, AnOwnerWhoGivesTheTargetAtOnceIsNotAsked) {
  Signed talk(Asking());
  const auto former = std::exchange(talk.owner, nullptr);
  SessionOptions told = Asking();
  told.ask_before_dial = false;
  told.url.target = Secret("/ws?token=fresh");
  talk.Open(told);
  ASSERT_EQ(talk.dialler.requests.size(), 1u);
  EXPECT_EQ(talk.dialler.requests[0].url.target.Reveal(), "/ws?token=fresh");
  EXPECT_THAT(talk.Read(), IsEmpty());
  talk.time.Advance(1min);
  EXPECT_THAT(talk.Read(), IsEmpty()) << "nor does the question time out";
}

TEST(SetTarget, HoldsFromTheNextDialOn) {
  Conversation talk;
  talk.Connect();
  Target next{talk.session().options().url, {}};
  next.url.target = Secret("/other");
  talk.session().SetTarget(next);
  EXPECT_TRUE(talk.peer().live());
  talk.session().Reconnect(1);
  talk.peer().End();
  talk.time.Advance(1s);
  ASSERT_EQ(talk.dialler.requests.size(), 2u);
  EXPECT_EQ(talk.dialler.requests[1].url.target.Reveal(), "/other");
}

}  // namespace
}  // namespace fairlead
