#include "session/journal_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "support/kept_text.h"
#include "support/scratch.h"
#include "support/subscriber.h"
#include "support/virtual_time.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr size_t kFrameBytes = 1000;

Entry Text(std::string payload) {
  return {
      .generation = 1, .time = VirtualTime::kWallStart, .what = FrameEntry(FrameKind::kText, Kept(std::move(payload)))};
}
Entry Numbered(uint64_t number) {
  std::string payload = std::to_string(number);
  payload.resize(kFrameBytes, ' ');
  return Text(std::move(payload));
}

class JournalDirectoryTest : public testing::Test {
 protected:
  std::unique_ptr<JournalDirectory> Open(const std::string& path, JournalDirectoryOptions options = {}) {
    options.path = path;
    auto opened = JournalDirectory::Open(options, time);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
    return opened ? std::move(*opened) : nullptr;
  }
  std::string path() const { return scratch.path() / "journals"; }
  // Entries `first` to `last`, of which the ring in memory holds the latest `held`.
  static void Write(JournalWriter& writer, uint64_t first, uint64_t last, uint64_t held = UINT64_MAX) {
    for (uint64_t sequence = first; sequence <= last; ++sequence)
      writer.Append(sequence, Numbered(sequence), sequence < held ? 1 : sequence + 1 - held);
  }
  // "7..20": what comes behind `after` in each journal from this one on, and gaps; checks that it is what was written.
  static Lines Behind(const JournalDirectory& directory, const std::string& epoch, uint64_t after,
                      const std::string& until = "") {
    Lines lines;
    for (const auto& journal : directory.Behind("dev", "md", epoch, after, until)) {
      std::optional<uint64_t> first;
      while (!journal->done()) {
        const uint64_t next = journal->next_sequence();
        if (const auto gap = journal->TakeGap()) {
          EXPECT_EQ(gap->first, next);
          if (first) lines.push_back(std::to_string(*first) + ".." + std::to_string(next - 1));
          first.reset();
          lines.push_back("gap " + std::to_string(gap->first) + ".." + std::to_string(gap->second));
          continue;
        }
        const Entry* entry = journal->Peek();
        if (entry == nullptr) {
          ADD_FAILURE() << "neither done, nor a gap, nor an entry";
          return lines;
        }
        const Entry written = Numbered(next);
        EXPECT_EQ(entry->frame()->payload, written.frame()->payload);
        if (!first) first = next;
        journal->Advance();
      }
      EXPECT_EQ(journal->TakeGap(), std::nullopt);
      EXPECT_EQ(journal->Peek(), nullptr);
      if (first) lines.push_back(std::to_string(*first) + ".." + std::to_string(journal->head()));
      if (lines.empty()) lines.push_back("nothing");
    }
    return lines;
  }
  static uint64_t BytesIn(const std::string& directory) {
    uint64_t bytes = 0;
    for (const auto& file : std::filesystem::recursive_directory_iterator(directory))
      if (file.path().extension() == ".segment") bytes += file.file_size();
    return bytes;
  }

  std::vector<std::string> log;
  ScopedLogSink sink{[this](std::string_view line) { log.emplace_back(line); }};
  Scratch scratch;
  VirtualTime time;
};

TEST_F(JournalDirectoryTest, WhatAKilledProcessWroteIsThere) {
  const auto directory = Open(path());
  const auto writer = directory->Keep("dev", "md", "one");
  Write(*writer, 1, 3000);  // Several segments.
  const auto next = Open(scratch.Killed(path()));
  EXPECT_EQ(next->totals().journals, 1u);
  EXPECT_THAT(Behind(*next, "one", 0), ElementsAre("1..3000"));
  EXPECT_THAT(Behind(*next, "one", 1234), ElementsAre("1235..3000"));
  EXPECT_THAT(Behind(*next, "one", 3000), ElementsAre("nothing"));
  EXPECT_THAT(Behind(*next, "one", 4000), ElementsAre("nothing")) << "beyond the head lies nothing that was given";
  EXPECT_THAT(Behind(*next, "two", 0), IsEmpty());
  EXPECT_THAT(next->Behind("somebody", "md", "one", 0, ""), IsEmpty()) << "another identity's";
}

