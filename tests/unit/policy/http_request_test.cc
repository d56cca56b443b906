#include "policy/http_request.h"

#include <gtest/gtest.h>

#include <string>

namespace fairlead {
namespace {

const TargetUrl kUrl{"https", true, "api.example.com", 443, Secret("/v1/orders?symbol=BTCUSDT")};

TEST(CheckMethod, TakesTokensInCapitals) {
  for (const std::string method : {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "M-SEARCH", "X2"}) {
    EXPECT_TRUE(CheckMethod(method)) << method;
  }
  EXPECT_TRUE(CheckMethod(std::string(32, 'A')));
}

TEST(IsSafe, HoldsForWhatOnlyAsks) {
  for (const char* method : {"GET", "HEAD", "OPTIONS", "TRACE"}) EXPECT_TRUE(IsSafe(method)) << method;
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "QUERY", "GETS", ""})
    EXPECT_FALSE(IsSafe(method)) << method;
}

TEST(CheckMethod, RefusesTheRest) {
  const std::string others[] = {"",
                                "get",
                                "Get",
                                "GET ",
                                " GET",
                                "GET / HTTP/1.1\r\nX:",
                                "G\r\nT",
                                "-GET",
                                "1GET",
                                "CONNECT",
                                "G_T",
                                "G.T",
                                "G\xc9T",
                                std::string("GET\0", 4),
                                std::string(33, 'A')};
  for (const std::string& method : others) {
    const auto checked = CheckMethod(method);
    ASSERT_FALSE(checked) << method;
    EXPECT_EQ(checked.error().reason, Reason::kInvalidField);
    EXPECT_EQ(checked.error().phase, Phase::kNotSent);
    EXPECT_TRUE(checked.error().message.starts_with("request.method: ")) << checked.error().message;
  }
}

TEST(AppendQuery, JoinsAsTheTargetNeeds) {
  const std::vector<QueryParameter> query = {{"b", "2"}, {"c", ""}, {"b", "3"}, {"", "4"}};
  const std::string joined = "b=2&c=&b=3&=4";
  EXPECT_EQ(AppendQuery("/", query), "/?" + joined);
  EXPECT_EQ(AppendQuery("/?", query), "/?" + joined);
  EXPECT_EQ(AppendQuery("/?a=1", query), "/?a=1&" + joined);
  EXPECT_EQ(AppendQuery("/?a=1&", query), "/?a=1&" + joined);
  EXPECT_EQ(AppendQuery("/?a=1?", query), "/?a=1?&" + joined);
  EXPECT_EQ(AppendQuery("/a&", query), "/a&?" + joined);
}

TEST(AppendQuery, LeavesATargetAloneWithoutParameters) {
  for (const std::string target : {"/", "/?", "/?a=1", "/a&"}) EXPECT_EQ(AppendQuery(target, {}), target);
}

TEST(AppendQuery, EncodesAllButUnreservedBytes) {
  EXPECT_EQ(AppendQuery("/", {{"a b", "c+d/e?f&g=h%i#j"}}), "/?a%20b=c%2Bd%2Fe%3Ff%26g%3Dh%25i%23j");
  EXPECT_EQ(AppendQuery("/", {{"AZaz09-._~", "AZaz09-._~"}}), "/?AZaz09-._~=AZaz09-._~");
  EXPECT_EQ(AppendQuery("/", {{"\xc3\xa9", "\xe2\x82\xac"}}), "/?%C3%A9=%E2%82%AC");
  EXPECT_EQ(AppendQuery("/", {{"x", std::string("\0\r\n\x7f\xff", 5)}}), "/?x=%00%0D%0A%7F%FF");
  EXPECT_EQ(AppendQuery("/", {{"x", "[\"a\"]"}}), "/?x=%5B%22a%22%5D");
}

TEST(RequestHead, HasHostFirstThenTheCallersHeaders) {
  EXPECT_EQ(RequestHead("GET", kUrl, {{"X-B", "2"}, {"X-A", "1"}, {"x-b", ""}}, 0),
            "GET /v1/orders?symbol=BTCUSDT HTTP/1.1\r\n"
            "Host: api.example.com\r\n"
            "X-B: 2\r\n"
            "X-A: 1\r\n"
            "x-b: \r\n"
            "User-Agent: fairlead\r\n"
            "\r\n");
}

TEST(RequestHead, LeavesTheCallersUserAgent) {
  EXPECT_EQ(RequestHead("DELETE", kUrl, {{"user-agent", "mine"}}, 0),
            "DELETE /v1/orders?symbol=BTCUSDT HTTP/1.1\r\n"
            "Host: api.example.com\r\n"
            "user-agent: mine\r\n"
            "\r\n");
}

TEST(RequestHead, TellsTheLengthOfABodyThatIsOrMightBe) {
  const auto length = [](std::string_view method, uint64_t bytes) {
    const std::string head = RequestHead(method, kUrl, {}, bytes);
    const size_t at = head.find("Content-Length: ");
    return at == std::string::npos ? "none" : head.substr(at + 16);
  };
  for (const char* method : {"POST", "PUT", "PATCH"}) EXPECT_EQ(length(method, 0), "0\r\n\r\n") << method;
  for (const char* method : {"GET", "HEAD", "DELETE", "OPTIONS"}) EXPECT_EQ(length(method, 0), "none") << method;
  for (const char* method : {"POST", "GET", "DELETE"}) EXPECT_EQ(length(method, 12), "12\r\n\r\n") << method;
}

TEST(RequestHead, NamesThePortThatIsNotTheSchemesOwn) {
  const TargetUrl address{"http", false, "::1", 8080, Secret("/")};
  EXPECT_TRUE(RequestHead("GET", address, {}, 0).starts_with("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n"));
}

}  // namespace
}  // namespace fairlead
