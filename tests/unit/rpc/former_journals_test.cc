// The seam between a journal on disk and the live one, as an Attach stream's peer sees it.
#include <algorithm>
#include <fstream>

#include "session/journal_directory.h"
#include "support/channels_testbed.h"
#include "support/scratch.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// A gateway's process with one Attach stream; another takes its place, on what a kill has left of the directory.
struct Process {
  Process(std::string name, const std::string& path, Limits bounds = {}) : epochs(std::move(name)), limits(bounds) {
    JournalDirectoryOptions options;
    options.path = path;
    directory = std::move(*JournalDirectory::Open(options, time));
    registry = std::make_unique<Registry>(
        dialler, time, [] { return 0.5; }, limits, [this] { return epochs + std::to_string(++names); }, access,
        directory.get());
    channels = std::make_unique<Channels>("dev", *registry, access, time, limits, Flush::Batch{}, stream);
    stream.wrote = [this] { channels->Wrote(); };
  }
  ~Process() {
    channels.reset();
    time.Settle();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Command(const std::string& action, uint32_t channel = 1, uint64_t id = 0) {
    Execute(*channels, action, channel, id);
  }
  void Open(const std::string& more = "", uint32_t channel = 1) {
    Command(R"(open { session: "md" target { url: "ws://h/" } heartbeat { interval { } } )" + more + "}", channel);
  }
  static std::string After(const std::string& epoch, uint64_t sequence) {
    return "start { after { epoch: \"" + epoch + "\" sequence: " + std::to_string(sequence) + " } }";
  }
  Lines Read() {
    time.Advance(1ms);
    return stream.Read();
  }

  ScopedLogSink quiet{[](std::string_view) {}};
  const std::string epochs;
  int names = 0;
  VirtualTime time;
  ScriptedDialler dialler{time};
  Limits limits;
  Current<Access> access;
  std::unique_ptr<JournalDirectory> directory;
  std::unique_ptr<Registry> registry;
  RecordedStream stream{time};
  std::unique_ptr<Channels> channels;
};

class FormerJournals : public testing::Test {
 protected:
  // Opens the session, with these frames behind its first three entries, and is killed.
  std::string Killed(const std::string& name, const std::string& path, const std::vector<std::string>& frames,
                     const std::string& more = "") {
    Process process(name, path);
    process.Open(more);
    process.dialler.Accept();
    for (const std::string& frame : frames) process.dialler.peer().Text(frame);
    process.Read();
    return scratch.Killed(path);
  }
  std::string path() const { return scratch.path() / "journals"; }

  Scratch scratch;
};

TEST_F(FormerJournals, TheRestOfItThenTheSeamThenTheLiveOne) {
  Process next("b", Killed("a", path(), {"one", "two", "three"}));
  next.Open(Process::After("a1", 4));
  EXPECT_THAT(next.Read(), ElementsAre("1 attached md RESUMED 1..6 former", "1 text two @5", "1 text three @6",
                                       "1 attached md EPOCH_CHANGED 1..1", "1 CONNECTING @1"));
  next.dialler.Accept();
  next.dialler.peer().Text("four");
  EXPECT_THAT(next.Read(), ElementsAre("1 OPENING @2", "1 OPEN @3", "1 text four @4"));
}

TEST_F(FormerJournals, NothingIsLeftOfIt) {
  Process next("b", Killed("a", path(), {"one"}));
  next.Open(Process::After("a1", 4));
  EXPECT_THAT(next.Read(),
              ElementsAre("1 attached md RESUMED 1..4 former", "1 attached md EPOCH_CHANGED 1..1", "1 CONNECTING @1"));
}

TEST_F(FormerJournals, AnUnknownEpochHasOneSeamAsEver) {
  Process next("b", Killed("a", path(), {"one"}));
  next.Open(Process::After("zz", 4));
  EXPECT_THAT(next.Read(), ElementsAre("1 attached md EPOCH_CHANGED 1..0", "1 CONNECTING @1"));
}

TEST_F(FormerJournals, OtherStartsDoNotSeeIt) {
  Process next("b", Killed("a", path(), {"one"}));
  next.Open("start { oldest { } }");
  EXPECT_THAT(next.Read(), ElementsAre("1 attached md NEW 1..0", "1 CONNECTING @1"));
  next.Command(R"(join { session: "md" start { head { } } })", 2);
  EXPECT_THAT(next.Read(), ElementsAre("2 attached md LIVE 1..1"));
}

TEST_F(FormerJournals, ReadersAreGivenItOnceTheSessionLives) {
  Process next("b", Killed("a", path(), {"one"}));
  const std::string join = R"(join { session: "md" )" + Process::After("a1", 3) + "}";
  next.Command(join, 2);
  EXPECT_THAT(next.Read(), ElementsAre("2 result 0 NOT_SENT SESSION_NOT_FOUND @0"));
  next.Open();
  next.Read();
  next.Command(join, 2);
  EXPECT_THAT(next.Read(), ElementsAre("2 attached md RESUMED 1..4 former", "2 text one @4",
                                       "2 attached md EPOCH_CHANGED 1..1", "2 CONNECTING @1"));
}

TEST_F(FormerJournals, EveryEpochBetween) {
  const std::string after_one = Killed("a", path(), {"one", "two"});
  Process next("c", Killed("b", after_one, {"three"}));
  next.Open(Process::After("a1", 4));
  EXPECT_THAT(next.Read(),
              ElementsAre("1 attached md RESUMED 1..5 former", "1 text two @5",
                          "1 attached md EPOCH_CHANGED 1..4 former", "1 CONNECTING @1", "1 OPENING @2", "1 OPEN @3",
                          "1 text three @4", "1 attached md EPOCH_CHANGED 1..1", "1 CONNECTING @1"));
}

TEST_F(FormerJournals, AnAnonymousSessionHasNone) {
  Process process("a", path());
  process.Command(R"(open { target { url: "ws://h/" } heartbeat { interval { } } })");
  process.dialler.Accept();
  process.Read();
  EXPECT_EQ(process.directory->totals().journals, 0u);
}

TEST_F(FormerJournals, ASessionThatEndedInTheSameProcessIsReadAsWell) {
  Process process("a", path());
  process.Open();
  process.dialler.Accept();
  process.dialler.peer().Text("one");
  process.Command("close { }");
  process.Read();
  process.Open(Process::After("a1", 4));
  EXPECT_THAT(process.Read(), ElementsAre("1 attached md RESUMED 1..5 former", "1 CLOSED @5",
                                          "1 attached md EPOCH_CHANGED 1..1", "1 CONNECTING @1"));
}

TEST_F(FormerJournals, OneGapForWhatTheRingHadDropped) {
  std::vector<std::string> frames(1000, std::string(900, 'x'));
  Process next(
      "b", Killed("a", path(), frames, "websocket { max_message_bytes: 1000 } retention { journal_bytes: 100000 }"));
  next.Open(Process::After("a1", 4));
  next.time.Advance(1s);
  const Lines lines = next.stream.Read();
  ASSERT_GT(lines.size(), 100u);
  const uint64_t oldest = std::stoull(lines[0].substr(std::string("1 attached md RESUMED ").size()));
  EXPECT_GT(oldest, 100u);
  EXPECT_EQ(lines[1], "1 gap 5.." + std::to_string(oldest - 1));
  EXPECT_EQ(lines[lines.size() - 3], "1 text " + frames[0] + " @1003");
  EXPECT_EQ(std::ranges::count_if(lines, [](const auto& line) { return line.find(" gap ") != line.npos; }), 1);
  EXPECT_EQ(lines.size(), 1 + 1 + (1003 - oldest + 1) + 2) << "each entry once";
}

// More than a batch, with other channels between.
TEST_F(FormerJournals, ALongOneIsReadPieceByPiece) {
  std::vector<std::string> frames;
  for (int number = 0; number < 30'000; ++number) frames.push_back(std::to_string(number) + std::string(100, '.'));
  Process next("b", Killed("a", path(), frames));
  next.Open(Process::After("a1", 3));
  next.time.Advance(1s);
  const Lines lines = next.stream.Read();
  ASSERT_THAT(lines, SizeIs(30'000 + 3));
  for (size_t i = 0; i < frames.size(); ++i)
    ASSERT_EQ(lines[i + 1], "1 text " + frames[i] + " @" + std::to_string(i + 4));
  EXPECT_LE(next.stream.most_bytes_of_many, 256 * kKiB);
}

TEST_F(FormerJournals, WhatIsBrokenIsAGapBeforeTheSeam) {
  const std::string copy = Killed("a", path(), std::vector<std::string>(200, std::string(900, 'x')));
  {
    std::fstream file(SegmentPath(copy + "/a1", 1), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(30'000);
    file << "broken";
  }
  Process next("b", copy);
  next.Open(Process::After("a1", 3));
  next.time.Advance(1s);
  const Lines lines = next.stream.Read();
  ASSERT_GT(lines.size(), 10u);
  EXPECT_THAT(lines[lines.size() - 3], testing::EndsWith("..203"));
  EXPECT_THAT(lines[lines.size() - 3], testing::StartsWith("1 gap "));
  EXPECT_EQ(lines[lines.size() - 2], "1 attached md EPOCH_CHANGED 1..1");
}

TEST_F(FormerJournals, WhileHeldItWaits) {
  Process next("b", Killed("a", path(), {"one", "two"}));
  next.Open(Process::After("a1", 4));
  next.Command("hold { on: true }");
  EXPECT_THAT(next.Read(), ElementsAre("1 attached md RESUMED 1..5 former"));
  next.dialler.Accept();
  EXPECT_THAT(next.Read(), IsEmpty());
  next.Command("hold { on: false }");
  EXPECT_THAT(next.Read(), ElementsAre("1 text two @5", "1 attached md EPOCH_CHANGED 1..3", "1 CONNECTING @1",
                                       "1 OPENING @2", "1 OPEN @3"));
}

TEST_F(FormerJournals, EndedWhileHeldEachJournalHasItsGap) {
  Process next("b", Killed("a", path(), {"one", "two"}));
  next.Open(Process::After("a1", 4));
  next.Command("hold { on: true }");
  next.Read();
  next.Command("close { }");
  EXPECT_THAT(next.Read(), ElementsAre("1 gap 5..5", "1 attached md EPOCH_CHANGED 1..2", "1 gap 1..2",
                                       "1 ended CLOSED session_closed"));
}

TEST_F(FormerJournals, SupersededItIsGivenWhatWasThere) {
  Process next("b", Killed("a", path(), {"one", "two"}));
  next.Open(Process::After("a1", 4));
  next.Open("", 2);
  next.dialler.Accept();
  Lines lines = next.Read();
  std::erase_if(lines, [](const std::string& line) { return line.starts_with("2"); });
  EXPECT_THAT(lines, ElementsAre("1 attached md RESUMED 1..5 former", "1 text two @5",
                                 "1 attached md EPOCH_CHANGED 1..3", "1 CONNECTING @1", "1 ended SUPERSEDED"));
}

// What the live journal drops meanwhile is a gap of its own.
TEST_F(FormerJournals, TheLiveRingMovesOnMeanwhile) {
  Process next("b", Killed("a", path(), {"one", "two"}));
  next.Open(Process::After("a1", 4) + "websocket { max_message_bytes: 1000 } retention { journal_bytes: 1100 }");
  next.Command("hold { on: true }");
  next.dialler.Accept();
  for (int i = 0; i < 10; ++i) next.dialler.peer().Text(std::string(900, 'x'));
  next.Read();
  next.Command("hold { on: false }");
  EXPECT_THAT(next.Read(), ElementsAre("1 text two @5", "1 attached md EPOCH_CHANGED 1..13", "1 gap 1..12",
                                       "1 text " + std::string(900, 'x') + " @13"));
}

TEST_F(FormerJournals, WhoOverflowsIsToldWhereInTheFormerOneItIs) {
  Process next("b", Killed("a", path(), {"one", "two"}));
  next.Open(
      Process::After("a1", 4) +
      "websocket { max_message_bytes: 1000 } retention { journal_bytes: 1100 } delivery { overflow: OVERFLOW_DETACH }");
  next.Command("hold { on: true }");
  next.dialler.Accept();
  for (int i = 0; i < 10; ++i) next.dialler.peer().Text(std::string(900, 'x'));
  EXPECT_THAT(next.Read(), ElementsAre("1 attached md RESUMED 1..5 former", "1 ended OVERFLOW"));
  EXPECT_THAT(next.stream.last.events().rbegin()->ended().cause().message(),
              testing::HasSubstr("after sequence 4 of epoch a1"));
}

}  // namespace
}  // namespace fairlead
