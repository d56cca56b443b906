#include "session/registry.h"

#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

Reason RefusalOf(const Result<std::shared_ptr<Session>>& opened) {
  return opened ? Reason::kUnspecified : opened.error().reason;
}

std::vector<std::string> NamesOf(const std::vector<std::shared_ptr<Session>>& sessions) {
  std::vector<std::string> names;
  for (const auto& session : sessions) names.push_back(session->name());
  return names;
}

TEST(Registry, FindsBySessionAndIdentity) {
  Testbed bed;
  const auto session = bed.Open();
  EXPECT_EQ(bed.registry.Find("dev", "md"), session);
  EXPECT_EQ(bed.registry.Find("dev", "other"), nullptr);
  EXPECT_EQ(bed.registry.Find("somebody", "md"), nullptr) << "another identity's";
}

TEST(Registry, ReadsWhatIsGranted) {
  Testbed bed;
  bed.access.Set(Access({.grants = {{.identity = "dev", .sessions = {"md"}, .readers = {"desk"}}}}));
  Registry registry{bed.dialler, bed.time, [] { return 0.5; }, bed.limits, [] { return std::string("epoch"); },
                    bed.access};
  const auto session = *registry.Open("dev", "md", PlainOptions());
  EXPECT_EQ(registry.FindToRead("dev", "dev", "md"), session);
  EXPECT_EQ(registry.FindToRead("desk", "dev", "md"), session);
  EXPECT_EQ(registry.FindToRead("desk", "dev", "other"), nullptr);
  EXPECT_EQ(registry.FindToRead("risk", "dev", "md"), nullptr);
  EXPECT_EQ(registry.FindToRead("desk", "desk", "md"), nullptr) << "desk has none of this name";
}

TEST(Registry, ANameIsTheIdentitysOwn) {
  Testbed bed;
  const auto session = bed.Open();
  EXPECT_EQ(bed.Open(), session) << "taken over";
  EXPECT_NE(*bed.registry.Open("somebody", "md", PlainOptions()), session);
}

TEST(Registry, NamesAnonymousSessions) {
  Testbed bed;
  const auto one = bed.Open(PlainOptions(), "");
  const auto two = bed.Open(PlainOptions(), "");
  EXPECT_THAT(one->name(), StartsWith("~"));
  EXPECT_NE(one->name(), two->name());
  EXPECT_NE(one->epoch(), two->epoch());
  EXPECT_EQ(bed.registry.Find("dev", one->name()), one);
}

TEST(Registry, IsBounded) {
  Testbed bed;
  bed.limits.sessions = 2;
  auto owner = std::make_unique<Subscriber>(bed.Open(PlainOptions(), "a"));
  bed.Open(PlainOptions(), "b");
  EXPECT_EQ(RefusalOf(bed.registry.Open("dev", "c", PlainOptions())), Reason::kLimitReached);
  owner.reset();
  bed.time.Settle();
  EXPECT_TRUE(bed.registry.Open("dev", "c", PlainOptions())) << "a place is free again";
}

TEST(Registry, ANameIsFreeOnceItsSessionIsClosing) {
  Testbed bed;
  bed.dialler.prepare = [](Peer& peer) { peer.says_goodbye = false; };
  Subscriber first(bed.Open());
  first.session().Begin();
  Peer& peer = bed.dialler.Accept();
  first.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  Subscriber second(bed.Open());
  EXPECT_EQ(bed.registry.Find("dev", "md").get(), &second.session());
  EXPECT_EQ(bed.registry.size(), 2u) << "the first still says goodbye";
  peer.End();
  EXPECT_EQ(bed.registry.size(), 1u);
  EXPECT_EQ(bed.registry.Find("dev", "md").get(), &second.session());
}

