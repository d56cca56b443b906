#include "policy/trace_context.h"

#include <gtest/gtest.h>

#include <string>

namespace fairlead {
namespace {

const std::string kTrace = "0af7651916cd43dd8448eb211c80319c";
const std::string kParent = "b7ad6b7169203331";
const std::string kGood = "00-" + kTrace + "-" + kParent + "-01";

TEST(TraceContext, HasTheIdOfItsTrace) {
  EXPECT_EQ(ParseTraceparent(kGood).text(), kTrace);
  EXPECT_EQ(ParseTraceparent("00-" + kTrace + "-" + kParent + "-00").text(), kTrace)
      << "not sampled: a trace all the same";
  EXPECT_EQ(ParseTraceparent("00-" + kTrace + "-" + kParent + "-ff").text(), kTrace);
  EXPECT_EQ(TraceId().text(), "");
}

TEST(TraceContext, OfALaterVersionTheFirstPartsAreRead) {
  EXPECT_EQ(ParseTraceparent("01-" + kTrace + "-" + kParent + "-01").text(), kTrace);
  EXPECT_EQ(ParseTraceparent("cc-" + kTrace + "-" + kParent + "-01-what-will-be").text(), kTrace);
  EXPECT_EQ(ParseTraceparent("fe-" + kTrace + "-" + kParent + "-01-").text(), kTrace);
}

TEST(TraceContext, WhatIsNotValidIsOfNoTrace) {
  const std::string cases[] = {
      "",
      "00",
      "-",
      kTrace,
      std::string(55, '-'),
      std::string(55, '\0'),
      std::string(1 << 20, '0'),
      kGood + "-",
      kGood + "-more",
      kGood + " ",
      " " + kGood,
      kGood.substr(0, kGood.size() - 1),
      "01-" + kTrace + "-" + kParent + "-01.",
      "01-" + kTrace + "-" + kParent + "-012",
      "ff-" + kTrace + "-" + kParent + "-01",
      "FE-" + kTrace + "-" + kParent + "-01",
      "0g-" + kTrace + "-" + kParent + "-01",
      "00-" + std::string(32, '0') + "-" + kParent + "-01",
      "00-" + kTrace + "-" + std::string(16, '0') + "-01",
      "00-0AF7651916CD43DD8448EB211C80319C-" + kParent + "-01",
      "00-" + kTrace + "-B7AD6B7169203331-01",
      "00-" + kTrace + "-" + kParent + "-0A",
      "00-" + kTrace.substr(1) + "g-" + kParent + "-01",
      "00-" + kTrace + "-" + kParent.substr(1) + "\n-01",
      "00_" + kTrace + "-" + kParent + "-01",
      "00-" + kTrace + "_" + kParent + "-01",
      "00-" + kTrace + "-" + kParent + "_01",
      "0-0" + kTrace + "-" + kParent + "-01",
      kGood + "," + kGood,
  };
  for (const std::string& each : cases) EXPECT_EQ(ParseTraceparent(each).text(), "") << each.substr(0, 100);
}

// Every place of a good header, with every byte: what is taken has the form, and nothing is read beyond its end.
TEST(TraceContext, OneWrongByteIsEnough) {
  const std::string digits = "0123456789abcdef";
  for (size_t at = 0; at < kGood.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string header = kGood;
      header[at] = static_cast<char>(byte);
      const bool is_digit = digits.find(header[at]) != std::string::npos;
      const bool valid = kGood[at] == '-' ? byte == '-' : is_digit;
      EXPECT_EQ(ParseTraceparent(header).text(), valid ? header.substr(3, 32) : "") << header;
    }
  }
}

}  // namespace
}  // namespace fairlead
