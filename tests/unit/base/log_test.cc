#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/log_limit.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Collects lines; puts level and sink back.
class LogTest : public ::testing::Test {
 protected:
  void TearDown() override { SetLogLevel(Level::kInfo); }

  // The only line, without its time.
  std::string Line() const {
    EXPECT_EQ(lines_.size(), 1u);
    return lines_.empty() ? "" : lines_.front().substr(lines_.front().find(' ') + 1);
  }

  std::vector<std::string> lines_;
  ScopedLogSink sink_{[this](std::string_view line) { lines_.emplace_back(line); }};
};

TEST_F(LogTest, WritesTimeLevelEventAndFields) {
  const std::string session = "md";
  Log(Level::kInfo, "session.open",
      {{"session", session},
       {"identity", "dev"},
       {"generation", 2},
       {"bytes", std::uint64_t{18446744073709551615u}},
       {"low", std::int64_t{-5}},
       {"named", true},
       {"retry_in", std::chrono::milliseconds(1500)}});
  EXPECT_EQ(Line(),
            "INFO session.open session=md identity=dev generation=2 bytes=18446744073709551615 low=-5 named=true "
            "retry_in=1.5s");
  const std::regex time(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z .*)");
  EXPECT_TRUE(std::regex_match(lines_.front(), time)) << lines_.front();
}

TEST_F(LogTest, QuotesAndEscapesValues) {
  struct Case {
    std::string value;
    std::string expected;
  };
  const Case cases[] = {
      {"plain-1.5/x:y", "v=plain-1.5/x:y"},
      {"", "v=\"\""},
      {"two words", "v=\"two words\""},
      {"a=b", "v=\"a=b\""},
      {"say \"hi\"", R"(v="say \"hi\"")"},
      {"back\\slash", R"(v="back\\slash")"},
      {"line\nINFO forged event", R"(v="line\nINFO forged event")"},
      {"cr\r tab\t nul" + std::string(1, '\0'), R"(v="cr\x0d tab\x09 nul\x00")"},
      {"\x1b[31m\x7f", R"(v="\x1b[31m\x7f")"},
      {"\xc2\x9b", R"(v="\xc2\x9b")"},  // A control character as UTF-8.
  };
  for (const Case& each : cases) {
    lines_.clear();
    Log(Level::kWarn, "e", {{"v", each.value}});
    EXPECT_EQ(Line(), "WARN e " + each.expected);
  }
}

TEST_F(LogTest, CutsLongValues) {
  Log(Level::kInfo, "e", {{"v", std::string(kMaxLogValueBytes, 'x')}});
  EXPECT_EQ(Line(), "INFO e v=" + std::string(kMaxLogValueBytes, 'x'));
  lines_.clear();
  Log(Level::kInfo, "e", {{"v", std::string(5000, 'x')}});
  EXPECT_EQ(Line(), "INFO e v=\"" + std::string(kMaxLogValueBytes, 'x') + "... (5000 bytes)\"");
}

TEST_F(LogTest, ADetailThatIsEmptyIsLeftOut) {
  const std::string trace = "0af7";
  Log(Level::kInfo, "e",
      {{"v", ""}, LogField::Detail("took", std::chrono::milliseconds(2)), LogField::Detail("trace_id", trace)});
  EXPECT_EQ(Line(), "INFO e v=\"\" took=2ms trace_id=0af7");
  lines_.clear();
  Log(Level::kInfo, "e", {LogField::Detail("a", std::string()), LogField::Detail("b", ""), LogField::Detail("n", 0)});
  EXPECT_EQ(Line(), "INFO e n=0");
}

TEST_F(LogTest, FiltersByLevel) {
  SetLogLevel(Level::kWarn);
  Log(Level::kDebug, "debug");
  Log(Level::kInfo, "info");
  EXPECT_TRUE(lines_.empty());
  Log(Level::kWarn, "warn");
  Log(Level::kError, "error");
  ASSERT_EQ(lines_.size(), 2u);
  EXPECT_THAT(lines_[0], HasSubstr(" WARN warn"));
  EXPECT_THAT(lines_[1], HasSubstr(" ERROR error"));
  SetLogLevel(Level::kDebug);
  EXPECT_TRUE(LogEnabled(Level::kDebug));
}

TEST_F(LogTest, KeepsLinesOfThreadsApart) {
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 500; ++i) Log(Level::kInfo, "e", {{"thread", t}, {"i", i}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lines_.size(), 2000u);
  const std::regex whole(R"(\S+ INFO e thread=\d i=\d+)");
  EXPECT_TRUE(std::ranges::all_of(lines_, [&](const std::string& line) { return std::regex_match(line, whole); }));
}

// What `log` writes to standard error.
template <typename Function>
std::string Written(const Function& log) {
  int ends[2];
  if (pipe(ends) != 0) return "";
  const int saved = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  log();
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(ends[1]);
  char buffer[8192];
  const ssize_t size = read(ends[0], buffer, sizeof(buffer));
  close(ends[0]);
  return size > 0 ? std::string(buffer, static_cast<std::size_t>(size)) : "";
}

TEST(Log, LinesThatDifferInDetailsAreEqual) {
  constexpr int kMore = 5;
  const std::string text = Written([] {
    for (uint64_t i = 0; i < LogLimit::kBurst + kMore; ++i)
      Log(Level::kError, "flood", {{"who", "a"}, LogField::Detail("trace_id", std::to_string(i))});
    Log(Level::kError, "flood", {{"who", "b"}, LogField::Detail("trace_id", "x")});
    std::this_thread::sleep_for(LogLimit::kWindow);  // The limit's own clock.
    Log(Level::kError, "quiet");
  });
  EXPECT_THAT(text, HasSubstr(" ERROR flood who=a trace_id=19\n"));
  EXPECT_THAT(text, Not(HasSubstr("trace_id=20")));
  EXPECT_THAT(text, HasSubstr(" ERROR flood who=b trace_id=x\n"));
  EXPECT_THAT(text, HasSubstr(" ERROR flood who=a suppressed=5\n"));
}

TEST(Log, GoesToStandardErrorAsOneWholeLine) {
  const std::string text = Written([] { Log(Level::kError, "fatal", {{"message", "a\nb"}}); });
  EXPECT_THAT(text, HasSubstr(R"( ERROR fatal message="a\nb")"));
  EXPECT_EQ(std::ranges::count(text, '\n'), 1);
  EXPECT_EQ(text.back(), '\n');
}

TEST(Secret, DoesNotPrint) {
  const Secret secret("swordfish");
  std::ostringstream out;
  out << secret;
  EXPECT_EQ(out.str(), "***");
  struct {
    std::string text;
    void Append(const char* part) { text += part; }
  } sink;
  AbslStringify(sink, secret);
  EXPECT_EQ(sink.text, "***");
  EXPECT_EQ(testing::PrintToString(secret), "***");
  EXPECT_EQ(secret.Reveal(), "swordfish");
  EXPECT_EQ(secret.size(), 9u);
}

TEST(Secret, ConvertsToNothingAndIsNoLogField) {
  static_assert(!std::is_convertible_v<Secret, std::string>);
  static_assert(!std::is_convertible_v<Secret, std::string_view>);
  static_assert(!std::is_convertible_v<std::string, Secret>);
  static_assert(!std::is_constructible_v<LogField, std::string_view, Secret>);
  static_assert(std::is_constructible_v<LogField, std::string_view, std::string>);
  EXPECT_EQ(Secret("a"), Secret("a"));
  EXPECT_FALSE(Secret("a") == Secret("b"));
}

}  // namespace
}  // namespace fairlead
