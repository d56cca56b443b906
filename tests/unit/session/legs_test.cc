// Two transports of one session at once: what one loses or delays the other brings.
#include "support/rotation_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

SessionOptions TwoLegs() {
  SessionOptions options = PlainOptions();
  options.legs = 2;
  options.dedupe = Dedupe{.json_pointer = "/n"};
  options.reconnect.overlap = 1s;
  return options;
}

struct Legs : Conversation {
  explicit Legs(SessionOptions options = TwoLegs(), const Limits& bounds = {})
      : Conversation(std::move(options), bounds) {
    dialler.Accept();
    dialler.Accept();
    began = Read();
  }
  Peer& leg(size_t number) { return *dialler.peers[number - 1]; }

  Lines began;
};

TEST(Legs, TheSecondIsDialledWhenTheFirstIsOpen) {
  Legs talk;
  EXPECT_THAT(talk.began, ElementsAre("CONNECTING #1", "OPENING g1", "OPEN g1", "leg OPENING g2", "leg OPEN g2"));
  EXPECT_EQ(talk.session().generation(), 1u);
}

TEST(Legs, OfEachFrameTheFirstCopyIsJournalled) {
  Legs talk;
  talk.leg(1).Text(Numbered(1));
  talk.leg(2).Text(Numbered(1));
  talk.leg(2).Text(Numbered(2));
  talk.leg(1).Text(Numbered(2));
  talk.leg(2).Text("without a number");
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(1), NumberedEntry(2), "text without a number"));
  const Journal& journal = talk.session().journal();
  EXPECT_EQ(journal.at(journal.head() - 2).generation, 1u);
  EXPECT_EQ(journal.at(journal.head() - 1).generation, 2u);
  EXPECT_EQ(talk.session().counts().received_frames, 5u) << "copies have been received, too";
}

TEST(Legs, SendsAreWrittenToTheFirstAndSubscriptionsToBoth) {
  Legs talk;
  talk.Send(1, "order");
  talk.Send({.id = 2, .payload = "subscribe", .setup_key = "sub"});
  talk.Send({.id = 3, .payload = "unsubscribe", .forget_setup_keys = {"sub"}});
  EXPECT_THAT(talk.Read(), ElementsAre("1 WRITTEN", "2 WRITTEN", "3 WRITTEN"));
  EXPECT_THAT(talk.leg(1).Messages(), ElementsAre("order", "subscribe", "unsubscribe"));
  EXPECT_THAT(talk.leg(2).Messages(), ElementsAre("subscribe", "unsubscribe"));
}

TEST(Legs, WhenTheFirstIsLostTheSecondGoesOnWithoutABlindWindow) {
  SessionOptions options = TwoLegs();
  options.reconnect.stable_after = 0s;
  Legs talk(options);
  talk.leg(1).Text(Numbered(1));
  talk.leg(2).Text(Numbered(1));
  talk.leg(1).Text(Numbered(2));
  talk.Read();
  talk.leg(1).End();
  EXPECT_THAT(talk.Read(), ElementsAre("OPEN g2: CONNECTION_LOST, met 1/1",
                                       "leg RECONNECTING g1 in 0ms: CONNECTION_LOST, 2 frames, 0 copies"));
  talk.leg(2).Text(Numbered(2));
  talk.leg(2).Text(Numbered(3));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(3)));
  talk.Send(1, "order");
  EXPECT_THAT(talk.leg(2).Messages(), ElementsAre("order"));
  EXPECT_THAT(talk.Read(), ElementsAre("1 WRITTEN"));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("leg OPENING g3", "leg OPEN g3"));
}

TEST(Legs, WhenTheSecondIsLostItIsDialledAgainWithAPauseThatGrows) {
  Legs talk;
  talk.leg(2).End();
  EXPECT_THAT(talk.Read(), ElementsAre("leg RECONNECTING g2 in 250ms: CONNECTION_LOST"));
  talk.time.Advance(250ms);
  talk.dialler.Refuse();
  EXPECT_THAT(talk.Read(), ElementsAre("leg RECONNECTING g0 in 500ms: CONNECT_FAILED"));
  EXPECT_EQ(talk.session().last_failure()->reason, Reason::kConnectFailed);
  talk.time.Advance(500ms);
  talk.dialler.Accept();
  talk.Read();
  talk.time.Advance(10s);
  talk.leg(3).End();
  EXPECT_THAT(talk.Read(), ElementsAre("leg RECONNECTING g3 in 0ms: CONNECTION_LOST")) << "it was stable";
  EXPECT_EQ(talk.session().state(), State::kOpen);
}

