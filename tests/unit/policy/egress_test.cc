#include "policy/egress.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fairlead {
namespace {

constexpr std::size_t kUrlBytes = 8192;

TargetUrl Parse(const std::string& url) {
  auto target = ParseTarget(url, kUrlBytes);
  EXPECT_TRUE(target) << url << ": " << (target ? "" : target.error().message);
  return target.value_or(TargetUrl{});
}

Cidr Range(const std::string& text) {
  const auto cidr = ParseCidr(text);
  EXPECT_TRUE(cidr) << text;
  return cidr.value_or(Cidr{});
}

TEST(ParseTarget, TakesUrlsApart) {
  struct Case {
    std::string url;
    TargetUrl expected;
  };
  const Case cases[] = {
      {"wss://stream.example.com/ws", {"wss", true, "stream.example.com", 443, Secret("/ws")}},
      {"ws://stream.example.com/ws", {"ws", false, "stream.example.com", 80, Secret("/ws")}},
      {"WSS://Stream.EXAMPLE.com/Ws", {"wss", true, "stream.example.com", 443, Secret("/Ws")}},
      {"wss://h", {"wss", true, "h", 443, Secret("/")}},
      {"wss://h?a=1", {"wss", true, "h", 443, Secret("/?a=1")}},
      {"wss://h/?", {"wss", true, "h", 443, Secret("/?")}},
      {"wss://h:9443/stream?streams=a@trade/b@depth",
       {"wss", true, "h", 9443, Secret("/stream?streams=a@trade/b@depth")}},
      {"wss://h/a%20b?k=%7B%22x%22%3A1%7D", {"wss", true, "h", 443, Secret("/a%20b?k=%7B%22x%22%3A1%7D")}},
      {"wss://h/a/../b//c", {"wss", true, "h", 443, Secret("/a/../b//c")}},
      {"ws://h:1/", {"ws", false, "h", 1, Secret("/")}},
      {"ws://h:65535/", {"ws", false, "h", 65535, Secret("/")}},
      {"ws://127.0.0.1:8080/x", {"ws", false, "127.0.0.1", 8080, Secret("/x")}},
      {"ws://[::1]:8080/x", {"ws", false, "::1", 8080, Secret("/x")}},
      {"ws://[0:0:0:0:0:0:0:1]/", {"ws", false, "::1", 80, Secret("/")}},
      {"ws://[2001:DB8::A]/", {"ws", false, "2001:db8::a", 80, Secret("/")}},
      {"ws://[::ffff:127.0.0.1]/", {"ws", false, "::ffff:127.0.0.1", 80, Secret("/")}},
      {"ws://[::ffff:7f00:1]/", {"ws", false, "::ffff:127.0.0.1", 80, Secret("/")}},
      {"wss://xn--bcher-kva.example/", {"wss", true, "xn--bcher-kva.example", 443, Secret("/")}},
      {"wss://a_b.example-1.com/", {"wss", true, "a_b.example-1.com", 443, Secret("/")}},
      {"wss://0xg/", {"wss", true, "0xg", 443, Secret("/")}},
      {"tcp://h:4001", {"tcp", false, "h", 4001, Secret("")}},
      {"tcp://h:4001/", {"tcp", false, "h", 4001, Secret("")}},
      {"TLS://Stream.Example.com:443", {"tls", true, "stream.example.com", 443, Secret("")}},
      {"tls://[::1]:1", {"tls", true, "::1", 1, Secret("")}},
  };
  for (const Case& each : cases) EXPECT_EQ(Parse(each.url), each.expected) << each.url;
}

TEST(ParseTarget, RefusesEverythingElse) {
  const std::string label63(63, 'a');
  struct Case {
    std::string url;
    Reason reason;
    std::string message;
  };
  const Case cases[] = {
      {"", Reason::kInvalidField, "is required"},
      {"wss", Reason::kInvalidField, "RFC 3986"},
      {"//h/ws", Reason::kInvalidField, "RFC 3986"},
      {"h:443", Reason::kInvalidField, "scheme"},
      {"wss:h", Reason::kInvalidField, "host is required"},
      {"wss:/h", Reason::kInvalidField, "host is required"},
      {"wss://", Reason::kInvalidField, "host is required"},
      {"wss:///ws", Reason::kInvalidField, "host is required"},
      {"wss://:443/", Reason::kInvalidField, "host is required"},
      {"http://h/", Reason::kInvalidField, "scheme must be ws, wss, tcp or tls"},
      {"https://h/", Reason::kInvalidField, "scheme must be ws, wss, tcp or tls"},
      {"file:///etc/passwd", Reason::kInvalidField, "scheme must be ws, wss, tcp or tls"},
      {"gopher://h/", Reason::kInvalidField, "scheme must be ws, wss, tcp or tls"},
      {"unix:///run/x.sock", Reason::kInvalidField, "scheme must be ws, wss, tcp or tls"},
      {"ws+unix:///run/x.sock", Reason::kInvalidField, "scheme must be ws, wss, tcp or tls"},
      {"tcp://h", Reason::kInvalidField, "needs a port"},
      {"tls://h/", Reason::kInvalidField, "needs a port"},
      {"tcp://h:0", Reason::kInvalidField, "port"},
      {"tcp://h:1/x", Reason::kInvalidField, "no path and no query"},
      {"tls://h:1//", Reason::kInvalidField, "no path and no query"},
      {"tls://h:1?token=secret", Reason::kInvalidField, "no path and no query"},
      {"tls://h:1/?", Reason::kInvalidField, "no path and no query"},
      {"tcp://u:secret@h:1", Reason::kInvalidField, "user name"},
      {"tcp://:1", Reason::kInvalidField, "host is required"},
      {"wss://a@b/", Reason::kInvalidField, "user name"},
      {"wss://a:secret@b/", Reason::kInvalidField, "user name"},
      {"wss://@b/", Reason::kInvalidField, "user name"},
      {"wss://good.example:x@evil.example/", Reason::kInvalidField, "user name"},
      {"wss://h/#x", Reason::kInvalidField, "fragment"},
      {"wss://h/#", Reason::kInvalidField, "fragment"},
      {"wss://h:0/", Reason::kInvalidField, "port"},
      {"wss://h:/", Reason::kInvalidField, "port"},
      {"wss://h:65536/", Reason::kInvalidField, "port"},
      {"wss://h:99999999999999999999/", Reason::kInvalidField, "port"},
      {"wss://h:0443/", Reason::kInvalidField, "port"},
      {"wss://h:-1/", Reason::kInvalidField, "port"},
      {"wss://h:443x/", Reason::kInvalidField, "malformed"},
      {"wss://h:443.evil.example", Reason::kInvalidField, "malformed"},
      {"wss://1.2.3.4.example/", Reason::kInvalidField, "malformed"},
      {"wss://127.0.0.1evil.example?x", Reason::kInvalidField, "malformed"},
      {"wss://[::1]evil.example/", Reason::kInvalidField, "malformed"},
      {"wss://[::1].evil.example/", Reason::kInvalidField, "malformed"},
      {"wss://h:443:443/", Reason::kInvalidField, "malformed"},
      {"wss://h/a b", Reason::kInvalidField, "RFC 3986"},
      {" wss://h/", Reason::kInvalidField, "RFC 3986"},
      {"wss://h/ ", Reason::kInvalidField, "RFC 3986"},
      {"wss://h/\r\nX: y", Reason::kInvalidField, "RFC 3986"},
      {"wss://h/\tx", Reason::kInvalidField, "RFC 3986"},
      {std::string("wss://h/\0x", 10), Reason::kInvalidField, "RFC 3986"},
      {std::string("wss://h\0.example/", 17), Reason::kInvalidField, "RFC 3986"},
      {"wss://h/\x7f", Reason::kInvalidField, "RFC 3986"},
      {"wss://h/%zz", Reason::kInvalidField, "RFC 3986"},
      {"wss://h\\@evil.example/", Reason::kInvalidField, "RFC 3986"},
      {"wss://b\xc3\xbc"
       "cher.example/",
       Reason::kInvalidField, "RFC 3986"},
      {"wss://h/\xc3\xbc", Reason::kInvalidField, "RFC 3986"},
      {"wss://b%C3%BCcher.example/", Reason::kInvalidField, "punycode"},
      {"wss://%31%32%37.0.0.1/", Reason::kInvalidField, "letters, digits"},
      {"wss://h%00.example/", Reason::kInvalidField, "letters, digits"},
      {"wss://a$b.example/", Reason::kInvalidField, "letters, digits"},
      {"wss://a,b/", Reason::kInvalidField, "letters, digits"},
      {"wss://0x7f.1/", Reason::kInvalidField, "odd spelling"},
      {"wss://0x7f000001/", Reason::kInvalidField, "odd spelling"},
      {"wss://0X7F000001/", Reason::kInvalidField, "odd spelling"},
      {"wss://127.0.0.0x1/", Reason::kInvalidField, "malformed"},
      {"wss://127.0.0.0x/", Reason::kInvalidField, "malformed"},
      {"wss://2130706433/", Reason::kInvalidField, "odd spelling"},
      {"wss://0/", Reason::kInvalidField, "odd spelling"},
      {"wss://127.1/", Reason::kInvalidField, "odd spelling"},
      {"wss://1.2.3.1234/", Reason::kInvalidField, "odd spelling"},
      {"wss://a.b.0x7f/", Reason::kInvalidField, "odd spelling"},
      {"wss://0177.0.0.1/", Reason::kInvalidField, "odd spelling"},
      {"wss://127.0.0.01/", Reason::kInvalidField, "odd spelling"},
      {"wss://127.0.0.256/", Reason::kInvalidField, "odd spelling"},
      {"wss://1.2.3.4.5/", Reason::kInvalidField, "malformed"},
      {"wss://127.0.0.1./", Reason::kInvalidField, "malformed"},
      {"wss://example.com./", Reason::kInvalidField, "empty label"},
      {"wss://.example.com/", Reason::kInvalidField, "empty label"},
      {"wss://a..example.com/", Reason::kInvalidField, "empty label"},
      {"wss://./", Reason::kInvalidField, "empty label"},
      {"wss://-a.example/", Reason::kInvalidField, "'-'"},
      {"wss://a-.example/", Reason::kInvalidField, "'-'"},
      {"wss://*.example/", Reason::kInvalidField, "letters, digits"},
      {"wss://" + label63 + "a.example/", Reason::kInvalidField, "63 bytes"},
      {"wss://" + label63 + "." + label63 + "." + label63 + "." + label63 + "/", Reason::kInvalidField, "253 bytes"},
      {"wss://[::ffff:127.0.0.1%25lo]/", Reason::kInvalidField, ""},
      {"wss://[fe80::1%25eth0]/", Reason::kInvalidField, ""},
      {"wss://[fe80::1%eth0]/", Reason::kInvalidField, "RFC 3986"},
      {"wss://[::1/", Reason::kInvalidField, "RFC 3986"},
      {"wss://::1/", Reason::kInvalidField, ""},
      {"wss://[]/", Reason::kInvalidField, "RFC 3986"},
      {"wss://[127.0.0.1]/", Reason::kInvalidField, "RFC 3986"},
      {"wss://[::ffff:0177.0.0.1]/", Reason::kInvalidField, ""},
      {"wss://[v1.x]/", Reason::kInvalidField, "unknown version"},
  };
  for (const Case& each : cases) {
    const auto target = ParseTarget(each.url, kUrlBytes);
    ASSERT_FALSE(target) << each.url << " was taken as " << target->Origin();
    EXPECT_EQ(target.error().reason, each.reason) << each.url;
    EXPECT_EQ(target.error().phase, Phase::kNotSent) << each.url;
    EXPECT_TRUE(target.error().message.starts_with("target.url: ")) << target.error().message;
    EXPECT_NE(target.error().message.find(each.message), std::string::npos)
        << each.url << ": " << target.error().message;
    EXPECT_EQ(target.error().message.find("secret"), std::string::npos) << target.error().message;
  }
}

TEST(ParseRequestUrl, TakesUrlsApart) {
  struct Case {
    std::string url;
    TargetUrl expected;
  };
  const Case cases[] = {
      {"https://api.example.com", {"https", true, "api.example.com", 443, Secret("/")}},
      {"HTTP://Api.Example.com/Path?q=%20", {"http", false, "api.example.com", 80, Secret("/Path?q=%20")}},
      {"https://h:8443?a=1", {"https", true, "h", 8443, Secret("/?a=1")}},
      {"http://[::1]:8080/x", {"http", false, "::1", 8080, Secret("/x")}},
  };
  for (const Case& each : cases) {
    const auto url = ParseRequestUrl(each.url, kUrlBytes);
    ASSERT_TRUE(url) << each.url << ": " << url.error().message;
    EXPECT_EQ(*url, each.expected) << each.url;
    EXPECT_FALSE(url->IsRawSocket());
  }
}

TEST(ParseRequestUrl, RefusesTheOthersAndNamesItsField) {
  for (const std::string url : {"", "ws://h/", "wss://h/", "tcp://h:1", "tls://h:1", "ftp://h/", "https://a:secret@h/",
                                "https://h/#secret", "https://h:0/", "https://127.1/", "https://", "/path", "h:443"}) {
    const auto parsed = ParseRequestUrl(url, kUrlBytes);
    ASSERT_FALSE(parsed) << url;
    EXPECT_EQ(parsed.error().reason, Reason::kInvalidField) << url;
    EXPECT_EQ(parsed.error().phase, Phase::kNotSent) << url;
    EXPECT_TRUE(parsed.error().message.starts_with("request.url: ")) << parsed.error().message;
    EXPECT_EQ(parsed.error().message.find("secret"), std::string::npos) << parsed.error().message;
  }
  EXPECT_EQ(ParseRequestUrl("ws://h/", kUrlBytes).error().message, "request.url: the scheme must be http or https");
  EXPECT_EQ(ParseRequestUrl("https://h/xx", 11).error().message, "request.url: has 12 bytes; limits.url_bytes is 11");
}

TEST(ParseTarget, HoldsToTheLimit) {
  const std::string url = "wss://h/" + std::string(92, 'x');
  EXPECT_TRUE(ParseTarget(url, 100));
  const auto target = ParseTarget(url, 99);
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().reason, Reason::kLimitReached);
  EXPECT_EQ(target.error().message, "target.url: has 100 bytes; limits.url_bytes is 99");
}

