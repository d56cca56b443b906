#include "session/subscription.h"

#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// Room for three entries of ten bytes.
SessionOptions ThreeEntries() {
  SessionOptions options = PlainOptions();
  options.journal.bytes = 3 * (64 + 10);
  return options;
}
// Ten bytes each.
std::string Number(int number) { return "frame " + std::to_string(1000 + number); }
void Deliver(Peer& peer, int first, int last) {
  for (int number = first; number <= last; ++number) peer.Text(Number(number));
}

std::unique_ptr<Subscriber> Join(Conversation& talk, const Start& start, Overflow overflow = Overflow::kSkip) {
  return std::make_unique<Subscriber>(talk.owner->subscription().session(),
                                      Subscriber::Options{.owner = false, .start = start, .overflow = overflow});
}
Start After(const std::string& epoch, uint64_t sequence) { return {Start::From::kAfter, epoch, sequence}; }

TEST(Subscription, TheFirstIsNewAndLaterOnesAreLive) {
  Conversation talk;
  EXPECT_EQ(talk.owner->subscription().start(), StartOutcome::kNew);
  EXPECT_EQ(Join(talk, {})->subscription().start(), StartOutcome::kLive);
}

TEST(Subscription, HeadBeginsWithWhatComesNext) {
  Conversation talk;
  talk.Connect();
  const auto reader = Join(talk, {});
  EXPECT_THAT(reader->Read(), IsEmpty());
  talk.peer().Text("next");
  EXPECT_THAT(reader->Read(), ElementsAre("text next"));
}

TEST(Subscription, OldestBeginsWithWhatIsThere) {
  Conversation talk;
  talk.Connect();
  const auto reader = Join(talk, {Start::From::kOldest});
  EXPECT_EQ(reader->subscription().start(), StartOutcome::kLive);
  EXPECT_THAT(reader->Read(), ElementsAre("CONNECTING #1", "OPENING g1", "OPEN g1"));
}

TEST(Subscription, AfterResumesBehindAPosition) {
  Conversation talk;
  talk.Connect();
  Deliver(talk.peer(), 1, 3);
  const auto reader = Join(talk, After(talk.session().epoch(), 5));
  EXPECT_EQ(reader->subscription().start(), StartOutcome::kResumed);
  EXPECT_THAT(reader->Read(), ElementsAre("text frame 1003"));
}

TEST(Subscription, AfterIsPrecededByOneGapIfTheRingHasMovedOn) {
  Conversation talk(ThreeEntries());
  talk.Connect();
  Deliver(talk.peer(), 1, 10);  // Sequences 4 to 13; 11 to 13 are left.
  const auto reader = Join(talk, After(talk.session().epoch(), 2));
  EXPECT_EQ(reader->subscription().start(), StartOutcome::kResumed);
  EXPECT_THAT(reader->Read(), ElementsAre("gap 3..10", "text frame 1008", "text frame 1009", "text frame 1010"));
}

// The past was gone before it came: that is a gap, also for one who wants to be detached on overflow, and also if
// entries come before it has read.
TEST(Subscription, AfterWithDetachIsPrecededByAGapToo) {
  SessionOptions options = ThreeEntries();
  options.journal.bytes += 64 + 6;  // And one result, but no fourth frame.
  Conversation talk(options);
  talk.Connect();
  Deliver(talk.peer(), 1, 10);
  const auto reader = Join(talk, After(talk.session().epoch(), 2), Overflow::kDetach);
  talk.Send(1, "x");
  talk.time.Settle();
  EXPECT_THAT(reader->Read(),
              ElementsAre("gap 3..10", "text frame 1008", "text frame 1009", "text frame 1010", "1 WRITTEN"));
  const auto late = Join(talk, After(talk.session().epoch(), 2), Overflow::kDetach);
  talk.peer().Text(Number(11));
  EXPECT_THAT(late->Read(), ElementsAre("ended: OVERFLOW")) << "entry 11 was there, and is missed";
}

TEST(Subscription, BeyondTheHeadWaitsAtTheHead) {
  Conversation talk;
  talk.Connect();
  const auto reader = Join(talk, After(talk.session().epoch(), 1'000'000));
  EXPECT_EQ(reader->next(), 4u);
  const auto furthest = Join(talk, After(talk.session().epoch(), UINT64_MAX));
  EXPECT_EQ(furthest->next(), 4u);
}

