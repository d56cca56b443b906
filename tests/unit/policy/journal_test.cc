#include "policy/journal.h"

#include <gtest/gtest.h>

#include "support/random.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kStart{1h};

// The payload outlives it.
Entry Frame(std::string_view payload, WallTime time = kStart) {
  return {.generation = 1, .time = time, .what = FrameEntry(FrameKind::kText, payload)};
}
Entry Change(WallTime time = kStart) { return {.time = time, .what = std::make_unique<StateChange>()}; }

TEST(Journal, IsEmptyAtFirst) {
  const Journal journal({});
  EXPECT_EQ(journal.head(), 0u);
  EXPECT_EQ(journal.oldest(), 1u);
  EXPECT_EQ(journal.bytes(), 0u);
}

TEST(Journal, NumbersFromOne) {
  Journal journal({});
  EXPECT_EQ(journal.Append(Frame("a")), 1u);
  EXPECT_EQ(journal.Append(Change()), 2u);
  EXPECT_EQ(journal.Append(Frame("c")), 3u);
  EXPECT_EQ(journal.oldest(), 1u);
  EXPECT_EQ(journal.head(), 3u);
  EXPECT_EQ(journal.at(3).frame()->payload, "c");
  EXPECT_EQ(journal.at(2).frame(), nullptr);
}

TEST(Journal, CountsPayloadsAndAFixedCost) {
  Journal journal({});
  journal.Append(Frame("12345"));
  EXPECT_EQ(journal.bytes(), 69u);
  journal.Append(Change());
  EXPECT_EQ(journal.bytes(), 133u);
}

TEST(Journal, CountsWhatComesFromASequenceOn) {
  Journal journal({.bytes = 3 * 74});
  EXPECT_EQ(journal.BytesFrom(1), 0u);
  for (int i = 0; i < 5; ++i) journal.Append(Frame("0123456789"));
  EXPECT_EQ(journal.BytesFrom(1), 3u * 74) << "of what is left";
  EXPECT_EQ(journal.BytesFrom(3), 3u * 74);
  EXPECT_EQ(journal.BytesFrom(5), 74u);
  EXPECT_EQ(journal.BytesFrom(6), 0u);
}

TEST(Journal, EvictsTheOldestBeyondItsBytes) {
  Journal journal({.bytes = 3 * 74});
  for (int i = 0; i < 5; ++i) journal.Append(Frame("0123456789"));
  EXPECT_EQ(journal.oldest(), 3u);
  EXPECT_EQ(journal.head(), 5u);
  EXPECT_EQ(journal.bytes(), 3u * 74);
}

TEST(Journal, TheNewestStaysHoweverLong) {
  Journal journal({.bytes = 100});
  journal.Append(Frame("a"));
  journal.Append(Frame(std::string(1000, 'x')));
  EXPECT_EQ(journal.oldest(), 2u);
  EXPECT_EQ(journal.head(), 2u);
  EXPECT_EQ(journal.at(2).frame()->payload.size(), 1000u);
}

TEST(Journal, EvictsWhatIsTooOld) {
  Journal journal({.age = 10s});
  journal.Append(Frame("a", kStart));
  journal.Append(Frame("b", kStart + 5s));
  journal.Append(Frame("c", kStart + 10s));
  EXPECT_EQ(journal.oldest(), 1u) << "as old as allowed";
  journal.Append(Frame("d", kStart + 14s));
  EXPECT_EQ(journal.oldest(), 2u);
  journal.Append(Frame("e", kStart + 1h));
  EXPECT_EQ(journal.oldest(), 5u) << "only the newest is left";
}

TEST(Journal, ShrinksOnDemand) {
  Journal journal({});
  for (int i = 0; i < 4; ++i) journal.Append(Frame("0123456789"));
  journal.Shrink(2 * 74 + 1);
  EXPECT_EQ(journal.oldest(), 3u);
  journal.Shrink(0);
  EXPECT_EQ(journal.oldest(), 4u);
  EXPECT_EQ(journal.bytes(), 74u);
}

TEST(Journal, KeepsItsPromisesWhateverHappens) {
  ForEachSeed(300, [](Draws& draws) {
    const Journal::Limits limits{.bytes = draws.Between(64, 4000),
                                 .age = draws.OneIn(2) ? 0s : 1ms + draws.Milliseconds(2000)};
    Journal journal(limits);
    WallTime now = kStart;
    uint64_t head = 0;
    std::vector<size_t> sizes = {0};  // By sequence.
    std::vector<WallTime> times = {now};
    for (int step = 0; step < 300; ++step) {
      now += draws.Milliseconds(100);
      const uint64_t oldest_before = journal.oldest();
      if (draws.OneIn(20)) {
        journal.Shrink(draws.Below(4000));
      } else {
        const std::string text = draws.Text(600);
        Entry entry = draws.OneIn(4) ? Change(now) : Frame(text, now);
        sizes.push_back(64 + (entry.frame() == nullptr ? 0 : entry.frame()->payload.size()));
        times.push_back(now);
        EXPECT_EQ(journal.Append(std::move(entry)), ++head) << "without holes";
      }
      EXPECT_EQ(journal.head(), head);
      EXPECT_GE(journal.oldest(), oldest_before) << "what is evicted stays so";
      size_t bytes = 0;
      for (uint64_t at = journal.oldest(); at <= head; ++at) {
        bytes += sizes[at];
        EXPECT_EQ(journal.at(at).time, times[at]);
        const FrameEntry* frame = journal.at(at).frame();
        EXPECT_EQ(64 + (frame == nullptr ? 0 : frame->payload.size()), sizes[at]);
      }
      EXPECT_EQ(journal.bytes(), bytes);
      EXPECT_TRUE(bytes <= limits.bytes || journal.oldest() == head) << "within the limit, or one entry";
      if (head > 0 && limits.age != 0s && times.back() == now) {
        EXPECT_LE(now - journal.at(journal.oldest()).time, limits.age);
      }
      if (head > 0) {
        EXPECT_LE(journal.oldest(), head) << "the newest stays";
      }
    }
  });
}

}  // namespace
}  // namespace fairlead