TEST(TargetUrl, SpellsHostAndOrigin) {
  EXPECT_EQ(Parse("wss://h.example/x?token=1").HostHeader(), "h.example");
  EXPECT_EQ(Parse("wss://h.example:443/").HostHeader(), "h.example");
  EXPECT_EQ(Parse("wss://h.example:80/").HostHeader(), "h.example:80");
  EXPECT_EQ(Parse("ws://h.example:80/").HostHeader(), "h.example");
  EXPECT_EQ(Parse("ws://h.example:443/").HostHeader(), "h.example:443");
  EXPECT_EQ(Parse("ws://[::1]/").HostHeader(), "[::1]");
  EXPECT_EQ(Parse("tcp://h.example:80").HostHeader(), "h.example:80");
  EXPECT_EQ(Parse("ws://[::1]:8080/").HostHeader(), "[::1]:8080");
  EXPECT_EQ(Parse("ws://[::1]:8080/").Origin(), "ws://[::1]:8080");
  EXPECT_EQ(Parse("tcp://h.example:80").Origin(), "tcp://h.example:80");
  EXPECT_EQ(Parse("tls://h.example:443").Redacted(), "tls://h.example:443");
  EXPECT_EQ(Parse("wss://h.example/x/y?token=secret?x").Redacted(), "wss://h.example:443/x/y");
  EXPECT_EQ(Parse("wss://h.example?token=secret").Redacted(), "wss://h.example:443/");
}