TEST(Subscription, AnotherEpochBeginsWithTheOldest) {
  Conversation talk;
  talk.Connect();
  const auto reader = Join(talk, After("another", 2));
  EXPECT_EQ(reader->subscription().start(), StartOutcome::kEpochChanged);
  EXPECT_THAT(reader->Read(), ElementsAre("CONNECTING #1", "OPENING g1", "OPEN g1"));
}

TEST(Subscription, SkipTellsOneGapAndGoesOn) {
  Conversation talk(ThreeEntries());
  talk.Connect();
  Deliver(talk.peer(), 1, 100);
  EXPECT_THAT(talk.Read(), ElementsAre("gap 4..100", "text frame 1098", "text frame 1099", "text frame 1100"));
  EXPECT_EQ(talk.owner->missed, 97u);
  talk.peer().Text("on");
  EXPECT_THAT(talk.Read(), ElementsAre("text on"));
}

TEST(Subscription, DetachEndsTheSlowAndSaysWhereToResume) {
  Conversation talk(ThreeEntries());
  talk.Connect();
  const auto reader = Join(talk, {}, Overflow::kDetach);
  Deliver(talk.peer(), 1, 1);
  EXPECT_THAT(reader->Read(), ElementsAre("text frame 1001"));
  Deliver(talk.peer(), 2, 4);
  EXPECT_EQ(reader->subscription().ended(), nullptr) << "the ring holds them all";
  Deliver(talk.peer(), 5, 5);
  EXPECT_THAT(reader->Read(), ElementsAre("ended: OVERFLOW"));
  const std::string& message = reader->subscription().ended()->cause.message;
  EXPECT_NE(message.find("after sequence 4 of epoch " + talk.session().epoch()), std::string::npos) << message;
  talk.time.Settle();
  EXPECT_EQ(talk.session().subscriptions().size(), 1u) << "it has left the session";
  EXPECT_THAT(talk.Read(), ElementsAre("gap 4..5", "text frame 1003", "text frame 1004", "text frame 1005"));
}

TEST(Subscription, WhenTheOnlyOneOverflowsTheSessionCloses) {
  Conversation talk(ThreeEntries());
  const auto reader = Join(talk, {}, Overflow::kDetach);
  talk.owner->Leave();
  talk.dialler.Accept();
  Deliver(talk.peer(), 1, 10);
  talk.time.Settle();
  EXPECT_THAT(reader->Read(), ElementsAre("ended: OVERFLOW"));
  EXPECT_EQ(talk.registry.size(), 0u);
}

// Results of commands follow CLOSED, and may be what the ring has no room for.
TEST(Subscription, WhoOverflowsBehindTheEndOfTheSessionIsToldSo) {
  SessionOptions options = ThreeEntries();
  options.reconnect.enabled = false;
  Conversation talk(options);
  talk.Connect();
  const auto reader = Join(talk, {}, Overflow::kDetach);
  talk.peer().End();
  talk.Send(1, "x");
  talk.Send(2, "x");
  EXPECT_EQ(reader->subscription().ended(), nullptr) << "the ring holds CLOSED";
  talk.Send(3, std::string(100, 'x'));
  talk.Send(4, "x");
  talk.Send(5, "x");
  EXPECT_THAT(reader->Read(), ElementsAre("ended: OVERFLOW")) << "not as if it had been given everything";
}

// It is given no more entries: it would never see what became of its commands.
TEST(Subscription, AnOwnerThatOverflowsOwnsNoLonger) {
  Conversation talk(ThreeEntries());
  talk.Connect();
  talk.owner =
      std::make_unique<Subscriber>(talk.Open(ThreeEntries()), Subscriber::Options{.overflow = Overflow::kDetach});
  const auto reader = Join(talk, {});
  EXPECT_TRUE(talk.owner->subscription().owner());
  Deliver(talk.peer(), 1, 10);
  EXPECT_FALSE(talk.owner->subscription().owner());
  const Subscriber next(talk.Open(ThreeEntries()), Subscriber::Options{});
  EXPECT_THAT(talk.Read(), ElementsAre("ended: OVERFLOW"));
}