TEST(Legs, AnAnnouncedEndIsNoPauseWhereTheNextIsOnItsWay) {
  SessionOptions options = TwoLegs();
  options.reconnect.shutdown = {{"going away"}};
  Conversation talk(options);
  talk.dialler.Accept().Text("going away");
  talk.Read();
  talk.dialler.Refuse();
  EXPECT_THAT(talk.Read(), ElementsAre("leg RECONNECTING g0 in 250ms: CONNECT_FAILED")) << "the first pause";
}

// As reconnect says, whichever of the two is lost.
TEST(Legs, TheNextDialComesAsTheReconnectPolicySays) {
  SessionOptions options = TwoLegs();
  options.reconnect.stable_after = 0s;
  options.reconnect.first_retry_at_once = false;
  Legs talk(options);
  talk.leg(1).End();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("OPEN g2"), HasSubstr("leg RECONNECTING g1 in 250ms")));
  talk.time.Advance(250ms);
  talk.dialler.Accept();
  talk.Read();
  Loss loss = Lost();
  loss.cause.retry_after = 7s;
  talk.leg(2).End(loss);
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("OPEN g3"), HasSubstr("leg RECONNECTING g2 in 7000ms")));
  talk.time.Advance(7s);
  talk.dialler.Accept();
  talk.Read();
  talk.session().Reconnect(0);
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("OPEN g4"), HasSubstr("leg RECONNECTING g3 in 0ms")));
}

TEST(Legs, SubscriptionsThatWaitForASetupCountAsWaitingToBeWritten) {
  SessionOptions options = TwoLegs();
  options.setup = {{.key = "login", .payload = "do login", .expect = {{"welcome"}}, .timeout = 1h}};
  Limits limits;
  limits.send_queue_bytes = 3 * (kOutgoingBytes + 9);
  Conversation talk(options, limits);
  talk.dialler.Accept();
  talk.peer().Text("welcome");
  talk.dialler.Accept();
  talk.Read();
  for (uint64_t id = 1; id <= 4; ++id) {
    talk.Send({.id = id, .payload = "subscribe", .setup_key = "s"});
    talk.time.Settle();
  }
  EXPECT_THAT(talk.Read(), ElementsAre("1 WRITTEN", "2 WRITTEN", "3 WRITTEN", "4 NOT_SENT LIMIT_REACHED"));
  talk.peer().Text("welcome");
  talk.Read();
  talk.Send(5, "order");
  EXPECT_THAT(talk.Read(), ElementsAre("5 WRITTEN"));
}

TEST(Legs, WhenBothAreLostItIsAnOutageLikeAnyOther) {
  SessionOptions options = TwoLegs();
  options.reconnect.stable_after = 0s;
  Legs talk(options);
  talk.leg(2).End();
  talk.time.Advance(100ms);
  talk.leg(1).End();
  talk.Read();
  EXPECT_EQ(talk.session().state(), State::kConnecting);
  EXPECT_EQ(talk.dialler.under_way(), 1u) << "the second's dial is the next one";
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("OPENING g3 blind"), "OPEN g3"));
  EXPECT_EQ(talk.dialler.under_way(), 1u) << "and a second is dialled";
}

TEST(Legs, WithoutReconnectOneLostLegIsNotReplaced) {
  SessionOptions options = TwoLegs();
  options.reconnect.enabled = false;
  Legs talk(options);
  talk.leg(2).End();
  EXPECT_THAT(talk.Read(), ElementsAre("leg CLOSED g2: CONNECTION_LOST"));
  EXPECT_THAT(talk.After(1h), IsEmpty());
  talk.leg(1).End();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("CLOSED: CONNECTION_LOST"), HasSubstr("ended: ")));
}

TEST(Legs, OneThatLagsTooFarIsReplaced) {
  SessionOptions options = TwoLegs();
  options.max_leg_lag = 100ms;
  Legs talk(options);
  for (int n = 1; n <= 3; ++n) {
    talk.leg(1).Text(Numbered(n));
    talk.time.Advance(50ms);
  }
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(1), NumberedEntry(2), NumberedEntry(3)));
  talk.leg(1).Text(Numbered(4));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(4), HasSubstr("leg RECONNECTING g2 in 250ms: LEG_LAGS")));
  EXPECT_TRUE(talk.leg(2).goodbye);
}