TEST(TargetUrl, KnowsIpLiterals) {
  EXPECT_TRUE(Parse("ws://127.0.0.1/").IsIpLiteral());
  EXPECT_TRUE(Parse("ws://[::1]/").IsIpLiteral());
  EXPECT_FALSE(Parse("ws://localhost/").IsIpLiteral());
  EXPECT_EQ(Parse("ws://[::ffff:127.0.0.1]/").Address(), IpAddress::Parse("::ffff:7f00:1"));
  EXPECT_FALSE(Parse("ws://a.127.example/").Address());
}

TEST(ParseHostPattern, NormalisesAndRefuses) {
  EXPECT_EQ(ParseHostPattern("*"), "*");
  EXPECT_EQ(ParseHostPattern("*.Example.COM"), "*.example.com");
  EXPECT_EQ(ParseHostPattern("Example.com"), "example.com");
  EXPECT_EQ(ParseHostPattern("0:0::1"), "::1");
  for (const char* pattern : {"", "*.", "*.*", "**", "*example.com", "a.*.com", "*.127.0.0.1", "*.::1", "[::1]",
                              "h:443", "wss://h", "h/", "127.1", "a..b", "example.com."}) {
    EXPECT_FALSE(ParseHostPattern(pattern)) << pattern;
  }
}

