// Make before break: another transport takes the place of the session's own before that ends.
#include "support/rotation_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Rotation, TheNextTransportTakesThePlaceWhenTheTwoHaveMetAndTheOldOneEndsAfterTheOverlap) {
  Rotation talk;
  talk.session().Reconnect(7, /*make_before_break=*/true);
  EXPECT_THAT(talk.Read(), ElementsAre("7 DONE"));
  talk.first().Text(Numbered(1));
  Peer& next = talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(1), "leg OPENING g2", "leg OPEN g2"));
  talk.first().Text(Numbered(2));
  next.Text(Numbered(3));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(2), NumberedEntry(3)))
      << "what the one brought may be missing on the other";
  EXPECT_EQ(talk.session().generation(), 1u);
  talk.first().Text(Numbered(3));
  EXPECT_THAT(talk.Read(), ElementsAre("OPEN g2: RECONNECT_REQUESTED, met 1/1"));
  EXPECT_EQ(talk.session().generation(), 2u);
  talk.first().Text(Numbered(4));
  next.Text(Numbered(4));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(4)));
  EXPECT_THAT(talk.After(1s - 1ms), IsEmpty());
  EXPECT_FALSE(talk.first().goodbye);
  EXPECT_THAT(talk.After(1ms), ElementsAre("leg CLOSED g1: RECONNECT_REQUESTED 1000 , 4 frames, 1 copies"));
  EXPECT_EQ(talk.first().goodbye->first, 1000);
  next.Text(Numbered(5));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(5)));
}

TEST(Rotation, FramesAreMarkedByTheTransportThatBroughtThem) {
  Rotation talk(Rotating(/*dedupe=*/false));
  talk.Rotate();
  talk.first().Text("old");
  talk.peer().Text("new");
  talk.first().Text("old");
  talk.Read();
  const Journal& journal = talk.session().journal();
  std::vector<std::pair<std::string, uint64_t>> frames;
  for (uint64_t at = journal.oldest(); at <= journal.head(); ++at) {
    if (const FrameEntry* frame = journal.at(at).frame())
      frames.emplace_back(frame->payload, journal.at(at).generation);
  }
  EXPECT_THAT(frames,
              ElementsAre(std::pair("old", uint64_t{1}), std::pair("new", uint64_t{2}), std::pair("old", uint64_t{1})));
}

TEST(Rotation, WithoutDedupeTheFirstFrameDecidesAndNobodyKnowsWhetherSomethingIsMissing) {
  Rotation talk(Rotating(/*dedupe=*/false));
  talk.Rotate();
  EXPECT_THAT(talk.Read(), ElementsAre("leg OPENING g2", "leg OPEN g2"));
  talk.first().Text("a");
  talk.peer().Text("a");
  EXPECT_THAT(talk.Read(), ElementsAre("text a", "text a", "OPEN g2: RECONNECT_REQUESTED, met 1/0?"));
}

TEST(Rotation, TransportsThatDoNotMeetWaitForTheOverlapAndNoLonger) {
  Rotation talk;
  talk.Rotate();
  talk.Read();
  talk.peer().Text(Numbered(1));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(1)));
  EXPECT_THAT(talk.After(1s - 1ms), IsEmpty());
  EXPECT_THAT(talk.After(1ms), ElementsAre("OPEN g2: RECONNECT_REQUESTED, met 1/0?"));
  EXPECT_THAT(talk.After(1s), ElementsAre(HasSubstr("leg CLOSED g1")));
}

TEST(Rotation, ALateCopyIsStillOneAfterTheOldTransportHasGone) {
  Rotation talk;
  talk.Rotate();
  talk.first().Text(Numbered(1));
  talk.first().Text(Numbered(2));
  talk.peer().Text(Numbered(1));
  talk.After(1s);
  ASSERT_FALSE(talk.first().live());
  talk.Read();
  talk.peer().Text(Numbered(2));
  EXPECT_THAT(talk.Read(), IsEmpty());
  talk.peer().Text(Numbered(3));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(3)));
}

TEST(Rotation, KeepalivesAreNotComparedAndProveNothing) {
  SessionOptions options = Rotating();
  options.dedupe->json_pointer = "";
  options.heartbeat.keepalive = {{"pong"}};
  Rotation talk(options);
  talk.Rotate();
  talk.Read();
  talk.first().Text("pong");
  talk.peer().Text("pong");
  EXPECT_THAT(talk.Read(), ElementsAre("text pong", "text pong"));
}

// ---- Sends. ----

