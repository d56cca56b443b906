// What a session writes for its owner: sends and what becomes of them, setup that is stored, pings.
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
  return step;
}

// ---- Sends. ----

TEST(Sends, ASendIsWritten) {
  Conversation talk;
  talk.Connect();
  talk.Send(7, "order");
  EXPECT_THAT(talk.Read(), ElementsAre("7 WRITTEN"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("order"));
  EXPECT_EQ(talk.session().counts().sent_frames, 1u);
  EXPECT_EQ(talk.session().counts().sent_bytes, 5u);
}

TEST(Sends, ASendWithoutAnIdTellsNothing) {
  Conversation talk;
  talk.Connect();
  talk.Send(0, "order");
  EXPECT_THAT(talk.Read(), IsEmpty());
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("order"));
}

TEST(Sends, SendsGoOutOneAtATime) {
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

TEST(Sends, LosingTheTransportInMidWriteLeavesTheOutcomeUnknown) {
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

TEST(Sends, WithoutAnOpenTransportASendFailsAtOnce) {
  Conversation talk(With({Login()}));
  talk.Send(1, "order");
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "1 NOT_SENT NOT_OPEN"));
  talk.dialler.Accept();
  talk.Send(2, "order");
  EXPECT_THAT(talk.Read(), ElementsAre("OPENING g1", "2 NOT_SENT NOT_OPEN")) << "setup is not complete";
}

TEST(Sends, ASendMayWaitForTheNextOpenTransport) {
  Conversation talk(With({Login()}));
  talk.Send({.id = 1, .payload = "first", .max_wait = 5s});
  talk.Send({.id = 2, .payload = "second", .max_wait = 5s});
  talk.dialler.Accept();
  talk.Read();
  talk.peer().Text("ok");
  EXPECT_THAT(talk.Read(), ElementsAre("text ok", "OPEN g1", "1 WRITTEN", "2 WRITTEN"));
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do login", "first", "second"));
}

TEST(Sends, ASendWaitsNoLongerThanItMay) {
  Conversation talk;
  talk.Send({.id = 1, .payload = "x", .max_wait = 5s});
  talk.Send({.id = 2, .payload = "x", .max_wait = 2s});
  EXPECT_THAT(talk.After(2s), ElementsAre("CONNECTING #1", "2 NOT_SENT WAIT_EXPIRED"));
  EXPECT_THAT(talk.After(3s), ElementsAre("1 NOT_SENT WAIT_EXPIRED"));
  talk.Connect();
  EXPECT_THAT(talk.peer().Messages(), IsEmpty());
}

TEST(Sends, ASendThatWaitsSurvivesATransportThatNeverOpened) {
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

TEST(Sends, ASendMayInsistOnAGeneration) {
  Conversation talk;
  talk.Send({.id = 1, .payload = "x", .generation = 1, .max_wait = 5s});
  talk.dialler.Accept();
  talk.Send({.id = 2, .payload = "x", .generation = 1});
  talk.Send({.id = 3, .payload = "x", .generation = 2});
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "1 NOT_SENT WRONG_GENERATION", "OPENING g1", "OPEN g1",
                                       "3 NOT_SENT WRONG_GENERATION", "2 WRITTEN"));
}

TEST(Sends, TheSendQueueIsBounded) {
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

TEST(Sends, TheSendQueuesOfAllSessionsAreBoundedTogether) {
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

TEST(Sends, ASubscriptionIsStoredWhenWrittenAndRepeated) {
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

TEST(Sends, ASubscriptionThatWasNotSentIsNotStored) {
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

TEST(Sends, StoredSetupIsBounded) {
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

TEST(Sends, WhatWaitsToBeStoredCountsAgainstTheSetup) {
  Limits limits;
  limits.setup_steps = 2;
  Conversation talk({}, limits);
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Connect();
  talk.Send({.id = 1, .payload = "1", .setup_key = "in-flight"});
  talk.Send({.id = 2, .payload = "1", .setup_key = "not-begun"});
  talk.Send({.id = 3, .payload = "1", .setup_key = "too-many"});
  EXPECT_THAT(talk.Read(), ElementsAre("3 NOT_SENT LIMIT_REACHED"));
  talk.peer().End();
  talk.Read();
  EXPECT_THAT(talk.session().SetupKeys(), ElementsAre("in-flight"));
  talk.Send({.id = 4, .payload = "1", .max_wait = 1s, .setup_key = "takes-the-free-place"});
  talk.Send({.id = 5, .payload = "1", .max_wait = 1s, .setup_key = "too-many-again"});
  EXPECT_THAT(talk.Read(), ElementsAre("5 NOT_SENT LIMIT_REACHED"));
}

// ---- Pings. ----

TEST(Sends, APingIsAnsweredByAPong) {
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

TEST(Sends, UnansweredPingsAreBounded) {
  Limits limits;
  limits.unanswered_pings = 2;
  Conversation talk({}, limits);
  talk.Connect();
  for (const uint64_t id : {1u, 2u, 3u}) talk.session().Ping(id, "same");
  EXPECT_THAT(talk.Read(), testing::UnorderedElementsAre("1 WRITTEN", "2 WRITTEN", "3 NOT_SENT LIMIT_REACHED"));
  talk.peer().Pong("same");
  talk.Read();
  talk.session().Ping(4, "same");
  EXPECT_THAT(talk.Read(), ElementsAre("4 WRITTEN"));
}

TEST(Sends, APongAnswersAllPingsBeforeItToo) {
  Conversation talk;
  talk.Connect();
  talk.session().Ping(1, "first");
  talk.session().Ping(2, "second");
  talk.Read();
  talk.peer().Pong("second");
  talk.peer().Pong("first");
  EXPECT_THAT(talk.Read(), ElementsAre("pong second 0ms"));
}

TEST(Sends, PingsUnderWayAreBounded) {
  Conversation talk;
  talk.Connect();
  for (uint64_t id = 1; id <= 16; ++id) talk.session().Ping(id, "p");
  EXPECT_EQ(talk.Read().size(), 16u);
  talk.session().Ping(17, "p");
  EXPECT_THAT(talk.Read(), ElementsAre("17 NOT_SENT LIMIT_REACHED"));
}

TEST(Sends, APingDoesNotWaitForATransport) {
  Conversation talk;
  talk.session().Ping(1, "p");
  EXPECT_THAT(talk.Read(), ElementsAre("CONNECTING #1", "1 NOT_SENT NOT_OPEN"));
}

}  // namespace
}  // namespace fairlead