TEST(Egress, AllowsByTheFirstRuleThatMatches) {
  const Egress egress({
      {.name = "exact", .schemes = {"wss", "ws"}, .hosts = {"stream.example.com", "::1"}, .ports = {443, 9443}},
      {.name = "below", .schemes = {}, .hosts = {"*.example.com", "*.b.example.net"}},
      {.name = "plain", .schemes = {"ws"}, .hosts = {"*"}, .ports = {8080}},
  });
  struct Case {
    std::string url;
    std::string rule;  // Empty: none.
  };
  const Case cases[] = {
      {"wss://stream.example.com/", "exact"},
      {"wss://STREAM.example.com:9443/", "exact"},
      {"ws://stream.example.com:443/", "exact"},
      {"wss://stream.example.com:444/", "below"},
      {"ws://stream.example.com:444/", ""},
      {"wss://other.example.com/", "below"},
      {"wss://a.b.c.example.com:1/", "below"},
      {"wss://example.com/", ""},
      {"wss://evilexample.com/", ""},
      {"wss://example.com.evil.org/", ""},
      {"ws://other.example.com/", ""},
      {"wss://x.b.example.net/", "below"},
      {"wss://b.example.net/", ""},
      {"ws://anything.org:8080/", "plain"},
      {"wss://anything.org:8080/", ""},
      {"ws://10.0.0.1:8080/", "plain"},
      {"wss://10.0.0.1/", ""},
      {"wss://[::1]/", "exact"},
      {"wss://[0::1]:9443/", "exact"},
      {"wss://[::2]/", ""},
  };
  for (const Case& each : cases) {
    const auto rule = egress.Allow(Parse(each.url));
    EXPECT_EQ(rule ? (*rule)->name : "", each.rule) << each.url;
  }
}