TEST(Rotation, SendsAreWrittenToTheOldTransportUntilTheNewOneHasTakenItsPlace) {
  Rotation talk;
  talk.Rotate();
  talk.Read();
  talk.Send(1, "before");
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  talk.Send(2, "after");
  EXPECT_THAT(talk.first().Messages(), ElementsAre("before"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("after"));
  EXPECT_THAT(talk.Read(),
              ElementsAre(NumberedEntry(1), "OPEN g2: RECONNECT_REQUESTED, met 1/1", "1 WRITTEN", "2 WRITTEN"));
  talk.first().Text("answer to before");
  EXPECT_THAT(talk.Read(), ElementsAre("text answer to before")) << "it is read for the overlap";
}

TEST(Rotation, WhatTheOldTransportHasNotWrittenWhenItEndsIsToldOfItsGeneration) {
  Rotation talk;
  talk.first().takes_writes = false;
  talk.Send(1, "under way");
  talk.Send(2, "behind it");
  talk.Rotate();
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  talk.Read();
  EXPECT_THAT(talk.After(1s), ElementsAre("1 UNKNOWN RECONNECT_REQUESTED", "2 NOT_SENT RECONNECT_REQUESTED",
                                          HasSubstr("leg CLOSED g1")));
  const Journal& journal = talk.session().journal();
  EXPECT_EQ(journal.at(journal.head() - 1).generation, 1u);
  EXPECT_THAT(talk.peer().Messages(), IsEmpty()) << "never a stale send";
}

TEST(Rotation, ASendForAGenerationHoldsForTheTransportThatSendsAreWrittenTo) {
  Rotation talk;
  talk.Rotate();
  talk.Read();
  talk.Send({.id = 1, .payload = "too early", .generation = 2});
  EXPECT_THAT(talk.Read(), ElementsAre("1 NOT_SENT WRONG_GENERATION"));
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  talk.Read();
  talk.Send({.id = 2, .payload = "too late", .generation = 1});
  EXPECT_THAT(talk.Read(), ElementsAre("2 NOT_SENT WRONG_GENERATION"));
}

TEST(Rotation, ASubscriptionMadeMeanwhileReachesTheNewTransportToo) {
  SessionOptions options = Rotating();
  options.setup = {{.key = "login", .payload = "do login", .expect = {{"welcome"}}}};
  Rotation talk(options);
  talk.peer().Text("welcome");
  talk.Rotate();
  talk.Send({.id = 1, .payload = "subscribe", .setup_key = "sub"});
  talk.Send({.id = 2, .payload = "unsubscribe", .forget_setup_keys = {"old"}});
  talk.Send({.id = 3, .payload = "order"});
  talk.Read();
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do login")) << "its setup first";
  talk.peer().Text("welcome");
  talk.time.Settle();
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do login", "subscribe", "unsubscribe"));
  EXPECT_THAT(talk.first().Messages(), ElementsAre("do login", "subscribe", "unsubscribe", "order"));
  EXPECT_THAT(talk.session().SetupKeys(), ElementsAre("login", "sub"));
}

TEST(Rotation, ALoginThatAsksIsAnsweredForTheNewTransportWhileTheOldOneGoesOn) {
  SessionOptions options = Rotating();
  options.setup = {{.key = "login", .payload = {}, .expect = {{"welcome"}}, .ask = true}};
  Rotation talk(options);
  const auto answer = [&](uint64_t id, uint64_t generation) {
    talk.Send({.id = id, .payload = "signed " + std::to_string(id), .generation = generation, .answers = "login"});
  };
  answer(1, 1);
  talk.peer().Text("welcome");
  talk.Read();
  talk.Rotate();
  EXPECT_THAT(talk.Read(), ElementsAre("leg OPENING g2", "asked login g2 #2"));
  answer(2, 1);
  EXPECT_THAT(talk.Read(), ElementsAre("2 NOT_SENT WRONG_GENERATION"));
  talk.Send(3, "order");
  answer(4, 2);
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("signed 4"));
  EXPECT_THAT(talk.first().Messages(), ElementsAre("signed 1", "order"));
  EXPECT_THAT(talk.Read(), ElementsAre("3 WRITTEN", "4 WRITTEN"));
  talk.peer().Text("welcome");
  EXPECT_THAT(talk.Read(), ElementsAre("text welcome", "leg OPEN g2"));
}

// ---- What goes wrong. ----

