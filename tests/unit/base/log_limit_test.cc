#include "base/log_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct Log {
  void Came(const std::string& text, int times = 1) {
    for (int i = 0; i < times; ++i) {
      limit.Came(text, now, [this](std::string_view equal, uint64_t suppressed) {
        lines.push_back(std::string(equal) + (suppressed > 0 ? " +" + std::to_string(suppressed) : ""));
      });
    }
  }
  std::vector<std::string> Written() { return std::exchange(lines, {}); }
  LogLimit limit;
  SteadyTime now{seconds(100)};
  std::vector<std::string> lines;
};

TEST(LogLimit, WritesABurstAndTellsTheRestWithTheNextLine) {
  Log log;
  log.Came("full", 25);
  EXPECT_THAT(log.Written(), SizeIs(LogLimit::kBurst));
  log.now += milliseconds(999);
  log.Came("full");
  EXPECT_THAT(log.Written(), IsEmpty());
  log.now += milliseconds(1);
  log.Came("other");
  EXPECT_THAT(log.Written(), ElementsAre("full +6", "other"));
  log.Came("full");
  EXPECT_THAT(log.Written(), ElementsAre("full"));
}

TEST(LogLimit, WhatDiffersIsWritten) {
  Log log;
  for (int i = 0; i < 1000; ++i) log.Came("line " + std::to_string(i));
  EXPECT_THAT(log.Written(), SizeIs(1000));
  log.now += seconds(2);
  log.Came("quiet again");
  EXPECT_THAT(log.Written(), ElementsAre("quiet again"));
}

TEST(LogLimit, NothingIsLostFromTheCount) {
  Log log;
  constexpr int kTimes = 10'000;
  for (int i = 0; i < kTimes; ++i) {
    log.now += milliseconds(1);
    log.Came("flood");
  }
  log.now += seconds(1);
  log.Came("the end");
  uint64_t told = 0;
  for (const std::string& line : log.Written()) {
    if (line == "flood") ++told;
    if (line.starts_with("flood +")) told += std::stoull(line.substr(7));
  }
  EXPECT_EQ(told, uint64_t{kTimes});
}

}  // namespace
}  // namespace fairlead