TEST(Registry, ListsAnIdentitysSessionsByName) {
  Testbed bed;
  for (const char* name : {"c", "a", "d", "b"}) bed.Open(PlainOptions(), name);
  ASSERT_TRUE(bed.registry.Open("another", "aa", PlainOptions()));
  EXPECT_THAT(NamesOf(bed.registry.List("dev", "", 10)), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(NamesOf(bed.registry.List("dev", "", 2)), ElementsAre("a", "b"));
  EXPECT_THAT(NamesOf(bed.registry.List("dev", "b", 2)), ElementsAre("c", "d"));
  EXPECT_THAT(NamesOf(bed.registry.List("dev", "bb", 1)), ElementsAre("c")) << "also after a name that is gone";
  EXPECT_THAT(NamesOf(bed.registry.List("dev", "d", 2)), IsEmpty());
  EXPECT_THAT(NamesOf(bed.registry.List("nobody", "", 2)), IsEmpty());
}

TEST(Registry, DrainClosesAllAndTellsWhenTheyAre) {
  Testbed bed;
  bed.dialler.prepare = [](Peer& peer) { peer.says_goodbye = false; };
  Subscriber open(bed.Open(PlainOptions(), "open"));
  open.session().Begin();
  Peer& peer = bed.dialler.Accept();
  Subscriber dialling(bed.Open(PlainOptions(), "dialling"));
  dialling.session().Begin();
  bool drained = false;
  bed.registry.Drain(bed.time.Now() + 5s, [&] { drained = true; });
  bed.time.Settle();
  EXPECT_EQ(peer.goodbye->first, 1001);
  EXPECT_THAT(dialling.Read(), ElementsAre("CONNECTING #1", "CLOSED: DRAINING", "ended: DRAINING, closed"));
  bed.time.Advance(1s);
  const auto late = bed.registry.Open("dev", "late", PlainOptions());
  EXPECT_EQ(RefusalOf(late), Reason::kDraining);
  EXPECT_EQ(late.error().retry_after, 1s);
  EXPECT_FALSE(drained);
  peer.End();
  bed.time.Settle();
  EXPECT_TRUE(drained);
  EXPECT_EQ(bed.registry.size(), 0u);
}

TEST(Registry, DrainOfNothingIsDoneSoon) {
  Testbed bed;
  bool drained = false;
  bed.registry.Drain(bed.time.Now() + 5s, [&] { drained = true; });
  EXPECT_FALSE(drained);
  bed.time.Settle();
  EXPECT_TRUE(drained);
}

// Two sessions fill their journals; the larger gives up the older of its entries.
TEST(Registry, JournalsTogetherStayWithinTheirLimit) {
  Testbed bed;
  bed.limits.total_journal_bytes = 100'000;
  Subscriber small(bed.Open(PlainOptions(), "small"));
  Subscriber large(bed.Open(PlainOptions(), "large"));
  small.session().Begin();
  bed.dialler.Accept();
  large.session().Begin();
  bed.dialler.Accept();
  for (int i = 0; i < 5; ++i) bed.dialler.peers[0]->Text(std::string(936, 'x'));
  for (int i = 0; i < 1000; ++i) {
    bed.dialler.peers[1]->Text(std::string(936, 'x'));
    const size_t total = small.session().journal().bytes() + large.session().journal().bytes();
    ASSERT_LE(total, 100'000u);
    ASSERT_GT(total, i < 90 ? 0u : 80'000u) << "no more is given up than needed";
  }
  EXPECT_EQ(small.session().journal().oldest(), 1u);
  const Lines lines = large.Read();
  EXPECT_THAT(lines.front(), StartsWith("gap 1.."));
  EXPECT_EQ(large.missed + lines.size() - 1, 1003u) << "the gap covers exactly what is missing";
}

TEST(Registry, WhoWantsToBeDetachedIsAlsoWhenAnotherSessionTakesTheRoom) {
  Testbed bed;
  bed.limits.total_journal_bytes = 100'000;
  Subscriber idle(bed.Open(PlainOptions(), "idle"), {.overflow = Overflow::kDetach});
  idle.session().Begin();
  bed.dialler.Accept();
  for (int i = 0; i < 90; ++i) bed.dialler.peers[0]->Text(std::string(936, 'x'));
  Subscriber busy(bed.Open(PlainOptions(), "busy"));
  busy.session().Begin();
  bed.dialler.Accept();
  for (int i = 0; i < 50; ++i) bed.dialler.peers[1]->Text(std::string(936, 'x'));
  EXPECT_THAT(idle.Read(), ElementsAre("ended: OVERFLOW")) << "no gap behind its back";
}

// What somebody still reads of a closed session is not taken away, however little is left for the others.
TEST(Registry, JournalsThatNobodyGivesUpLeaveTheOthersTheirNewestEntry) {
  Testbed bed;
  bed.limits.total_journal_bytes = 100'000;
  Subscriber last(bed.Open(PlainOptions(), "closed"));
  last.session().Begin();
  bed.dialler.Accept();
  for (int i = 0; i < 95; ++i) bed.dialler.peer().Text(std::string(936, 'x'));
  last.session().Close({Reason::kClosed, Phase::kUnspecified, ""});
  bed.time.Settle();
  Subscriber live(bed.Open(PlainOptions(), "live"));
  live.session().Begin();
  bed.dialler.Accept();
  for (int i = 0; i < 50; ++i) bed.dialler.peer().Text(std::string(9936, 'x'));
  EXPECT_EQ(live.session().journal().oldest(), live.session().journal().head());
  EXPECT_EQ(last.Read().size(), 100u);
}

TEST(Registry, AClosedSessionsJournalCountsNoMore) {
  Testbed bed;
  bed.limits.total_journal_bytes = 100'000;
  for (int i = 0; i < 10; ++i) {
    Subscriber owner(bed.Open());
    owner.session().Begin();
    bed.dialler.Accept();
    bed.time.Settle();
    for (int frame = 0; frame < 60; ++frame) bed.dialler.peer().Text(std::string(936, 'x'));
    EXPECT_EQ(owner.Read().size(), 63u) << "all of it, each time";
    owner.Leave();
    bed.time.Settle();
  }
}

TEST(Registry, ClosesWhatMayNoLongerBe) {
  Testbed bed;
  bed.access.Set(Access({.listeners = {"dev"}, .egress = {EgressEverywhere()}}));
  SessionOptions options = PlainOptions();
  Subscriber kept(bed.Open(options, "kept"));
  options.url.host = "other.example.com";
  Subscriber owner(bed.Open(options, "md"));
  for (Subscriber* each : {&kept, &owner}) {
    each->session().Begin();
    bed.dialler.Accept();
    bed.time.Settle();
  }
  EXPECT_EQ(bed.registry.Recheck(), 0u);
  EgressRule rule = EgressEverywhere();
  rule.hosts = {"stream.example.com"};
  bed.access.Set(Access({.listeners = {"dev"}, .egress = {rule}}));
  EXPECT_EQ(bed.registry.Recheck(), 1u);
  bed.time.Advance(std::chrono::minutes(1));
  EXPECT_EQ(owner.session().state(), State::kClosed);
  EXPECT_EQ(owner.session().last_failure()->reason, Reason::kRevoked);
  EXPECT_EQ(bed.registry.Find("dev", "md"), nullptr) << "it does not linger";
  EXPECT_EQ(kept.session().state(), State::kOpen);
}

TEST(Registry, LooksAtWhereASessionIsAndWhereItWouldBeNext) {
  for (const char* forbidden : {"stream.example.com", "next.example.com"}) {
    Testbed bed;
    Subscriber owner(bed.Open());
    owner.session().Begin();
    bed.dialler.Accept();
    bed.time.Settle();
    Target next{.url = PlainOptions().url, .headers = {}};
    next.url.host = "next.example.com";
    owner.session().SetTarget(next);
    EgressRule rule = EgressEverywhere();
    rule.hosts = {"stream.example.com", "next.example.com"};
    bed.access.Set(Access({.listeners = {"dev"}, .egress = {rule}}));
    EXPECT_EQ(bed.registry.Recheck(), 0u);
    std::erase(rule.hosts, forbidden);
    bed.access.Set(Access({.listeners = {"dev"}, .egress = {rule}}));
    EXPECT_EQ(bed.registry.Recheck(), 1u) << forbidden;
  }
}

TEST(Registry, ACapIsOfOneIdentity) {
  Testbed bed;
  bed.access.Set(Access({.policies = {{.identity = "dev", .max_sessions = 1}, {.identity = "desk"}}}));
  const auto first = bed.Open();
  EXPECT_EQ(bed.registry.Open("dev", "second", PlainOptions()).error(),
            (Failure{Reason::kLimitReached, Phase::kNotSent, "policies[dev].max_sessions, 1, are open"}));
  EXPECT_EQ(bed.Open(), first) << "one that is there is taken over";
  for (const char* name : {"first", "second"}) EXPECT_TRUE(bed.registry.Open("desk", name, PlainOptions()));
  first->Close({Reason::kClosed});
  bed.time.Settle();
  EXPECT_TRUE(bed.registry.Open("dev", "second", PlainOptions()));
}

}  // namespace
}  // namespace fairlead