TEST(Rotation, ANextTransportThatDoesNotComeAboutDisturbsNothing) {
  Rotation talk;
  talk.session().Reconnect(0, /*make_before_break=*/true);
  talk.dialler.Refuse({.cause = {Reason::kUpgradeRefused, Phase::kReplied, "401"}, .fatal = true});
  EXPECT_THAT(talk.Read(), ElementsAre("leg RECONNECTING g0 in 250ms: UPGRADE_REFUSED"));
  talk.first().Text(Numbered(1));
  EXPECT_THAT(talk.After(250ms), ElementsAre(NumberedEntry(1)));
  talk.dialler.Accept();
  talk.peer().End();
  EXPECT_THAT(talk.Read(),
              ElementsAre("leg OPENING g2", "leg OPEN g2", "leg RECONNECTING g2 in 500ms: CONNECTION_LOST"));
  talk.time.Advance(500ms);
  talk.dialler.Accept();
  talk.peer().Text(Numbered(1));
  EXPECT_THAT(talk.Read(), ElementsAre("leg OPENING g3", "leg OPEN g3", "OPEN g3: RECONNECT_REQUESTED, met 1/1"));
}

TEST(Rotation, TheNewTransportTakesThePlaceOfOneThatIsLost) {
  Rotation talk;
  talk.Rotate();
  talk.Read();
  talk.first().Text(Numbered(1));
  talk.first().Close(1001, "bye");
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(1), "OPEN g2: PEER_CLOSED 1001 bye, met 0/0?",
                                       "leg CLOSED g1: PEER_CLOSED 1001 bye, 1 frames, 0 copies"));
  talk.peer().Text(Numbered(1));
  talk.peer().Text(Numbered(2));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(2))) << "and a copy is still one";
  EXPECT_THAT(talk.After(1h), IsEmpty());
}

// What is on its way is quicker than a new dial; but the time without a transport is told.
TEST(Rotation, OneThatIsNotSetUpYetIsTheNextTransportOfAnOutage) {
  SessionOptions options = Rotating();
  options.setup = {{.key = "login", .payload = "do login", .expect = {{"welcome"}}}};
  Rotation talk(options);
  talk.peer().Text("welcome");
  talk.Rotate();
  talk.Read();
  talk.time.Advance(50ms);
  talk.first().End();
  EXPECT_THAT(talk.Read(),
              ElementsAre(HasSubstr("RECONNECTING #2 in"), HasSubstr("CONNECTING #2"), "OPENING g2 blind 0ms"));
  talk.peer().Text("welcome");
  EXPECT_THAT(talk.Read(), ElementsAre("text welcome", "OPEN g2"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do login")) << "once";
  EXPECT_EQ(talk.dialler.requests.size(), 2u);
}

// Its refused login would end the session, whose own transport nobody refused.
TEST(Rotation, OneThatIsBeingEndedIsNoNextTransport) {
  SessionOptions options = Rotating();
  options.setup = {{.key = "login", .payload = "do login", .expect = {{"welcome"}}, .reject = {{"refused"}}}};
  Rotation talk(options);
  talk.peer().Text("welcome");
  talk.Rotate();
  talk.peer().says_goodbye = false;
  talk.peer().Text("refused");
  talk.Read();
  talk.first().End();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("RECONNECTING #2 in")));
  talk.dialler.peers[1]->End();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("leg CLOSED g2: SETUP_REJECTED")));
  talk.time.Advance(1min);
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("CONNECTING #2"), HasSubstr("OPENING g3")));
}

TEST(Rotation, OneThatIsStillDialledIsTheNextTransportOfAnOutage) {
  Rotation talk;
  talk.session().Reconnect(0, /*make_before_break=*/true);
  talk.first().End();
  talk.Read();
  talk.time.Advance(1min);
  EXPECT_EQ(talk.dialler.under_way(), 1u);
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g2 blind 60000ms", "OPEN g2"));
  EXPECT_EQ(talk.dialler.requests.size(), 2u);
}

TEST(Rotation, AnOldTransportThatDiesInTheOverlapIsMissedByNobody) {
  Rotation talk;
  talk.Rotate();
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  talk.Read();
  talk.first().End();
  EXPECT_THAT(talk.Read(), ElementsAre("leg CLOSED g1: CONNECTION_LOST, 1 frames, 0 copies"));
  EXPECT_THAT(talk.After(1h), IsEmpty());
  talk.Rotate();
  EXPECT_THAT(talk.Read(), ElementsAre("leg OPENING g3", "leg OPEN g3"));
}

TEST(Rotation, ANewTransportThatDiesInTheOverlapIsALossLikeAnyOther) {
  Rotation talk;
  talk.Rotate();
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  talk.Read();
  talk.peer().End();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("RECONNECTING #")));
  talk.first().Text(Numbered(2));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(2))) << "the old one is still read";
  EXPECT_THAT(talk.After(30s), ElementsAre(HasSubstr("CONNECTING"), HasSubstr("leg CLOSED g1")));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("OPENING g3 blind"), "OPEN g3"));
}

