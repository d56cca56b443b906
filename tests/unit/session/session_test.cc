#include "session/session.h"

#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

SetupStep Login() {
  SetupStep step = Step("login");
  step.expect.contains = {"ok"};
  step.reject.contains = {"denied"};
  return step;
}

// ---- The way up. ----

TEST(Session, ConnectsAndOpens) {
  Conversation talk;
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1"));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g1", "OPEN g1"));
  EXPECT_EQ(talk.session().state(), State::kOpen);
  EXPECT_EQ(talk.session().generation(), 1u);
}

TEST(Session, DialsWhatItWasOpenedWith) {
  SessionOptions options = PlainOptions();
  options.headers = {{"X-Key", "k"}};
  options.websocket.subprotocols = {"v1"};
  options.dial_timeout = 3s;
  Conversation talk(options);
  ASSERT_EQ(talk.dialler.requests.size(), 1u);
  const DialRequest& request = talk.dialler.requests[0];
  EXPECT_EQ(request.url, options.url);
  EXPECT_EQ(request.headers, options.headers);
  EXPECT_EQ(request.websocket, options.websocket);
  EXPECT_EQ(request.timeout, 3s);
}

TEST(Session, SetupRunsInOrderBeforeItIsOpen) {
  Conversation talk(With({Step("a"), Login(), Step("b")}));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "OPENING g1"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do a", "do login"));
  talk.peer().Text("a greeting");
  EXPECT_THAT(talk.Read(), ElementsAre("text a greeting"));
  talk.peer().Text("ok");
  EXPECT_THAT(talk.Read(), ElementsAre("text ok", "OPEN g1")) << "replies are delivered, and before OPEN";
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do a", "do login", "do b"));
}

TEST(Session, FramesOfOneReadHaveOneTimeAndWakeOnce) {
  Conversation talk(With({Login()}));
  talk.Connect();
  talk.peer().BeginRead();
  talk.peer().Text("ok");
  talk.time.Advance(5ms);
  talk.peer().Text("two");
  EXPECT_FALSE(talk.owner->woken()) << "the read is not over";
  talk.peer().EndRead();
  EXPECT_TRUE(talk.owner->woken());
  EXPECT_THAT(talk.Read(), ElementsAre("text ok", "OPEN g1", "text two"));
  const Journal& journal = talk.session().journal();
  EXPECT_EQ(journal.at(journal.head()).time, journal.at(journal.head() - 2).time);
  talk.time.Advance(5ms);
  talk.peer().Text("three");
  EXPECT_THAT(talk.Read(), ElementsAre("text three")) << "one outside a read stands for itself";
  EXPECT_EQ(journal.at(journal.head()).time, talk.time.WallNow());
}

TEST(Session, AReadOfNothingWakesNobody) {
  Conversation talk;
  talk.Connect();
  talk.peer().BeginRead();
  talk.peer().EndRead();
  EXPECT_FALSE(talk.owner->woken());
}

TEST(Session, ATransportThatEndsInTheMiddleOfAReadLosesNothing) {
  Conversation talk;
  talk.Connect();
  talk.peer().BeginRead();
  talk.peer().Text("one");
  talk.peer().End();
  EXPECT_THAT(talk.Read(), ElementsAre("text one", "RECONNECTING #2 in 250ms: CONNECTION_LOST"));
}

TEST(Session, ARejectedSetupIsFatal) {
  Conversation talk(With({Login()}));
  talk.Connect();
  talk.peer().Text("denied");
  EXPECT_THAT(talk.Read(), ElementsAre("text denied", "CLOSED: SETUP_REJECTED 1000 ", "ended: SETUP_REJECTED, closed"));
  EXPECT_EQ(talk.peer().goodbye->first, 1000);
  EXPECT_EQ(talk.registry.size(), 0u);
}

TEST(Session, ASetupStepWithoutAnswerIsRetried) {
  Conversation talk(With({Login()}));
  talk.Connect();
  EXPECT_THAT(talk.After(9999ms), IsEmpty());
  EXPECT_THAT(talk.After(1ms), ElementsAre("RECONNECTING #2 in 250ms: SETUP_TIMEOUT"));
  EXPECT_FALSE(talk.peer().live()) << "dropped";
  EXPECT_THAT(talk.After(250ms), ElementsAre("CONNECTING #2"));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g2 blind 10250ms"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do login")) << "from the first step";
  talk.peer().Text("ok");
  EXPECT_THAT(talk.Read(), ElementsAre("text ok", "OPEN g2"));
}

TEST(Session, EachSetupStepHasATimeoutOfItsOwn) {
  SetupStep first = Login();
  first.timeout = 3s;
  SetupStep second = Login();
  second.key = "sub";
  Conversation talk(With({first, second}));
  talk.Connect();
  talk.After(2s);
  talk.peer().Text("ok");
  EXPECT_THAT(talk.After(9s), ElementsAre("text ok"));
  EXPECT_THAT(talk.After(1s), ElementsAre("RECONNECTING #2 in 250ms: SETUP_TIMEOUT"));
}