TEST_F(JournalDirectoryTest, AnEndInOrderGivesBackWhatIsNotUsed) {
  {
    const auto directory = Open(path());
    Write(*directory->Keep("dev", "md", "one"), 1, 700);
    EXPECT_EQ(directory->totals().bytes, BytesIn(path()));
    EXPECT_LT(directory->totals().bytes, 900 * kFrameBytes);
    EXPECT_THAT(Behind(*directory, "one", 4), ElementsAre("5..700")) << "in the same process, too";
    Write(*directory->Keep("dev", "small", "small"), 1, 1);
    EXPECT_EQ(BytesIn(path() + "/small"), kLeastSegmentBytes) << "the bound in bytes bounds the number, too";
  }
  EXPECT_THAT(Behind(*Open(path()), "one", 4), ElementsAre("5..700"));
}

TEST_F(JournalDirectoryTest, ASessionThatSaidNothingLeavesNothing) {
  const auto directory = Open(path());
  directory->Keep("dev", "md", "one").reset();
  EXPECT_EQ(directory->totals().journals, 0u);
  EXPECT_FALSE(std::filesystem::exists(path() + "/one"));
}

TEST_F(JournalDirectoryTest, JournalsFollowEachOtherUpToTheLiveOne) {
  std::string at = path();
  for (const char* epoch : {"zz", "mm", "aa"}) {  // Their order is not that of their names, nor that of their times.
    const auto directory = Open(at);
    const auto writer = directory->Keep("dev", "md", epoch);
    Write(*writer, 1, 5);
    Write(*directory->Keep("dev", "other", std::string(epoch) + "-other"), 1, 5);
    at = scratch.Killed(at);
  }
  const auto directory = Open(at);
  const auto live = directory->Keep("dev", "md", "live");
  Write(*live, 1, 7);
  EXPECT_THAT(Behind(*directory, "zz", 3, "live"), ElementsAre("4..5", "1..5", "1..5"));
  EXPECT_THAT(Behind(*directory, "aa", 3, "live"), ElementsAre("4..5"));
  EXPECT_THAT(Behind(*directory, "live", 3, "live"), IsEmpty());
}