TEST(Rotation, ASecondWishMeanwhileIsTheSameAndOneInTheOverlapComesAfterIt) {
  Rotation talk;
  talk.Rotate();
  talk.session().Reconnect(0, /*make_before_break=*/true);
  EXPECT_EQ(talk.dialler.under_way(), 0u);
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  talk.session().Reconnect(0, /*make_before_break=*/true);
  EXPECT_EQ(talk.dialler.under_way(), 0u) << "two at once, not three";
  talk.time.Advance(1s);
  talk.time.Settle();
  EXPECT_EQ(talk.dialler.under_way(), 1u);
}

TEST(Rotation, AReconnectThatBreaksFirstEndsTheOldTransportAtOnce) {
  Rotation talk;
  talk.Rotate();
  talk.Read();
  talk.session().Reconnect(0);
  EXPECT_THAT(talk.Read(), ElementsAre("OPEN g2: RECONNECT_REQUESTED 1000 , met 0/0?", HasSubstr("leg CLOSED g1")));
}

TEST(Rotation, ClosingTheSessionSaysGoodbyeToBoth) {
  for (const bool in_overlap : {false, true}) {
    Rotation talk;
    talk.Rotate();
    if (in_overlap) {
      talk.first().Text(Numbered(1));
      talk.peer().Text(Numbered(1));
    }
    talk.Read();
    talk.session().Close({Reason::kClosed, Phase::kUnspecified, "enough"}, {.code = 1001, .reason = "enough"});
    EXPECT_TRUE(talk.first().goodbye);
    EXPECT_TRUE(talk.peer().goodbye);
    const Lines lines = talk.Read();
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_THAT(lines[0], HasSubstr("leg CLOSED"));
    EXPECT_THAT(lines[1], HasSubstr("CLOSED: CLOSED 1001"));
    EXPECT_EQ(lines[2], "ended: CLOSED, closed");
  }
}

TEST(Rotation, TheOverlapOfASessionThatClosesEndsNothingAnyMore) {
  Rotation talk;
  talk.Rotate();
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  talk.Read();
  talk.peer().says_goodbye = false;
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, "enough"});
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("leg CLOSED g1")));
  EXPECT_THAT(talk.After(30s), IsEmpty()) << "the new transport says no goodbye";
  talk.peer().End();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("CLOSED: CLOSED"), HasSubstr("ended: ")));
}

TEST(Rotation, WithTheSessionEverythingEndsAndEachSendHasItsOutcome) {
  SessionOptions options = Rotating();
  options.reconnect.max_attempts = 1;
  options.reconnect.stable_after = 1h;
  Rotation talk(options);
  talk.first().takes_writes = false;
  talk.Send(1, "under way");
  talk.Rotate();
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  talk.Read();
  talk.peer().End();
  EXPECT_THAT(talk.Read(), ElementsAre(HasSubstr("CLOSED: ATTEMPTS_EXHAUSTED"), "1 UNKNOWN ATTEMPTS_EXHAUSTED",
                                       HasSubstr("ended: ")));
  EXPECT_FALSE(talk.first().live());
}

TEST(Rotation, AnotherOwnerFindsItAsItIs) {
  Rotation talk;
  talk.Rotate();
  talk.Read();
  talk.owner = std::make_unique<Subscriber>(talk.Open(Rotating()));
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  EXPECT_THAT(talk.Read(), ElementsAre(NumberedEntry(1), "OPEN g2: RECONNECT_REQUESTED, met 1/1"));
}

TEST(Rotation, AnotherOwnerWithdrawsWhatWasStillToBeWrittenToTheOldTransport) {
  Rotation talk;
  talk.first().takes_writes = false;
  talk.Send(1, "under way");
  talk.Send({.id = 2, .payload = "behind it", .setup_key = "sub"});
  talk.Rotate();
  talk.first().Text(Numbered(1));
  talk.peer().Text(Numbered(1));
  talk.Read();
  Subscriber reader(talk.owner->subscription().session(), {.owner = false, .start = {}});
  talk.owner = std::make_unique<Subscriber>(talk.Open(Rotating()));
  EXPECT_THAT(reader.Read(), ElementsAre("2 NOT_SENT SUPERSEDED"));
  talk.first().Take();
  EXPECT_THAT(reader.Read(), ElementsAre("1 WRITTEN"));
  EXPECT_THAT(talk.first().Messages(), ElementsAre("under way"));
  EXPECT_THAT(talk.session().SetupKeys(), IsEmpty());
}

}  // namespace
}  // namespace fairlead
