// Sessions that outlive their adapters: lingering, and being taken over.
#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

SessionOptions Lingering(Duration linger = 30s) {
  SessionOptions options = PlainOptions();
  options.linger = linger;
  return options;
}

// Its first loss ends it, by itself.
SessionOptions Fragile() {
  SessionOptions options = Lingering();
  options.reconnect.enabled = false;
  return options;
}

// The next owner, as the registry and a stream make one.
std::unique_ptr<Subscriber> TakeOver(Testbed& bed, SessionOptions options = Lingering(), const Start& start = {}) {
  return std::make_unique<Subscriber>(bed.Open(std::move(options)), Subscriber::Options{.start = start});
}
Start After(const std::string& epoch, uint64_t sequence) { return {Start::From::kAfter, epoch, sequence}; }

TEST(Linger, ASessionOutlivesItsLastSubscriberAndMissesNothing) {
  Conversation talk(Lingering());
  talk.Connect();
  talk.peer().Text("one");
  EXPECT_THAT(talk.Read(), ElementsAre("text one"));
  const std::string epoch = talk.session().epoch();
  const uint64_t position = talk.owner->next() - 1;
  talk.owner.reset();
  talk.peer().Text("two");
  talk.time.Advance(29s);
  EXPECT_TRUE(talk.peer().live());
  talk.peer().Text("three");

  const auto next = TakeOver(talk, Lingering(), After(epoch, position));
  EXPECT_EQ(next->subscription().start(), StartOutcome::kResumed);
  EXPECT_THAT(next->Read(), ElementsAre("text two", "text three"));
  talk.time.Advance(1min);
  talk.peer().Text("four");
  EXPECT_THAT(next->Read(), ElementsAre("text four")) << "it no longer lingers";
  EXPECT_EQ(talk.dialler.peers.size(), 1u);
}