TEST(Egress, ByDefaultAllowsTheSchemesThatEncrypt) {
  const Egress egress(
      {{.name = "encrypted", .hosts = {"a"}}, {.name = "named", .schemes = {"http", "tcp"}, .hosts = {"*"}}});
  const auto rule = [&egress](const Result<TargetUrl>& url) {
    const auto allowed = egress.Allow(*url);
    return allowed ? (*allowed)->name : "";
  };
  EXPECT_EQ(rule(ParseTarget("wss://a/", kUrlBytes)), "encrypted");
  EXPECT_EQ(rule(ParseTarget("tls://a:1", kUrlBytes)), "encrypted");
  EXPECT_EQ(rule(ParseRequestUrl("https://a/", kUrlBytes)), "encrypted");
  EXPECT_EQ(rule(ParseTarget("ws://a/", kUrlBytes)), "");
  EXPECT_EQ(rule(ParseTarget("tcp://a:1", kUrlBytes)), "named");
  EXPECT_EQ(rule(ParseRequestUrl("http://a/", kUrlBytes)), "named");
  EXPECT_EQ(rule(ParseRequestUrl("https://b/", kUrlBytes)), "") << "the second rule names its schemes";
  EXPECT_EQ(rule(ParseTarget("tls://b:1", kUrlBytes)), "");
}