TEST_F(JournalDirectoryTest, SegmentsLeaveWithTheRing) {
  const auto directory = Open(path());
  const auto writer = directory->Keep("dev", "md", "one");
  Write(*writer, 1, 20'000, 2000);
  EXPECT_LT(BytesIn(path()), 2000 * kFrameBytes + 3 * kMiB);
  EXPECT_EQ(directory->totals().bytes, BytesIn(path()));
  const auto next = Open(scratch.Killed(path()));
  const auto journals = next->Behind("dev", "md", "one", 10, "");
  ASSERT_THAT(journals, SizeIs(1));
  const uint64_t oldest = journals[0]->oldest();
  EXPECT_GT(oldest, 15'000u);
  EXPECT_LE(oldest, 18'001u) << "what the ring holds, the disk holds";
  EXPECT_THAT(Behind(*next, "one", 10),
              ElementsAre("gap 11.." + std::to_string(oldest - 1), std::to_string(oldest) + "..20000"));
}

TEST_F(JournalDirectoryTest, AFrameLongerThanASegmentHasOneOfItsOwn) {
  const auto directory = Open(path());
  const auto writer = directory->Keep("dev", "md", "one");
  writer->Append(1, Text(std::string(5 * kMiB, 'x')), 1);
  Write(*writer, 2, 3);
  const auto journals = directory->Behind("dev", "md", "one", 0, "");
  ASSERT_THAT(journals, SizeIs(1));
  ASSERT_NE(journals[0]->Peek(), nullptr);
  EXPECT_EQ(journals[0]->Peek()->frame()->payload, std::string(5 * kMiB, 'x'));
  EXPECT_THAT(Behind(*directory, "one", 1), ElementsAre("2..3"));
}

TEST_F(JournalDirectoryTest, WhatIsBrokenIsAGapUpToTheHead) {
  const auto directory = Open(path());
  const auto writer = directory->Keep("dev", "md", "one");
  Write(*writer, 1, 3000);
  const std::string copy = scratch.Killed(path());
  std::vector<std::filesystem::path> segments;
  for (const auto& file : std::filesystem::directory_iterator(copy + "/one")) segments.push_back(file.path());
  std::ranges::sort(segments);
  ASSERT_GT(segments.size(), 3u);
  {
    std::fstream file(segments[1], std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(20'000);
    file << "broken";
  }
  const uint64_t first = std::stoull(segments[1].stem());
  const auto next = Open(copy);
  const Lines lines = Behind(*next, "one", 0);
  ASSERT_THAT(lines, SizeIs(2));
  const uint64_t last = std::stoull(lines[0].substr(3));
  EXPECT_EQ(lines[0], "1.." + std::to_string(last));
  EXPECT_GT(last, first);
  EXPECT_LT(last, first + 20);
  EXPECT_EQ(lines[1], "gap " + std::to_string(last + 1) + "..3000");
  EXPECT_THAT(Behind(*next, "one", last + 100), ElementsAre("gap " + std::to_string(last + 101) + "..3000"));
  std::filesystem::remove(segments[2]);
  EXPECT_THAT(Behind(*next, "one", std::stoull(segments[2].stem())), ElementsAre(HasSubstr("gap")));
}

TEST_F(JournalDirectoryTest, ASegmentThatWasJustBegunDoesNotHideTheOthers) {
  const auto directory = Open(path());
  const auto writer = directory->Keep("dev", "md", "one");
  Write(*writer, 1, 10);
  const std::string copy = scratch.Killed(path());
  std::ofstream(SegmentPath(copy + "/one", 11)) << std::string(kLeastSegmentBytes, '\0');
  EXPECT_THAT(Behind(*Open(copy), "one", 0), ElementsAre("1..10"));
}

TEST_F(JournalDirectoryTest, WhatIsNoJournalIsLeftAlone) {
  std::filesystem::create_directories(path() + "/begun");
  std::filesystem::create_directories(path() + "/foreign");
  std::ofstream(path() + "/foreign/notes.txt") << "notes";
  std::filesystem::create_directories(path() + "/zeros");
  std::ofstream(SegmentPath(path() + "/zeros", 1)) << std::string(kLeastSegmentBytes, '\0');
  std::ofstream(path() + "/file") << "file";
  const auto directory = Open(path());
  EXPECT_EQ(directory->totals().journals, 0u);
  EXPECT_TRUE(std::filesystem::exists(path() + "/foreign/notes.txt"));
  EXPECT_TRUE(std::filesystem::exists(path() + "/file"));
  EXPECT_FALSE(std::filesystem::exists(path() + "/begun"));
  EXPECT_FALSE(std::filesystem::exists(path() + "/zeros"));
  EXPECT_THAT(log, testing::Contains(HasSubstr("journals.unreadable epoch=zeros")));
}

// ---- Bounds. ----

TEST_F(JournalDirectoryTest, TheOldestJournalsMakeRoom) {
  const auto directory = Open(path(), {.max_bytes = 7 * kMiB});
  const auto live = directory->Keep("dev", "md", "live");
  Write(*live, 1, 1000);
  for (const char* epoch : {"b", "a"}) {
    Write(*directory->Keep("dev", epoch, epoch), 1, 1500);
    time.Advance(1s);
  }
  Write(*live, 1001, 5000);
  EXPECT_FALSE(std::filesystem::exists(path() + "/b")) << "over for longer";
  EXPECT_TRUE(std::filesystem::exists(path() + "/a"));
  Write(*live, 5001, 7000);
  EXPECT_FALSE(std::filesystem::exists(path() + "/a"));
  Write(*live, 7001, 20'000);
  EXPECT_LE(BytesIn(path()), 7 * kMiB);
  EXPECT_EQ(directory->totals().bytes, BytesIn(path()));
  EXPECT_FALSE(live->failed());
  const Lines lines = Behind(*directory, "live", 0);
  ASSERT_THAT(lines, SizeIs(2)) << "then its own oldest entries";
  EXPECT_THAT(lines[1], testing::EndsWith("..20000"));
}

TEST_F(JournalDirectoryTest, WithoutRoomTheJournalGoesOnInMemoryAlone) {
  const auto directory = Open(path(), {.max_bytes = kLeastSegmentBytes});
  const auto writer = directory->Keep("dev", "md", "one");
  Write(*writer, 1, 10);
  writer->Append(11, Text(std::string(kLeastSegmentBytes, 'x')), 1);
  EXPECT_TRUE(writer->failed());
  Write(*writer, 12, 20);
  EXPECT_EQ(directory->totals().failed, 1u);
  EXPECT_EQ(std::ranges::count_if(log, [](const auto& line) { return line.find("journals.failed") != line.npos; }), 1);
}

TEST_F(JournalDirectoryTest, ADirectoryThatIsGoneFailsAndNothingElse) {
  const auto directory = Open(path());
  std::filesystem::remove_all(path());
  const auto writer = directory->Keep("dev", "md", "one");
  Write(*writer, 1, 10);
  EXPECT_TRUE(writer->failed());
  EXPECT_THAT(log.back(), HasSubstr("No such file or directory"));
}

TEST_F(JournalDirectoryTest, AtTheStartTheBoundHoldsToo) {
  const auto directory = Open(path());
  std::vector<std::unique_ptr<JournalWriter>> writers;
  for (const char* session : {"a", "b", "c", "d"}) {
    writers.push_back(directory->Keep("dev", session, session));
    Write(*writers.back(), 1, 10);
  }
  const auto next = Open(scratch.Killed(path()), {.max_bytes = 2 * kLeastSegmentBytes});
  EXPECT_EQ(next->totals().journals, 2u);
  EXPECT_EQ(next->totals().bytes, 2 * kLeastSegmentBytes);
}

TEST_F(JournalDirectoryTest, JournalsLeaveWithAge) {
  const JournalDirectoryOptions options{.age = 1h};
  std::string at = path();
  {
    const auto directory = Open(at, options);
    const auto writer = directory->Keep("dev", "md", "one");
    Write(*writer, 1, 5);
    time.Advance(3h);
    EXPECT_THAT(Behind(*directory, "one", 0), ElementsAre("1..5")) << "a live one has no age";
    at = scratch.Killed(at);
  }
  {
    const auto directory = Open(at, options);  // Its age begins when it is found.
    time.Advance(40min);
    EXPECT_THAT(Behind(*directory, "one", 0), ElementsAre("1..5"));
  }
  {
    const auto directory = Open(at, options);  // And not anew with each process.
    EXPECT_THAT(Behind(*directory, "one", 0), ElementsAre("1..5"));
    time.Advance(19min);
    EXPECT_THAT(Behind(*directory, "one", 0), ElementsAre("1..5"));
    time.Advance(2min);
    EXPECT_THAT(Behind(*directory, "one", 0), IsEmpty());
    EXPECT_EQ(directory->totals().bytes, 0u);
    EXPECT_FALSE(std::filesystem::exists(at + "/one"));
  }
}

TEST_F(JournalDirectoryTest, ASessionKeepsItsLatestJournals) {
  const auto directory = Open(path());
  for (size_t number = 1; number <= 3 * JournalDirectory::kEpochs; ++number)
    Write(*directory->Keep("dev", "md", "epoch-" + std::to_string(number)), 1, 5);
  EXPECT_EQ(directory->totals().journals, JournalDirectory::kEpochs);
  const std::string kept = "epoch-" + std::to_string(2 * JournalDirectory::kEpochs + 1);
  EXPECT_THAT(Behind(*directory, kept, 0), SizeIs(JournalDirectory::kEpochs));
}

TEST_F(JournalDirectoryTest, IsOneProcesssOwn) {
  const auto directory = Open(path());
  JournalDirectoryOptions options;
  options.path = path();
  const auto second = JournalDirectory::Open(options, time);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, "journal_directory.path: \"" + path() + "\" is in use by another process");
}

}  // namespace
}  // namespace fairlead