TEST(Session, ADialThatFailsIsRetried) {
  Conversation talk;
  talk.dialler.Refuse();
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "RECONNECTING #2 in 250ms: CONNECT_FAILED"));
  EXPECT_THAT(talk.After(249ms), IsEmpty());
  EXPECT_THAT(talk.After(1ms), ElementsAre("CONNECTING #2"));
}

TEST(Session, AFatalDialEnds) {
  Conversation talk;
  Loss loss = Lost(Reason::kCertificateRejected);
  loss.fatal = true;
  talk.dialler.Refuse(loss);
  EXPECT_THAT(talk.Read(),
              ElementsAre("CONNECTING #1", "CLOSED: CERTIFICATE_REJECTED", "ended: CERTIFICATE_REJECTED, closed"));
}

TEST(Session, EndsWhenItsAttemptsAreUsedUp) {
  SessionOptions options = PlainOptions();
  options.reconnect.max_attempts = 2;
  Conversation talk(options);
  talk.dialler.Refuse();
  talk.After(250ms);
  talk.dialler.Refuse();
  EXPECT_THAT(talk.Read(), ElementsAre("CLOSED: ATTEMPTS_EXHAUSTED", "ended: ATTEMPTS_EXHAUSTED, closed"));
  EXPECT_EQ(talk.session().last_failure()->reason, Reason::kAttemptsExhausted);
}

// ---- Frames. ----

TEST(Session, DeliversFramesInOrder) {
  Conversation talk;
  talk.Connect();
  talk.peer().Text("one");
  talk.peer().Binary("two");
  talk.peer().Text("");
  EXPECT_THAT(talk.Read(), ElementsAre("text one", "binary two", "text "));
  EXPECT_EQ(talk.session().counts().received_frames, 3u);
  EXPECT_EQ(talk.session().counts().received_bytes, 6u);
}

TEST(Session, TellsTheBlindWindow) {
  Conversation talk;
  talk.Connect();
  talk.After(20s);
  talk.peer().Text("last");
  EXPECT_THAT(talk.After(3s), ElementsAre("text last"));
  talk.peer().Close(1012, "restart");
  EXPECT_THAT(talk.Read(), ElementsAre("RECONNECTING #1 in 0ms: PEER_CLOSED 1012 restart", "CONNECTING #1"));
  talk.After(4s);
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g2 blind 7000ms", "OPEN g2"));
}

// ---- Ends. ----

TEST(Session, ReconnectReplacesTheTransport) {
  Conversation talk;
  talk.Connect();
  talk.session().Reconnect(9);
  EXPECT_THAT(talk.Read(), ElementsAre("9 DONE", "RECONNECTING #1 in 0ms: RECONNECT_REQUESTED 1000 ", "CONNECTING #1"));
  EXPECT_EQ(talk.peer().goodbye->first, 1000);
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g2 blind 0ms", "OPEN g2"));
}

SessionOptions Aging(Duration max_age) {
  SessionOptions options = PlainOptions();
  options.reconnect.max_age = max_age;
  return options;
}

TEST(Session, ATransportThatIsTooOldIsReplaced) {
  Conversation talk(Aging(1h));
  talk.draw = 0.5;
  talk.Connect();
  EXPECT_THAT(talk.After(57min - 1ms), IsEmpty()) << "half of a tenth is taken off";
  EXPECT_THAT(talk.After(1ms), ElementsAre("RECONNECTING #1 in 0ms: MAX_AGE 1000 ", "CONNECTING #1"));
  talk.draw = 0;
  talk.Connect();
  EXPECT_THAT(talk.After(1h - 1ms), IsEmpty()) << "drawn anew, from its own beginning";
  EXPECT_THAT(talk.After(1ms), ElementsAre("RECONNECTING #1 in 0ms: MAX_AGE 1000 ", "CONNECTING #1"));
}

TEST(Session, TheAgeIsThatOfTheTransport) {
  Conversation talk(Aging(1h));
  talk.draw = 0;
  talk.Connect();
  talk.time.Advance(30min);
  talk.peer().End();
  talk.After(1min);
  talk.Connect();
  EXPECT_THAT(talk.After(59min), IsEmpty());
  const auto next = std::make_unique<Subscriber>(talk.Open(Aging(10min)));
  talk.time.Settle();
  EXPECT_THAT(next->Read(), ElementsAre("RECONNECTING #1 in 0ms: MAX_AGE 1000 ", "CONNECTING #1"))
      << "for whoever takes it over, too";
}

TEST(Session, ReconnectEndsAPause) {
  Conversation talk;
  talk.dialler.Refuse();
  talk.Read();
  talk.session().Reconnect(9);
  EXPECT_THAT(talk.Read(), ElementsAre("9 DONE", "CONNECTING #2"));
  EXPECT_THAT(talk.After(1min), IsEmpty()) << "the pause's own dial does not come too";
  EXPECT_EQ(talk.dialler.requests.size(), 2u);
}

