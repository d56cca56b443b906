#include "policy/journal_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/kept_text.h"
#include "support/random.h"
#include "support/subscriber.h"

namespace fairlead {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;

const SegmentHeader kHeader{
    .first = 7, .ordinal = 3, .epoch = "e-1", .identity = std::string("any\0\n/..", 8), .session = "md"};

Entry Frame(FrameKind kind, std::string payload) {
  return {.generation = 4,
          .time = WallTime(Duration(1234567890123456789)),
          .what = FrameEntry(kind, Kept(std::move(payload)))};
}

Entry FullStateChange() {
  return {.generation = 5,
          .time = WallTime(Duration(-1)),
          .what = std::make_unique<StateChange>(
              StateChange{.state = State::kOpening,
                          .generation = 5,
                          .cause = Failure{Reason::kUpgradeRefused, Phase::kReplied, "429", Duration(5), "quota"},
                          .close_code = 1001,
                          .close_reason = "going away",
                          .attempt = 3,
                          .retry_in = std::chrono::milliseconds(250),
                          .blind_from = WallTime(Duration(10)),
                          .blind_until = WallTime(Duration(20))})};
}

Entry Result(uint64_t id, Outcome outcome, std::optional<Failure> failure) {
  return {.generation = 5,
          .time = WallTime(Duration(3)),
          .what = std::make_unique<CommandResult>(CommandResult{id, outcome, std::move(failure)})};
}

std::vector<Entry> SomeEntries() {
  std::vector<Entry> entries;
  entries.push_back({.generation = 0,
                     .time = WallTime(Duration(1)),
                     .what = std::make_unique<StateChange>(StateChange{.state = State::kConnecting})});
  entries.push_back(FullStateChange());
  entries.push_back(Frame(FrameKind::kText, "hello"));
  entries.push_back(Frame(FrameKind::kBinary, ""));
  entries.push_back(Frame(FrameKind::kBinary, std::string(300, '\0')));
  entries.push_back(Result(UINT64_MAX, Outcome::kWritten, std::nullopt));
  entries.push_back({.generation = 5,
                     .time = WallTime(Duration(4)),
                     .what = std::make_unique<TopicChange>(TopicChange{"btc", true, std::nullopt})});
  entries.push_back({.generation = 5,
                     .time = WallTime(Duration(5)),
                     .what = std::make_unique<TopicChange>(TopicChange{"", false, WallTime(Duration(4))})});
  entries.push_back(Result(9, Outcome::kUnknown, Failure{Reason::kConnectionLost, Phase::kPartlySent, "lost"}));
  return entries;
}

// A segment of these entries, with zeros behind it as in a file; `ends`: where each part ends.
std::string Segment(const std::vector<Entry>& entries, std::vector<size_t>* ends = nullptr, size_t zeros = 100) {
  std::string bytes = EncodeHeader(kHeader);
  if (ends != nullptr) ends->push_back(bytes.size());
  uint64_t sequence = kHeader.first;
  for (const Entry& entry : entries) {
    const EncodedEntry encoded(sequence++, entry);
    const size_t at = bytes.size();
    bytes.resize(at + encoded.size());
    encoded.Write(bytes.data() + at);
    if (ends != nullptr) ends->push_back(bytes.size());
  }
  return bytes + std::string(zeros, '\0');
}

std::vector<std::string> Read(std::string_view bytes) {
  std::vector<std::string> lines;
  SegmentReader reader(bytes);
  while (const auto entry = reader.Next())
    lines.push_back(std::to_string(reader.sequence()) + " g" + std::to_string(entry->generation) + " @" +
                    std::to_string(entry->time.time_since_epoch().count()) + " " + Describe(*entry));
  return lines;
}

TEST(JournalRecord, WhatIsWrittenIsReadAgain) {
  const std::string bytes = Segment(SomeEntries());
  SegmentReader reader(bytes);
  EXPECT_EQ(reader.header(), kHeader);
  EXPECT_THAT(Read(bytes), ElementsAre("7 g0 @1 CONNECTING",
                                       "8 g5 @-1 OPENING g5 #3 in 250ms blind 0ms: UPGRADE_REFUSED 1001 going away",
                                       "9 g4 @1234567890123456789 text hello", "10 g4 @1234567890123456789 binary ",
                                       "11 g4 @1234567890123456789 binary " + std::string(300, '\0'),
                                       "12 g5 @3 18446744073709551615 WRITTEN", "13 g5 @4 topic btc stale, never",
                                       "14 g5 @5 topic  heard", "15 g5 @3 9 UNKNOWN CONNECTION_LOST"));
}

TEST(JournalRecord, EveryFieldOfAStateChangeComesBack) {
  std::vector<Entry> entries;
  entries.push_back(FullStateChange());
  const std::string bytes = Segment(entries);
  SegmentReader reader(bytes);
  const auto entry = reader.Next();
  ASSERT_TRUE(entry);
  const StateChange& was = *std::get<std::unique_ptr<StateChange>>(entries[0].what);
  const StateChange& is = *std::get<std::unique_ptr<StateChange>>(entry->what);
  EXPECT_EQ(is.cause, was.cause);
  EXPECT_EQ(is.retry_in, was.retry_in);
  EXPECT_EQ(is.blind_from, was.blind_from);
  EXPECT_EQ(is.blind_until, was.blind_until);
}

TEST(JournalRecord, EntriesArePassedOverAsTheyAreRead) {
  const std::string bytes = Segment(SomeEntries());
  SegmentReader reader(bytes);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(reader.Skip());
  const auto entry = reader.Next();
  ASSERT_TRUE(entry);
  EXPECT_EQ(Describe(*entry), "text hello");
  EXPECT_EQ(reader.sequence(), 9u);
  while (reader.Skip()) {
  }
  EXPECT_EQ(reader.sequence(), 15u);
}

// Killed at any instant, as far as the process had come: the whole entries, and no other.
TEST(JournalRecord, CutAnywhereThePrefixIsRead) {
  std::vector<size_t> ends;
  const std::string bytes = Segment(SomeEntries(), &ends, 0);
  const std::vector<std::string> all = Read(bytes);
  const auto expect_prefix = [&](const std::string& left, size_t cut) {
    const auto whole = static_cast<size_t>(std::ranges::count_if(
        ends, [&](size_t end) { return left.size() >= end && left.compare(0, end, bytes, 0, end) == 0; }));
    const std::vector<std::string> expected(all.begin(),
                                            all.begin() + static_cast<ptrdiff_t>(whole == 0 ? 0 : whole - 1));
    ASSERT_THAT(Read(left), ElementsAreArray(expected)) << "cut at " << cut;
    ASSERT_EQ(SegmentReader(left).header().has_value(), whole > 0);
  };
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    expect_prefix(bytes.substr(0, cut), cut);
    expect_prefix(bytes.substr(0, cut) + std::string(bytes.size() - cut, '\0'), cut);
  }
}

