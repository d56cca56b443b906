#include "policy/http_headers.h"

#include <gtest/gtest.h>

#include <string>

namespace fairlead {
namespace {

TEST(IsToken, IsThatOfRfc9110) {
  for (const char* token : {"a", "Z", "0", "!#$%&'*+-.^_`|~", "graphql-ws"}) EXPECT_TRUE(IsToken(token)) << token;
  for (const char* other : {"", " ", "a b", "a,b", "a/b", "a\"", "(a)", "a@b", "{a}", "\xc3\xa9", "a\n"})
    EXPECT_FALSE(IsToken(other)) << other;
}

TEST(IsFieldValue, HasNoControlCharacterButTheTab) {
  for (unsigned c = 0; c < 256; ++c) {
    const bool control = c < 0x20 || c == 0x7f;
    EXPECT_EQ(IsFieldValue("a" + std::string(1, static_cast<char>(c)) + "b"), !control || c == '\t') << c;
  }
  EXPECT_TRUE(IsFieldValue(""));
}

TEST(Trimmed, TakesSpacesAndTabsOffBothEnds) {
  EXPECT_EQ(Trimmed(" \t a b\t "), "a b");
  EXPECT_EQ(Trimmed(""), "");
  EXPECT_EQ(Trimmed(" \t"), "");
  EXPECT_EQ(Trimmed("\na\v"), "\na\v");
}

TEST(EqualsIgnoringCase, KnowsTheLettersOfAsciiOnly) {
  EXPECT_TRUE(EqualsIgnoringCase("Content-LENGTH", "content-length"));
  EXPECT_TRUE(EqualsIgnoringCase("", ""));
  EXPECT_FALSE(EqualsIgnoringCase("a", "ab"));
  EXPECT_FALSE(EqualsIgnoringCase("@[", "`{"));
  EXPECT_FALSE(EqualsIgnoringCase("\xc9", "\xe9"));
}

TEST(CheckHeaders, TakesWhatRfc9110Allows) {
  const std::vector<RequestHeader> headers = {{"X-Api-Key", "k"},       {"User-Agent", "mine"}, {"empty", ""},
                                              {"X-Api-Key", "another"}, {"v", "a\tb c"},        {"latin", "caf\xe9"},
                                              {"Proxy", "no hyphen"},   {"Hosts", "many"},      {"Cookie", "a=b; c=d"}};
  EXPECT_TRUE(CheckHeaders(headers, 1000, "request.headers"));
  EXPECT_TRUE(CheckHeaders({}, 0, "request.headers"));
}

TEST(CheckHeaders, RefusesTheRestByPlace) {
  struct Case {
    RequestHeader header;
    std::string message;
  };
  const std::string not_a_token = ".name: not a token (RFC 9110 section 5.6.2)";
  const std::string control = ".value: has a control character (RFC 9110 section 5.5)";
  const std::string white_space = ".value: begins or ends with white space (RFC 9110 section 5.5)";
  std::vector<Case> cases = {
      {{"", "v"}, not_a_token},      {{"a b", "v"}, not_a_token},
      {{"a:", "v"}, not_a_token},    {{"a\r\nb", "v"}, not_a_token},
      {{"a\xe9", "v"}, not_a_token}, {{std::string("a\0", 2), "v"}, not_a_token},
      {{"a", "b\r\nc: d"}, control}, {{"a", "b\n"}, control},
      {{"a", "\rb"}, control},       {{"a", std::string("b\0c", 3)}, control},
      {{"a", "b\x7f"}, control},     {{"a", " b"}, white_space},
      {{"a", "b\t"}, white_space},   {{"a", " "}, white_space},
  };
  for (const char* ours : {"Host", "Connection", "content-length", "Transfer-Encoding", "TE", "Trailer", "UPGRADE",
                           "Expect", "Keep-Alive", "Proxy-Authorization", "proxy-connection", "Proxy-", "PROXY-X"}) {
    cases.push_back({{ours, "v"}, ".name: " + std::string(ours) + " belongs to Fairlead"});
  }
  for (const Case& each : cases) {
    const auto checked = CheckHeaders({{"fine", "v"}, each.header}, 1000, "request.headers");
    ASSERT_FALSE(checked) << each.header.name;
    EXPECT_EQ(checked.error(), (Failure{Reason::kInvalidField, Phase::kNotSent, "request.headers[1]" + each.message}));
  }
}

TEST(CheckHeaders, CountsNamesAndValues) {
  const std::vector<RequestHeader> headers = {{"ab", "cde"}, {"f", "ghij"}};
  EXPECT_TRUE(CheckHeaders(headers, 10, "request.headers"));
  const auto checked = CheckHeaders(headers, 9, "request.headers");
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error(),
            (Failure{Reason::kLimitReached, Phase::kNotSent, "request.headers: 10 bytes; limits.header_bytes is 9"}));
}

}  // namespace
}  // namespace fairlead