TEST(Session, WhileItSaysGoodbyeFramesComeAndSendsDoNotGo) {
  Conversation talk;
  talk.dialler.prepare = [](Peer& peer) { peer.says_goodbye = false; };
  talk.Connect();
  talk.session().Reconnect(0);
  talk.peer().Text("late");
  talk.Send(1, "x");
  talk.Send({.id = 2, .payload = "waits", .max_wait = 5s});
  talk.session().Reconnect(3);
  EXPECT_THAT(talk.Read(), ElementsAre("text late", "1 NOT_SENT NOT_OPEN", "3 DONE"));
  talk.peer().End();
  EXPECT_THAT(talk.Read(), ElementsAre("RECONNECTING #1 in 0ms: RECONNECT_REQUESTED", "CONNECTING #1"));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g2 blind 0ms", "OPEN g2", "2 WRITTEN"));
}

TEST(Session, CloseSaysGoodbyeAndEnds) {
  Conversation talk;
  talk.dialler.prepare = [](Peer& peer) { peer.says_goodbye = false; };
  talk.Connect();
  bool told = false;
  talk.session().WhenClosed([&] { told = true; });
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, "bye"}, {.code = 3000, .reason = "done"});
  EXPECT_EQ(talk.peer().goodbye, std::pair(uint16_t{3000}, std::string("done")));
  talk.Send({.id = 1, .payload = "x", .max_wait = 5s});
  talk.peer().Text("late");
  EXPECT_THAT(talk.Read(), ElementsAre("1 NOT_SENT NOT_OPEN", "text late"));
  EXPECT_FALSE(told);
  talk.peer().Close(3000);
  EXPECT_THAT(talk.Read(), ElementsAre("CLOSED: CLOSED 3000 ", "ended: CLOSED, closed"));
  EXPECT_TRUE(told);
  EXPECT_EQ(talk.registry.size(), 0u);
  talk.session().WhenClosed([&] { told = false; });
  talk.time.Settle();
  EXPECT_FALSE(told) << "soon, when it is closed already";
}

TEST(Session, CloseEndsADialAndAPause) {
  Conversation dialling;
  dialling.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  EXPECT_THAT(dialling.Read(), ElementsAre("CONNECTING #1", "CLOSED: CLOSED", "ended: CLOSED, closed"));
  EXPECT_EQ(dialling.dialler.under_way(), 0u) << "abandoned";

  Conversation pausing;
  pausing.dialler.Refuse();
  pausing.Read();
  pausing.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  EXPECT_THAT(pausing.After(1min), ElementsAre("CLOSED: CLOSED", "ended: CLOSED, closed"));
  EXPECT_EQ(pausing.dialler.requests.size(), 1u);
}

TEST(Session, CloseTellsWhatBecameOfSends) {
  Conversation talk;
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Send({.id = 1, .payload = "x", .max_wait = 1min});
  talk.Connect();
  talk.Send(2, "x");
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  talk.Send({.id = 3, .payload = "x", .max_wait = 1min});
  EXPECT_THAT(talk.Read(), ElementsAre("3 NOT_SENT NOT_OPEN", "1 UNKNOWN CLOSED", "2 NOT_SENT CLOSED",
                                       "CLOSED: CLOSED 1000 ", "ended: CLOSED, closed"));
}

TEST(Session, WhatWaitsEndsWithTheSession) {
  Conversation talk;
  talk.Send({.id = 1, .payload = "x", .max_wait = 1min});
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  EXPECT_THAT(talk.Read(),
              ElementsAre("CONNECTING #1", "CLOSED: CLOSED", "1 NOT_SENT CLOSED", "ended: CLOSED, closed"));
  EXPECT_EQ(talk.time.NextDue(), std::nullopt) << "no timer is left";
}

TEST(Session, ASecondCloseChangesNothing) {
  Conversation talk;
  talk.Connect();
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  talk.session().Close({Reason::kDraining, Phase::kUnspecified, ""});
  EXPECT_THAT(talk.Read(), ElementsAre("CLOSED: CLOSED 1000 ", "ended: CLOSED, closed"));
  talk.session().Close({Reason::kDraining, Phase::kUnspecified, ""});
  talk.session().Reconnect(0);
  EXPECT_EQ(talk.session().last_failure()->reason, Reason::kClosed);
}

TEST(Session, ClosesWithItsLastSubscriber) {
  Conversation talk;
  talk.Connect();
  auto reader = std::make_unique<Subscriber>(talk.owner->subscription().session(), Subscriber::Options{.owner = false});
  talk.owner->Leave();
  talk.time.Settle();
  EXPECT_TRUE(talk.peer().live()) << "a reader is left";
  reader.reset();
  talk.time.Settle();
  EXPECT_TRUE(talk.peer().goodbye);
  EXPECT_FALSE(talk.peer().live());
  EXPECT_EQ(talk.registry.size(), 0u);
}

}  // namespace
}  // namespace fairlead
