#include "session/session.h"

#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

SetupStep Step(const std::string& key) { return {.key = key, .payload = "do " + key}; }
SetupStep Login() {
  SetupStep step = Step("login");
  step.expect.contains = {"ok"};
  step.reject.contains = {"denied"};
  return step;
}
SessionOptions With(std::vector<SetupStep> setup) {
  SessionOptions options = PlainOptions();
  options.setup = std::move(setup);
  return options;
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

// ---- Sends. ----

TEST(Session, ASendIsWritten) {
  Conversation talk;
  talk.Connect();
  talk.Send(7, "order");
  EXPECT_THAT(talk.Read(), ElementsAre("7 WRITTEN"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("order"));
  EXPECT_EQ(talk.session().counts().sent_frames, 1u);
  EXPECT_EQ(talk.session().counts().sent_bytes, 5u);
}

TEST(Session, ASendWithoutAnIdTellsNothing) {
  Conversation talk;
  talk.Connect();
  talk.Send(0, "order");
  EXPECT_THAT(talk.Read(), IsEmpty());
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("order"));
}

TEST(Session, SendsGoOutOneAtATime) {
  Conversation talk;
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Connect();
  for (const uint64_t id : {1, 2, 3}) talk.Send(id, "order " + std::to_string(id));
  EXPECT_THAT(talk.Read(), IsEmpty());
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("order 1"));
  talk.peer().Take();
  EXPECT_THAT(talk.Read(), ElementsAre("1 WRITTEN"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("order 1", "order 2"));
}

TEST(Session, LosingTheTransportInMidWriteLeavesTheOutcomeUnknown) {
  Conversation talk;
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Connect();
  for (const uint64_t id : {1, 2, 3}) talk.Send(id, "order");
  talk.peer().End();
  EXPECT_THAT(talk.Read(), ElementsAre("1 UNKNOWN CONNECTION_LOST", "2 NOT_SENT CONNECTION_LOST",
                                       "3 NOT_SENT CONNECTION_LOST", "RECONNECTING #2 in 250ms: CONNECTION_LOST"));
  EXPECT_THAT(talk.After(250ms), ElementsAre("CONNECTING #2"));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g2 blind 250ms", "OPEN g2"));
  EXPECT_THAT(talk.peer().Messages(), IsEmpty()) << "never a stale send";
}

TEST(Session, WithoutAnOpenTransportASendFailsAtOnce) {
  Conversation talk(With({Login()}));
  talk.Send(1, "order");
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "1 NOT_SENT NOT_OPEN"));
  talk.dialler.Accept();
  talk.Send(2, "order");
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g1", "2 NOT_SENT NOT_OPEN")) << "setup is not complete";
}

TEST(Session, ASendMayWaitForTheNextOpenTransport) {
  Conversation talk(With({Login()}));
  talk.Send({.id = 1, .payload = "first", .max_wait = 5s});
  talk.Send({.id = 2, .payload = "second", .max_wait = 5s});
  talk.dialler.Accept();
  talk.Read();
  talk.peer().Text("ok");
  EXPECT_THAT(talk.Read(), ElementsAre("text ok", "OPEN g1", "1 WRITTEN", "2 WRITTEN"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do login", "first", "second"));
}

TEST(Session, ASendWaitsNoLongerThanItMay) {
  Conversation talk;
  talk.Send({.id = 1, .payload = "x", .max_wait = 5s});
  talk.Send({.id = 2, .payload = "x", .max_wait = 2s});
  EXPECT_THAT(talk.After(2s), ElementsAre("CONNECTING #1", "2 NOT_SENT WAIT_EXPIRED"));
  EXPECT_THAT(talk.After(3s), ElementsAre("1 NOT_SENT WAIT_EXPIRED"));
  talk.Connect();
  EXPECT_THAT(talk.peer().Messages(), IsEmpty());
}

TEST(Session, ASendThatWaitsSurvivesATransportThatNeverOpened) {
  Conversation talk(With({Login()}));
  talk.Send({.id = 1, .payload = "x", .max_wait = 1min});
  talk.Connect();
  talk.peer().End();
  talk.After(250ms);
  talk.dialler.Accept();
  talk.Read();
  talk.peer().Text("ok");
  EXPECT_THAT(talk.Read(), ElementsAre("text ok", "OPEN g2", "1 WRITTEN"));
}

TEST(Session, ASendMayInsistOnAGeneration) {
  Conversation talk;
  talk.Send({.id = 1, .payload = "x", .generation = 1, .max_wait = 5s});
  talk.dialler.Accept();
  talk.Send({.id = 2, .payload = "x", .generation = 1});
  talk.Send({.id = 3, .payload = "x", .generation = 2});
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "1 NOT_SENT WRONG_GENERATION", "OPENING g1", "OPEN g1",
                                       "3 NOT_SENT WRONG_GENERATION", "2 WRITTEN"));
}