TEST(Linger, ClosesWhenNobodyComesBack) {
  Conversation talk(Lingering());
  talk.Connect();
  talk.owner.reset();
  talk.time.Advance(29'999ms);
  EXPECT_TRUE(talk.peer().live());
  talk.time.Advance(1ms);
  EXPECT_TRUE(talk.peer().goodbye);
  talk.time.Settle();
  EXPECT_EQ(talk.registry.size(), 0u);
}

TEST(Linger, IsCountedFromTheLastToLeave) {
  Conversation talk(Lingering());
  talk.Connect();
  talk.owner.reset();
  talk.time.Advance(20s);
  auto reader = std::make_unique<Subscriber>(talk.registry.Find("dev", "md"), Subscriber::Options{.owner = false});
  talk.time.Advance(20s);
  reader.reset();
  talk.time.Advance(20s);
  EXPECT_TRUE(talk.peer().live());
  talk.time.Advance(10s);
  EXPECT_TRUE(talk.peer().goodbye);
}

TEST(Linger, ASessionWithoutTransportGoesOnDialling) {
  Conversation talk(Lingering());
  talk.Connect();
  talk.owner.reset();
  talk.peer().End();
  talk.time.Advance(1s);
  talk.dialler.Accept();
  talk.peer().Text("after");
  const auto next = TakeOver(talk, Lingering(), {Start::From::kOldest});
  EXPECT_THAT(next->Read(),
              ElementsAre("CONNECTING #1", "OPENING g1", "OPEN g1", "RECONNECTING #2 in 250ms: CONNECTION_LOST",
                          "CONNECTING #2", "OPENING g2 blind 1000ms", "OPEN g2", "text after"));
}

TEST(Linger, WhatEndedByItselfStaysReadable) {
  Conversation talk(Fragile());
  talk.Connect();
  const std::string epoch = talk.session().epoch();
  talk.owner.reset();
  talk.peer().Text("last words");
  talk.peer().End();
  talk.time.Advance(29s);

  const auto kept = talk.registry.Find("dev", "md");
  ASSERT_NE(kept, nullptr);
  Subscriber reader(kept, {.owner = false, .start = After(epoch, 3)});
  EXPECT_THAT(reader.Read(),
              ElementsAre("text last words", "CLOSED: CONNECTION_LOST", "ended: CONNECTION_LOST, closed"));
  talk.time.Advance(1s);
  EXPECT_EQ(talk.registry.Find("dev", "md"), nullptr);
  EXPECT_EQ(talk.registry.size(), 0u);
}

TEST(Linger, WhatEndedByItselfDoesNotKeepTheName) {
  Conversation talk(Fragile());
  talk.Connect();
  const std::string epoch = talk.session().epoch();
  talk.peer().End();
  talk.Read();
  const auto next = TakeOver(talk, Fragile(), After(epoch, 4));
  EXPECT_EQ(next->subscription().start(), StartOutcome::kEpochChanged);
  EXPECT_EQ(talk.registry.Find("dev", "md").get(), &next->session());
  EXPECT_EQ(talk.registry.size(), 1u);
  talk.time.Advance(31s);
  EXPECT_EQ(talk.registry.Find("dev", "md").get(), &next->session()) << "the former's linger is not its own";
}

TEST(Linger, WhatEndedByItselfIsGoneWhenItIsClosed) {
  Conversation talk(Fragile());
  talk.Connect();
  talk.peer().End();
  talk.Read();
  ASSERT_NE(talk.registry.Find("dev", "md"), nullptr);
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  EXPECT_EQ(talk.registry.Find("dev", "md"), nullptr);
}

TEST(Linger, WhatWasClosedOnPurposeIsGone) {
  Conversation talk(Lingering());
  talk.Connect();
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  talk.Read();
  EXPECT_EQ(talk.registry.Find("dev", "md"), nullptr);
}

TEST(Linger, ADrainWaitsForNobodyWhoIsGone) {
  Conversation talk(Fragile());
  talk.Connect();
  talk.peer().End();
  talk.Read();
  bool drained = false;
  talk.registry.Drain(talk.time.Now() + 5s, [&] { drained = true; });
  talk.time.Settle();
  EXPECT_TRUE(drained);
}

TEST(TakeOver, TheFormerOwnerIsToldAfterAllThatCameBefore) {
  Conversation talk(Lingering());
  talk.Connect();
  talk.peer().Text("before");
  const auto next = TakeOver(talk);
  EXPECT_EQ(next->subscription().start(), StartOutcome::kLive);
  talk.peer().Text("after");
  EXPECT_THAT(talk.owner->Read(), ElementsAre("text before", "ended: SUPERSEDED"));
  EXPECT_THAT(next->Read(), ElementsAre("text after"));
  EXPECT_FALSE(talk.owner->subscription().owner()) << "it may no longer command";
  EXPECT_THAT(talk.session().subscriptions(), ElementsAre(&next->subscription()));

  // Its leaving is nobody's.
  talk.owner->Leave();
  talk.time.Advance(1min);
  EXPECT_TRUE(talk.peer().live());
}

TEST(TakeOver, AStuckFormerOwnerMissesWhatTheRingLosesAndIsToldSo) {
  SessionOptions options = Lingering();
  options.journal.bytes = 3 * (64 + 1);
  Conversation talk(options);
  talk.Connect();
  talk.peer().Text("a");
  const auto next = TakeOver(talk, options);
  for (const char* text : {"b", "c", "d"}) talk.peer().Text(text);
  EXPECT_THAT(talk.owner->Read(), ElementsAre("gap 4..4", "ended: SUPERSEDED")) << "not of what was never for it";
  EXPECT_THAT(next->Read(), ElementsAre("text b", "text c", "text d"));
}

TEST(TakeOver, AHeldFormerOwnerIsToldToo) {
  Conversation talk(Lingering());
  talk.Connect();
  talk.owner->subscription().Hold(true);
  talk.peer().Text("held back");
  const auto next = TakeOver(talk);
  talk.peer().Text("for the next");
  EXPECT_THAT(talk.Read(), ElementsAre("gap 4..4", "ended: SUPERSEDED"));
}

// The results of its withdrawn sends are more than the ring holds: it must not come back as after an overflow.
TEST(TakeOver, AnOwnerThatOverflowsInBeingSupersededIsToldThatItIs) {
  SessionOptions options = Lingering();
  options.journal.bytes = 3 * 64;
  Conversation talk(options);
  talk.owner = std::make_unique<Subscriber>(talk.Open(options), Subscriber::Options{.overflow = Overflow::kDetach});
  for (const uint64_t id : {1, 2, 3, 4}) talk.Send({.id = id, .payload = "order", .max_wait = 5s});
  const auto next = TakeOver(talk, options);
  EXPECT_THAT(talk.Read(), ElementsAre("gap 2..2", "2 NOT_SENT SUPERSEDED", "3 NOT_SENT SUPERSEDED",
                                       "4 NOT_SENT SUPERSEDED", "ended: SUPERSEDED"));
}

TEST(TakeOver, ReadersGoOn) {
  Conversation talk(Lingering());
  talk.Connect();
  Subscriber reader(talk.registry.Find("dev", "md"), {.owner = false});
  const auto next = TakeOver(talk);
  talk.peer().Text("to all");
  EXPECT_THAT(reader.Read(), ElementsAre("text to all"));
}

// What is in the kernel, or on its way there, is not taken back; what the session needs itself goes on.
TEST(TakeOver, WhatTheFormerOwnerStillWantedWrittenIsNotSent) {
  Conversation talk(Lingering());
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Connect();
  for (const uint64_t id : {1, 2, 3}) talk.Send(id, "order " + std::to_string(id));
  const auto next = TakeOver(talk, Lingering(), {Start::From::kOldest});
  EXPECT_THAT(talk.owner->Read(), ElementsAre("2 NOT_SENT SUPERSEDED", "3 NOT_SENT SUPERSEDED", "ended: SUPERSEDED"));
  next->Read();
  talk.session().Send({.id = 4, .payload = "order 4"});
  talk.peer().Take();
  talk.peer().Take();
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("order 1", "order 4"));
  EXPECT_THAT(next->Read(), ElementsAre("1 WRITTEN", "4 WRITTEN"));
}

