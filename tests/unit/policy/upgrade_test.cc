#include "policy/upgrade.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

using namespace std::chrono_literals;

// Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7.
constexpr WallTime kNow{784111777s};

TEST(UpgradeRefused, SaysWhichRefusalsWillNotMend) {
  struct Case {
    unsigned status;
    bool fatal;
  };
  const Case cases[] = {{401, true},  {403, true},  {400, false}, {404, false}, {418, false},
                        {429, false}, {500, false}, {503, false}, {200, false}};
  for (const Case& each : cases) {
    const Loss loss = UpgradeRefused(each.status, "", kNow);
    EXPECT_EQ(loss.fatal, each.fatal) << each.status;
    EXPECT_EQ(loss.cause.reason, Reason::kUpgradeRefused);
    EXPECT_EQ(loss.cause.phase, Phase::kNotSent);
    EXPECT_NE(loss.cause.message.find(std::to_string(each.status)), std::string::npos);
    EXPECT_FALSE(loss.cause.retry_after);
  }
}

TEST(UpgradeRefused, SaysThatRedirectsAreNotFollowed) {
  for (const unsigned status : {301u, 302u, 307u, 308u})
    EXPECT_NE(UpgradeRefused(status, "", kNow).cause.message.find("redirects"), std::string::npos) << status;
  EXPECT_EQ(UpgradeRefused(400, "", kNow).cause.message.find("redirects"), std::string::npos);
}

TEST(UpgradeRefused, ReadsRetryAfter) {
  struct Case {
    std::string field;
    std::optional<Duration> wait;
  };
  const Case cases[] = {
      {"", std::nullopt},
      {"0", 0s},
      {"120", 120s},
      {"4294967295", 4294967295s},
      {"4294967296", std::nullopt},
      {"-1", std::nullopt},
      {"1.5", std::nullopt},
      {"12 s", std::nullopt},
      {"soon", std::nullopt},
      {"Sun, 06 Nov 1994 08:49:57 GMT", 20s},
      {"Sun, 06 Nov 1994 08:49:37 GMT", 0s},
      {"Sun, 06 Nov 1994 08:00:00 GMT", 0s},  // Past: now.
      {"Sunday, 06-Nov-94 08:49:57 GMT", std::nullopt},
  };
  for (const Case& each : cases)
    EXPECT_EQ(UpgradeRefused(429, each.field, kNow).cause.retry_after, each.wait) << each.field;
}

TEST(CheckSubprotocol, MustBeOneThatWasOffered) {
  EXPECT_FALSE(CheckSubprotocol({}, ""));
  EXPECT_FALSE(CheckSubprotocol({"v1", "v2"}, "v2"));
  EXPECT_TRUE(CheckSubprotocol({"v1"}, ""));
  EXPECT_TRUE(CheckSubprotocol({"v1"}, "v2"));
  EXPECT_TRUE(CheckSubprotocol({"v1"}, "V1")) << "subprotocols compare with regard to case";
  EXPECT_TRUE(CheckSubprotocol({}, "v1"));
  EXPECT_EQ(CheckSubprotocol({}, "v1")->reason, Reason::kUpgradeInvalid);
}

TEST(CheckUpgradeHeaders, TakesWhatRfc9110Allows) {
  const std::vector<RequestHeader> headers = {{"X-Api-Key", "k"},       {"User-Agent", "mine"}, {"empty", ""},
                                              {"X-Api-Key", "another"}, {"v", "a\tb c"},        {"latin", "caf\xe9"}};
  EXPECT_TRUE(CheckUpgradeHeaders(headers, 1000));
}

TEST(CheckUpgradeHeaders, RefusesTheRestByPlace) {
  struct Case {
    RequestHeader header;
    std::string where;
  };
  const Case cases[] = {
      {{"", "v"}, "target.headers[1].name"},
      {{"a b", "v"}, "target.headers[1].name"},
      {{"a:", "v"}, "target.headers[1].name"},
      {{"a\r\nb", "v"}, "target.headers[1].name"},
      {{"Host", "v"}, "target.headers[1].name"},
      {{"UPGRADE", "v"}, "target.headers[1].name"},
      {{"connection", "v"}, "target.headers[1].name"},
      {{"Content-Length", "v"}, "target.headers[1].name"},
      {{"Transfer-Encoding", "v"}, "target.headers[1].name"},
      {{"TE", "v"}, "target.headers[1].name"},
      {{"Trailer", "v"}, "target.headers[1].name"},
      {{"Sec-WebSocket-Key", "v"}, "target.headers[1].name"},
      {{"sec-websocket-protocol", "v"}, "target.headers[1].name"},
      {{"a", "b\r\nc: d"}, "target.headers[1].value"},
      {{"a", std::string("b\0c", 3)}, "target.headers[1].value"},
      {{"a", "b\x7f"}, "target.headers[1].value"},
      {{"a", " b"}, "target.headers[1].value"},
      {{"a", "b\t"}, "target.headers[1].value"},
  };
  for (const Case& each : cases) {
    const auto checked = CheckUpgradeHeaders({{"fine", "v"}, each.header}, 1000);
    ASSERT_FALSE(checked) << each.header.name;
    EXPECT_EQ(checked.error().reason, Reason::kInvalidField);
    EXPECT_TRUE(checked.error().message.starts_with(each.where)) << checked.error().message;
  }
}

TEST(CheckUpgradeHeaders, CountsNamesAndValues) {
  const std::vector<RequestHeader> headers = {{"ab", "cde"}, {"f", "ghij"}};
  EXPECT_TRUE(CheckUpgradeHeaders(headers, 10));
  const auto checked = CheckUpgradeHeaders(headers, 9);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().reason, Reason::kLimitReached);
  EXPECT_NE(checked.error().message.find("limits.header_bytes"), std::string::npos);
}

}  // namespace
}  // namespace fairlead