TEST(Legs, OneThatLagsALittleIsNot) {
  SessionOptions options = TwoLegs();
  options.max_leg_lag = 100ms;
  Legs talk(options);
  talk.leg(1).Text(Numbered(0));
  for (int n = 1; n <= 100; ++n) {
    talk.leg(1).Text(Numbered(n));
    talk.time.Advance(50ms);
    talk.leg(2).Text(Numbered(n - 1));
  }
  talk.leg(2).Text(Numbered(100));
  EXPECT_FALSE(talk.leg(2).goodbye);
  talk.Read();
  talk.time.Advance(1h);
  talk.leg(1).Text(Numbered(200));
  EXPECT_THAT(talk.Read(), testing::Not(Contains(HasSubstr("LEG_LAGS")))) << "what nobody sent delays nobody";
}

TEST(Legs, WhereTheFirstLagsTheSecondTakesItsPlace) {
  SessionOptions options = TwoLegs();
  options.max_leg_lag = 100ms;
  Legs talk(options);
  talk.leg(2).Text(Numbered(1));
  talk.leg(1).Text(Numbered(1));
  talk.leg(2).Text(Numbered(2));
  talk.time.Advance(101ms);
  talk.leg(2).Text(Numbered(3));
  EXPECT_THAT(talk.Read(),
              ElementsAre(NumberedEntry(1), NumberedEntry(2), NumberedEntry(3), "OPEN g2: LEG_LAGS, met 3/1"));
  EXPECT_THAT(talk.After(1s), ElementsAre(HasSubstr("leg CLOSED g1: LEG_LAGS")));
  EXPECT_EQ(talk.dialler.under_way(), 1u);
}

TEST(Legs, AnAgedFirstIsReplacedByTheSecondAndAnAgedSecondByANewOne) {
  SessionOptions options = TwoLegs();
  options.reconnect.max_age = 100s;
  Legs talk(options);
  talk.leg(1).Text(Numbered(1));
  talk.leg(2).Text(Numbered(1));
  talk.Read();
  talk.time.Advance(50s);
  talk.leg(2).End();
  talk.time.Advance(1s);
  talk.dialler.Accept();
  talk.leg(3).Text(Numbered(2));
  talk.leg(1).Text(Numbered(2));
  talk.Read();
  EXPECT_THAT(talk.After(44s), ElementsAre("OPEN g3: MAX_AGE, met 1/1"));
  EXPECT_THAT(talk.After(1s), ElementsAre(HasSubstr("leg CLOSED g1: MAX_AGE")));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("leg OPENING g4", "leg OPEN g4"));
}

TEST(Legs, WithoutAnOwnerWhoAnswersTheSecondIsNotDialled) {
  SessionOptions options = TwoLegs();
  options.ask_before_dial = true;
  options.linger = 1h;
  Conversation talk(options);
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "asked before dial g1 #1"));
  ASSERT_TRUE(talk.session().Answer(1, std::nullopt));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g1", "OPEN g1", "asked before dial g2 #2"));
  const auto session = talk.registry.Find("dev", "md");
  talk.owner.reset();
  talk.time.Advance(1min);
  EXPECT_EQ(talk.dialler.under_way(), 0u);
  EXPECT_EQ(session->state(), State::kOpen);
  talk.owner = std::make_unique<Subscriber>(talk.Open(options));
  talk.owner->session().Resume();
  EXPECT_THAT(talk.Read(), ElementsAre("asked before dial g2 #3"));
  ASSERT_TRUE(talk.session().Answer(3, std::nullopt));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("leg OPENING g2", "leg OPEN g2"));
}

TEST(Legs, AnotherOwnerMayWantOneLegOrTwo) {
  Legs talk;
  SessionOptions one = TwoLegs();
  one.legs = 1;
  talk.owner = std::make_unique<Subscriber>(talk.Open(one));
  EXPECT_THAT(talk.Read(), ElementsAre("leg CLOSED g2: SUPERSEDED 1000 "));
  EXPECT_THAT(talk.After(1h), IsEmpty());
  talk.owner = std::make_unique<Subscriber>(talk.Open(TwoLegs()));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("leg OPENING g3", "leg OPEN g3"));
  talk.leg(1).Text(Numbered(1));
  talk.leg(3).Text(Numbered(1));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(1)));
}