TEST(TakeOver, PongsAreForWhoeverPinged) {
  Conversation talk(Lingering());
  talk.dialler.prepare = [](Peer& peer) { peer.takes_writes = false; };
  talk.Connect();
  talk.session().Ping(1, "");
  talk.session().Ping(2, "");
  const auto next = TakeOver(talk);
  EXPECT_THAT(talk.owner->Read(), ElementsAre("2 NOT_SENT SUPERSEDED", "ended: SUPERSEDED"));
  next->session().Ping(3, "");
  talk.peer().Take();
  talk.peer().Take();
  talk.peer().Pong("");
  EXPECT_THAT(next->Read(), ElementsAre("1 WRITTEN", "3 WRITTEN")) << "the former owner's";
  talk.peer().Pong("");
  EXPECT_THAT(next->Read(), ElementsAre("pong  0ms"));
}

TEST(TakeOver, WhatWaitedForATransportIsNotSent) {
  Conversation talk(Lingering());
  talk.Send({.id = 1, .payload = "order", .max_wait = 5s, .setup_key = "sub"});
  const auto next = TakeOver(talk, Lingering(), {Start::From::kOldest});
  EXPECT_THAT(talk.owner->Read(), ElementsAre("CONNECTING #1", "1 NOT_SENT SUPERSEDED", "ended: SUPERSEDED"));
  talk.dialler.Accept();
  talk.time.Advance(5s);
  EXPECT_THAT(next->Read(), ElementsAre("CONNECTING #1", "1 NOT_SENT SUPERSEDED", "OPENING g1", "OPEN g1"));
  EXPECT_THAT(talk.peer().Messages(), IsEmpty());
  EXPECT_THAT(next->session().SetupKeys(), IsEmpty());
}

TEST(TakeOver, NothingIsWrittenAndTheNextTransportGetsTheNewSetup) {
  SessionOptions first = With({Step("a"), Step("b")});
  first.linger = 30s;
  Conversation talk(first);
  talk.Connect();
  SessionOptions second = With({Step("c")});
  second.url.target = Secret(second.url.target.Reveal() + "?token=2");
  second.headers = {{"X-Key", "2"}};
  const auto next = TakeOver(talk, second);
  EXPECT_THAT(next->session().SetupKeys(), ElementsAre("c"));
  talk.time.Settle();
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do a", "do b"));
  next->session().Reconnect(0);
  talk.time.Settle();
  talk.dialler.Accept();
  talk.time.Settle();
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do c"));
  EXPECT_EQ(talk.dialler.requests.back().url.target.Reveal(), "/ws?token=2");
  EXPECT_EQ(talk.dialler.requests.back().headers, second.headers);
}

