#include "policy/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace fairlead {
namespace {

TEST(IsUtf8, IsThatOfRfc3629) {
  struct Case {
    std::string_view bytes;
    bool valid;
  };
  const Case cases[] = {
      {"", true},
      {"plain", true},
      {"\xc2\x80", true},
      {"\xdf\xbf", true},
      {"\xe0\xa0\x80", true},
      {"\xed\x9f\xbf", true},
      {"\xee\x80\x80", true},
      {"\xef\xbf\xbf", true},
      {"\xf0\x90\x80\x80", true},
      {"\xf4\x8f\xbf\xbf", true},
      {"a\xe2\x82\xac z", true},
      {"\x80", false},              // A continuation of nothing.
      {"\xbf", false},              //
      {"\xc0\x80", false},          // Overlong.
      {"\xc1\xbf", false},          //
      {"\xe0\x9f\xbf", false},      //
      {"\xf0\x8f\xbf\xbf", false},  //
      {"\xed\xa0\x80", false},      // A surrogate.
      {"\xed\xbf\xbf", false},      //
      {"\xf4\x90\x80\x80", false},  // Beyond U+10FFFF.
      {"\xf5\x80\x80\x80", false},  //
      {"\xff", false},              //
      {"\xc2", false},              // Cut.
      {"\xe2\x82", false},          //
      {"\xf0\x9f\x98", false},      //
      {"\xe2\x28\xa1", false},      // Broken off.
      {"\xf0\x90\x28\xbc", false},  //
      {"\xc2\x80\x80", false},      // One too many.
  };
  for (const Case& each : cases) {
    EXPECT_EQ(IsUtf8(each.bytes), each.valid) << testing::PrintToString(each.bytes);
    // Where it stands among text, and where it is cut, makes no difference.
    for (const std::string_view before : {"", "1234567", "12345678", "caf\xc3\xa9 1234567"}) {
      for (const std::string_view after : {"", "12345678", "\xe2\x82\xac"}) {
        const std::string text = std::string(before).append(each.bytes).append(after);
        // What the next byte would complete is broken by it.
        EXPECT_EQ(IsUtf8(text), each.valid) << testing::PrintToString(text);
        for (size_t cut = 0; cut <= text.size(); ++cut) {
          Utf8 check;
          const bool good = check.Feed(std::string_view(text).substr(0, cut)) &&
                            check.Feed(std::string_view(text).substr(cut)) && check.complete();
          EXPECT_EQ(good, each.valid) << testing::PrintToString(text) << " cut at " << cut;
        }
      }
    }
  }
  EXPECT_TRUE(IsUtf8(std::string_view("a\0b", 3)));
}

TEST(Utf8, SaysWhatIsWrongAtOnce) {
  Utf8 check;
  EXPECT_TRUE(check.Feed("price \xe2"));
  EXPECT_FALSE(check.complete());
  EXPECT_FALSE(check.Feed("\x28")) << "no later byte can mend it";
}

}  // namespace
}  // namespace fairlead