TEST(Session, TheSendQueueIsBounded) {
  Limits limits;
  limits.send_queue_bytes = 200;
  Conversation talk(PlainOptions(), limits);
  for (const uint64_t id : {1, 2, 3, 4}) talk.Send({.id = id, .payload = "xx", .max_wait = 5s});
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "4 NOT_SENT LIMIT_REACHED"));
  talk.dialler.Accept();
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g1", "OPEN g1", "1 WRITTEN", "2 WRITTEN", "3 WRITTEN"));
  talk.Send(5, "xx");
  EXPECT_THAT(talk.Read(), ElementsAre("5 WRITTEN")) << "what has left counts no more";
}

TEST(Session, TheSendQueuesOfAllSessionsAreBoundedTogether) {
  Limits limits;
  limits.total_send_queue_bytes = 150;
  Conversation talk(PlainOptions(), limits);
  auto other = std::make_unique<Subscriber>(talk.Open(PlainOptions(), "other"));
  other->session().Begin();
  talk.Send({.id = 1, .payload = "x", .max_wait = 5s});
  other->session().Send({.id = 2, .payload = "x", .max_wait = 5s});
  other->session().Send({.id = 3, .payload = "x", .max_wait = 5s});
  EXPECT_THAT(other->Read(), ElementsAre("CONNECTING #1", "3 NOT_SENT LIMIT_REACHED"));
  talk.owner->Leave();
  talk.time.Settle();
  other->session().Send({.id = 4, .payload = "x", .max_wait = 5s});
  EXPECT_THAT(other->Read(), IsEmpty()) << "the first session's place is free again";
}

// ---- Setup keys: write and memory change in one step. ----

TEST(Session, ASubscriptionIsStoredWhenWrittenAndRepeated) {
  Conversation talk(With({Step("login")}));
  talk.Connect();
  talk.Send({.id = 1, .payload = "sub btc", .setup_key = "btc"});
  talk.Send({.id = 2, .payload = "sub eth", .setup_key = "eth"});
  EXPECT_THAT(talk.session().SetupKeys(), ElementsAre("login")) << "not before it is written";
  talk.Read();
  EXPECT_THAT(talk.session().SetupKeys(), ElementsAre("login", "btc", "eth"));
  talk.Send({.id = 3, .payload = "unsub btc", .forget_setup_keys = {"btc", "unknown"}});
  talk.Read();
  talk.peer().End();
  talk.After(1s);
  talk.Connect();
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do login", "sub eth"));
}

TEST(Session, ASubscriptionThatWasNotSentIsNotStored) {
  Conversation talk;
  talk.Send({.id = 1, .payload = "sub", .setup_key = "btc"});
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Connect();
  talk.Send({.id = 2, .payload = "sub", .setup_key = "in-flight"});
  talk.Send({.id = 3, .payload = "sub", .setup_key = "not-begun"});
  talk.peer().End();
  talk.Read();
  EXPECT_THAT(talk.session().SetupKeys(), ElementsAre("in-flight")) << "the exchange may have it";
}

TEST(Session, StoredSetupIsBounded) {
  Limits limits;
  limits.setup_steps = 2;
  limits.setup_bytes = 100;
  Conversation talk(With({{.key = "a", .payload = "1"}}), limits);
  talk.Connect();
  talk.Send({.id = 1, .payload = "1", .setup_key = "b"});
  EXPECT_THAT(talk.Read(), ElementsAre("1 WRITTEN"));
  talk.Send({.id = 2, .payload = "1", .setup_key = "c"});
  talk.Send({.id = 3, .payload = "22", .setup_key = "b"});
  talk.Send({.id = 4, .payload = std::string(99, 'x'), .setup_key = "a"});
  EXPECT_THAT(talk.Read(), ElementsAre("2 NOT_SENT LIMIT_REACHED", "4 NOT_SENT LIMIT_REACHED", "3 WRITTEN"));
}

// ---- Pings. ----

TEST(Session, APingIsAnsweredByAPong) {
  Conversation talk;
  talk.Connect();
  talk.session().Ping(5, "abc");
  EXPECT_THAT(talk.Read(), ElementsAre("5 WRITTEN"));
  EXPECT_EQ(talk.peer().pings(), 1u);
  talk.time.Advance(30ms);
  talk.peer().Pong("abc");
  EXPECT_THAT(talk.Read(), ElementsAre("pong abc 30ms"));
  talk.peer().Pong("abc");
  talk.peer().Pong("unasked");
  EXPECT_THAT(talk.Read(), IsEmpty());
}

TEST(Session, APongAnswersAllPingsBeforeItToo) {
  Conversation talk;
  talk.Connect();
  talk.session().Ping(1, "first");
  talk.session().Ping(2, "second");
  talk.Read();
  talk.peer().Pong("second");
  talk.peer().Pong("first");
  EXPECT_THAT(talk.Read(), ElementsAre("pong second 0ms"));
}

TEST(Session, PingsUnderWayAreBounded) {
  Conversation talk;
  talk.Connect();
  for (uint64_t id = 1; id <= 16; ++id) talk.session().Ping(id, "p");
  EXPECT_EQ(talk.Read().size(), 16u);
  talk.session().Ping(17, "p");
  EXPECT_THAT(talk.Read(), ElementsAre("17 NOT_SENT LIMIT_REACHED"));
}

TEST(Session, APingDoesNotWaitForATransport) {
  Conversation talk;
  talk.session().Ping(1, "p");
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "1 NOT_SENT NOT_OPEN"));
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