// The transport that is being set up gets what it began with, whole.
TEST(TakeOver, ASetupUnderWayGoesOn) {
  SessionOptions first = With({{.key = "login", .payload = "do login", .expect = {{"welcome"}}}, Step("sub")});
  Conversation talk(first);
  talk.dialler.Accept();
  talk.time.Settle();
  const auto next = TakeOver(talk, With({Step("other")}));
  talk.peer().Text("welcome");
  talk.time.Settle();
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do login", "do sub"));
  EXPECT_THAT(next->Read(), ElementsAre("text welcome", "OPEN g1"));
  talk.peer().End();
  talk.time.Advance(1s);
  talk.dialler.Accept();
  talk.time.Settle();
  EXPECT_THAT(talk.peer().Messages(), ElementsAre("do other"));
}

TEST(TakeOver, PoliciesHoldAtOnce) {
  Conversation talk(Lingering());
  talk.Connect();
  talk.time.Advance(1min);
  SessionOptions strict = Lingering(1s);
  strict.heartbeat.idle_timeout = 5s;
  strict.reconnect.enabled = false;
  strict.journal.bytes = 2 * (64 + 1);
  auto next = TakeOver(talk, strict);
  for (const char* text : {"a", "b", "c"}) talk.peer().Text(text);
  EXPECT_EQ(next->session().journal().oldest() + 1, next->session().journal().head()) << "retention";
  talk.time.Advance(4s);
  EXPECT_TRUE(talk.peer().live()) << "the silence before was the former owner's affair";
  talk.time.Advance(1s);
  next->Read();
  EXPECT_EQ(next->session().last_failure()->reason, Reason::kIdleTimeout);
  EXPECT_TRUE(next->session().closed()) << "reconnect";
  next.reset();
  talk.time.Advance(1s);
  EXPECT_EQ(talk.registry.size(), 0u) << "linger";
}

TEST(TakeOver, WhatDiffersInWhatASessionIsIsRefusedByName) {
  struct Case {
    const char* field;
    std::function<void(SessionOptions&)> change;
  };
  const Case cases[] = {
      {"open.target.url", [](SessionOptions& options) { options.url.host = "other.example.com"; }},
      {"open.target.url", [](SessionOptions& options) { options.url.target = Secret("/other"); }},
      {"open.target.url", [](SessionOptions& options) { options.url.port = 81; }},
      {"open.target.url", [](SessionOptions& options) { options.url.scheme = "wss"; }},
      {"open.websocket.subprotocols", [](SessionOptions& options) { options.websocket.subprotocols = {"v2"}; }},
      {"open.websocket.permessage_deflate",
       [](SessionOptions& options) { options.websocket.permessage_deflate = true; }},
      {"open.websocket.max_message_bytes", [](SessionOptions& options) { options.websocket.max_message_bytes = 1; }},
      {"open.socket.framing", [](SessionOptions& options) { options.socket.framing = Unframed{}; }},
      {"open.socket.max_frame_bytes", [](SessionOptions& options) { options.socket.max_frame_bytes = 1; }},
      {"open.socket.preamble", [](SessionOptions& options) { options.socket.preamble = "API"; }},
  };
  Conversation talk(Lingering());
  talk.Connect();
  for (const Case& each : cases) {
    SCOPED_TRACE(each.field);
    SessionOptions wanted = Lingering();
    each.change(wanted);
    const auto refused = talk.registry.Open("dev", "md", wanted);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::kSessionLive);
    EXPECT_THAT(refused.error().message, HasSubstr(each.field));
  }
  talk.peer().Text("undisturbed");
  EXPECT_THAT(talk.Read(), ElementsAre("text undisturbed"));
  EXPECT_TRUE(talk.owner->subscription().owner());
}

TEST(TakeOver, IsPossibleAtTheLimitOfSessions) {
  Limits limits;
  limits.sessions = 1;
  Conversation talk(Lingering(), limits);
  EXPECT_TRUE(talk.registry.Open("dev", "md", Lingering()));
  EXPECT_FALSE(talk.registry.Open("dev", "other", Lingering()));
}

}  // namespace
}  // namespace fairlead