TEST(Subscription, ASlowOneDelaysNobody) {
  Conversation talk(ThreeEntries());
  talk.Connect();
  const auto slow = Join(talk, {});
  for (int number = 1; number <= 10; ++number) {
    talk.peer().Text(Number(number));
    EXPECT_THAT(talk.Read(), ElementsAre("text " + Number(number)));
  }
  EXPECT_THAT(slow->Read(), ElementsAre("gap 4..10", "text frame 1008", "text frame 1009", "text frame 1010"));
}

TEST(Subscription, AHeldOneGetsNoEntriesUntilItIsReleased) {
  Conversation talk;
  talk.Connect();
  talk.owner->subscription().Hold(true);
  Deliver(talk.peer(), 1, 2);
  EXPECT_FALSE(talk.owner->woken());
  EXPECT_THAT(talk.Read(), IsEmpty());
  EXPECT_EQ(talk.owner->subscription().lag(), 2u);
  EXPECT_EQ(talk.owner->subscription().lag_bytes(), 2u * 74);
  const WallTime came = talk.time.WallNow();
  talk.time.Advance(1s);
  EXPECT_EQ(talk.owner->subscription().lagging_since(), came);
  talk.owner->subscription().Hold(false);
  EXPECT_TRUE(talk.owner->woken());
  EXPECT_THAT(talk.Read(), ElementsAre("text frame 1001", "text frame 1002"));
  EXPECT_EQ(talk.owner->subscription().lag(), 0u);
  EXPECT_EQ(talk.owner->subscription().lag_bytes(), 0u);
  EXPECT_EQ(talk.owner->subscription().lagging_since(), std::nullopt);
}

TEST(Subscription, AHeldOneOverflowsLikeAnyOther) {
  Conversation talk(ThreeEntries());
  talk.Connect();
  const auto skips = Join(talk, {});
  const auto detaches = Join(talk, {}, Overflow::kDetach);
  skips->subscription().Hold(true);
  detaches->subscription().Hold(true);
  Deliver(talk.peer(), 1, 10);
  EXPECT_THAT(skips->Read(), IsEmpty());
  EXPECT_THAT(detaches->Read(), ElementsAre("ended: OVERFLOW"));
  skips->subscription().Hold(false);
  EXPECT_THAT(skips->Read(), ElementsAre("gap 4..10", "text frame 1008", "text frame 1009", "text frame 1010"));
}

TEST(Subscription, AHeldOneIsToldOfTheEnd) {
  Conversation talk;
  talk.Connect();
  talk.owner->subscription().Hold(true);
  Deliver(talk.peer(), 1, 2);
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  EXPECT_THAT(talk.Read(), ElementsAre("gap 4..6", "ended: CLOSED, closed"))
      << "what it was not given it never will be";
}

TEST(Subscription, TheEndComesAfterEverythingElse) {
  Conversation talk;
  talk.Connect();
  const auto reader = Join(talk, {});
  talk.peer().Text("last");
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  talk.time.Settle();
  EXPECT_EQ(reader->subscription().ended(), nullptr);
  EXPECT_THAT(reader->Read(), ElementsAre("text last", "CLOSED: CLOSED 1000 ", "ended: CLOSED, closed"));
}

TEST(Subscription, OnlyTheOwnerGetsPongs) {
  Conversation talk;
  talk.Connect();
  const auto reader = Join(talk, {});
  talk.session().Ping(1, "p");
  talk.time.Settle();
  talk.peer().Pong("p");
  EXPECT_THAT(talk.Read(), ElementsAre("pong p 0ms", "1 WRITTEN"));
  EXPECT_THAT(reader->Read(), ElementsAre("1 WRITTEN")) << "results are for all";
}

TEST(Subscription, MayOutliveItsSession) {
  Conversation talk;
  talk.Connect();
  talk.peer().Text("kept");
  talk.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  talk.time.Settle();
  EXPECT_EQ(talk.registry.size(), 0u);
  EXPECT_THAT(talk.Read(), ElementsAre("text kept", "CLOSED: CLOSED 1000 ", "ended: CLOSED, closed"));
}

}  // namespace
}  // namespace fairlead