TEST(Egress, TellsWhatItDenied) {
  const auto denied = Egress({{.name = "a", .hosts = {"h"}}}).Allow(Parse("wss://evil.example/x?token=secret"));
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error(),
            (Failure{Reason::kEgressDenied, Phase::kNotSent,
                     "no rule allows wss://evil.example:443; egress.rules of the configuration list what "
                     "may be reached"}));
}

TEST(Egress, WithoutRulesAllowsNothing) { EXPECT_FALSE(Egress().Allow(Parse("wss://stream.example.com/"))); }

TEST(Egress, AllowsAddressesThatArePublicOrLifted) {
  struct Case {
    std::vector<std::string> cidrs;
    std::string address;
    bool allowed;
  };
  const Case cases[] = {
      {{}, "8.8.8.8", true},
      {{}, "2606:4700::1111", true},
      {{}, "127.0.0.1", false},
      {{}, "169.254.169.254", false},
      {{}, "::1", false},
      {{}, "fd00:ec2::254", false},
      {{}, "::ffff:8.8.8.8", false},
      {{}, "64:ff9b::8.8.8.8", false},
      {{}, "2002:808:808::1", false},
      {{"127.0.0.0/8"}, "127.0.0.1", true},
      {{"127.0.0.0/8"}, "::ffff:127.0.0.1", true},
      {{"127.0.0.0/8"}, "::ffff:10.0.0.1", false},
      {{"127.0.0.0/8"}, "64:ff9b::127.0.0.1", false},
      {{"127.0.0.0/8"}, "2002:7f00:1::1", false},
      {{"127.0.0.0/8"}, "::127.0.0.1", false},
      {{"127.0.0.0/8"}, "10.0.0.1", false},
      {{"127.0.0.0/8"}, "::1", false},
      {{"127.0.0.0/8"}, "8.8.8.8", true},
      {{"127.0.0.0/8", "::1/128"}, "::1", true},
      {{"::1/128"}, "::2", false},
      {{"::1/128"}, "127.0.0.1", false},
      {{"64:ff9b::/96"}, "64:ff9b::8.8.8.8", true},
      {{"64:ff9b::/96"}, "64:ff9b::10.0.0.1", false},
      {{"64:ff9b::/96", "10.0.0.0/8"}, "64:ff9b::10.0.0.1", true},
      {{"2002::/16"}, "2002:808:808::1", true},
      {{"2002::/16"}, "2002:a00:1::1", false},
      {{"::/0"}, "::ffff:8.8.8.8", true},
      {{"::/0"}, "::ffff:127.0.0.1", false},
      {{"::/0"}, "fe80::1", true},
      {{"::/0"}, "127.0.0.1", false},
      {{"0.0.0.0/0"}, "255.255.255.255", true},
  };
  for (const Case& each : cases) {
    EgressRule rule{.name = "r", .hosts = {"*"}};
    for (const std::string& cidr : each.cidrs) rule.cidrs.push_back(Range(cidr));
    const auto address = IpAddress::Parse(each.address);
    ASSERT_TRUE(address) << each.address;
    EXPECT_EQ(Egress::AllowAddress(rule, "h", *address).has_value(), each.allowed) << each.address;
  }
}

TEST(Egress, DoesNotTellTheAddress) {
  const EgressRule rule{.name = "public", .hosts = {"*"}};
  const auto denied = Egress::AllowAddress(rule, "rebound.example", IpAddress::V4({10, 1, 2, 3}));
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error(), (Failure{Reason::kEgressDenied, Phase::kNotSent,
                                     "an address of rebound.example is not public; the egress rule public "
                                     "can lift ranges with cidrs"}));
}

}  // namespace
}  // namespace fairlead