// A broken disk: what is read is what was written, up to the first part that was touched.
TEST(JournalRecord, AFlippedBitEndsThePrefix) {
  std::vector<size_t> ends;
  const std::string bytes = Segment(SomeEntries(), &ends, 0);
  const std::vector<std::string> all = Read(bytes);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string broken = bytes;
    broken[bit / 8] = static_cast<char>(broken[bit / 8] ^ (1 << bit % 8));
    const auto whole = static_cast<size_t>(std::ranges::count_if(ends, [bit](size_t end) { return end <= bit / 8; }));
    const std::vector<std::string> expected(all.begin(),
                                            all.begin() + static_cast<ptrdiff_t>(whole == 0 ? 0 : whole - 1));
    ASSERT_THAT(Read(broken), ElementsAreArray(expected)) << "bit " << bit;
  }
}

TEST(JournalRecord, AnyDamageLeavesAPrefix) {
  const std::string bytes = Segment(SomeEntries());
  const std::vector<std::string> all = Read(bytes);
  ForEachSeed(2'000, [&](Draws& draws) {
    std::string broken = bytes.substr(0, draws.Below(bytes.size() + 1));
    for (size_t wound = draws.Below(4); wound > 0 && !broken.empty(); --wound) {
      const size_t at = draws.Below(broken.size());
      broken.replace(at, draws.Below(40), draws.Text(40));
    }
    const auto read = Read(broken);
    ASSERT_LE(read.size(), all.size());
    ASSERT_THAT(read, ElementsAreArray(all.begin(), all.begin() + static_cast<ptrdiff_t>(read.size())));
  });
}

// A whole record in the wrong place: another segment's, left in a file, say.
TEST(JournalRecord, ASequenceThatDoesNotFollowEndsThePrefix) {
  for (const uint64_t sequence : {6u, 8u}) {
    std::string bytes = EncodeHeader(kHeader);
    const Entry entry = Frame(FrameKind::kText, "x");
    const EncodedEntry encoded(sequence, entry);
    const size_t at = bytes.size();
    bytes.resize(at + encoded.size());
    encoded.Write(bytes.data() + at);
    EXPECT_THAT(Read(bytes), IsEmpty());
  }
}

TEST(JournalRecord, WhatIsNoSegmentHasNoHeader) {
  for (const std::string bytes : {"", "FAIRLEAD", "some text of another program, longer than a header"})
    EXPECT_FALSE(SegmentReader(bytes).header()) << bytes;
  EXPECT_FALSE(SegmentReader(std::string(4096, '\0')).header());
  EXPECT_FALSE(SegmentReader(std::string(4096, '\xff')).header());
}

}  // namespace
}  // namespace fairlead