TEST(Legs, StatisticsTellWhichLegWinsAndWhatItMisses) {
  Legs talk;
  for (int n = 1; n <= 10; ++n) {
    talk.leg(1).Text(Numbered(n));
    talk.time.Advance(50ms);
    if (n != 5) talk.leg(2).Text(Numbered(n));
  }
  talk.time.Advance(5s);
  const auto legs = talk.session().Legs();
  ASSERT_EQ(legs.size(), 2u);
  EXPECT_EQ(legs[0].generation, 1u);
  EXPECT_EQ(legs[0].state, State::kOpen);
  EXPECT_EQ(legs[0].received_frames, 10u);
  EXPECT_EQ(legs[0].tally.wins, 10u);
  EXPECT_EQ(legs[1].generation, 2u);
  EXPECT_EQ(legs[1].received_frames, 9u);
  EXPECT_EQ(legs[1].tally.copies, 9u);
  EXPECT_EQ(legs[1].tally.misses, 1u);
  EXPECT_EQ(legs[1].tally.lag_p50, 50ms);
}

TEST(Legs, TheSessionEndsWhenBothHaveSaidGoodbye) {
  Legs talk;
  talk.leg(2).says_goodbye = false;
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, "enough"});
  EXPECT_THAT(talk.Read(), IsEmpty());
  EXPECT_TRUE(talk.leg(1).goodbye && talk.leg(2).goodbye);
  talk.leg(2).End();
  EXPECT_THAT(talk.Read(),
              ElementsAre(HasSubstr("leg CLOSED g2"), HasSubstr("CLOSED: CLOSED"), "ended: CLOSED, closed"));
}

TEST(Legs, WhileItClosesTheOneThatStaysMayStillBringFrames) {
  Legs talk;
  talk.leg(1).says_goodbye = talk.leg(2).says_goodbye = false;
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, "enough"});
  talk.leg(1).End();
  talk.leg(2).Text(Numbered(1));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(1)));
  talk.leg(2).End();
  EXPECT_THAT(talk.Read(),
              ElementsAre(HasSubstr("leg CLOSED g2"), HasSubstr("CLOSED: CLOSED"), "ended: CLOSED, closed"));
}

TEST(Legs, WhatWaitedWhileTheFirstWasBeingEndedGoesToTheSecond) {
  Legs talk;
  talk.leg(1).says_goodbye = false;
  talk.session().Reconnect(0);
  talk.Send({.id = 1, .payload = "order", .max_wait = 5s});
  EXPECT_THAT(talk.Read(), IsEmpty());
  talk.leg(1).End();
  EXPECT_THAT(talk.Read(), Contains("1 WRITTEN"));
  EXPECT_THAT(talk.leg(2).Messages(), ElementsAre("order"));
}

TEST(Legs, AnotherOwnerOfTwoKeepsTheSecondWhileTheFirstIsBeingEnded) {
  Legs talk;
  talk.leg(1).says_goodbye = false;
  talk.session().Reconnect(0);
  talk.owner = std::make_unique<Subscriber>(talk.Open(TwoLegs()));
  EXPECT_FALSE(talk.leg(2).goodbye);
  talk.leg(1).End();
  EXPECT_THAT(talk.Read(), Contains(HasSubstr("OPEN g2: RECONNECT_REQUESTED")));
}

TEST(Legs, ASilentTopicOnBothGetsANewLegAndThenTheOther) {
  SessionOptions options = TwoLegs();
  options.topics = {{.key = "btc", .match = {{"btc"}}, .max_silence = 5s, .reconnect = true}};
  Legs talk(options);
  talk.leg(1).Text(Numbered(1));
  talk.leg(2).Text(Numbered(1));
  talk.Read();
  EXPECT_THAT(talk.After(5s), ElementsAre("topic btc stale, never", "OPEN g2: TOPIC_STALE, met 1/1"));
  EXPECT_THAT(talk.After(1s), ElementsAre(HasSubstr("leg CLOSED g1: TOPIC_STALE")));
  EXPECT_EQ(talk.dialler.under_way(), 1u);
}

}  // namespace
}  // namespace fairlead
