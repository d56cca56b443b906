#include "rpc/http_requests.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include <set>

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

v1::SendRequest Text(const std::string& request) {
  v1::SendRequest message;
  message.mutable_request()->set_method("GET");
  message.mutable_request()->set_url("https://api.example.com/time");
  v1::SendRequest more;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString("request { " + request + " }", &more)) << request;
  message.MergeFrom(more);
  return message;
}

Result<SendRequest> Parse(const std::string& request, Duration remaining = Duration::max()) {
  return ParseSendRequest(Text(request), Limits{}, HttpOptions{}, remaining);
}
SendRequest Parsed(const std::string& request, Duration remaining = Duration::max()) {
  auto parsed = Parse(request, remaining);
  EXPECT_TRUE(parsed) << request << ": " << (parsed ? "" : parsed.error().message);
  return parsed.value_or(SendRequest{});
}
std::string Bytes(size_t size, char byte = 'x') { return std::string(size, byte); }

TEST(ParseSendRequest, DefaultsAreThoseOfTheProto) {
  const auto [request, names] = Parsed("");
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.url, (TargetUrl{"https", true, "api.example.com", 443, Secret("/time")}));
  EXPECT_THAT(request.headers, IsEmpty());
  EXPECT_EQ(request.body, "");
  EXPECT_EQ(request.timeout, 10s);
  EXPECT_EQ(request.max_wait, 1s);
  EXPECT_EQ(request.max_response_bytes, 3 * kMiB);
  EXPECT_THAT(names, IsEmpty());
  EXPECT_EQ(Parsed("max_response_bytes: 0").request.max_response_bytes, 3 * kMiB) << "zero is absent";
}

TEST(ParseSendRequest, TakesEveryField) {
  const auto [request, names] = Parsed(R"(
      method: "POST" url: "http://h:8080/order?a=b" headers { name: "X-B" value: "2" } headers { name: "X-A" value: "1" }
      headers { name: "X-B" value: "" } body: "\000\377" query { key: "s" value: "a b&" } query { key: "s" value: "" }
      query { key: "" value: "x" } timeout { seconds: 3 } max_wait { } response_header_names: "Date"
      response_header_names: "x-limit" max_response_bytes: 1234)");
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, (TargetUrl{"http", false, "h", 8080, Secret("/order?a=b&s=a%20b%26&s=&=x")}));
  EXPECT_THAT(request.headers,
              ElementsAre(RequestHeader("X-B", "2"), RequestHeader("X-A", "1"), RequestHeader("X-B", "")));
  EXPECT_EQ(request.body, std::string("\0\xff", 2));
  EXPECT_EQ(request.timeout, 3s);
  EXPECT_EQ(request.max_wait, 0s) << "a present zero is zero";
  EXPECT_EQ(request.max_response_bytes, 1234u);
  EXPECT_THAT(names, ElementsAre("Date", "x-limit"));
}

// Each field of the message is honoured above, or refused here.
TEST(ParseSendRequest, RefusesByNameWhatThisVersionDoesNotDo) {
  const std::vector<std::pair<std::string, std::string>> refused = {{R"(charges { key: "k" weight: 1 })", "charges"},
                                                                    {R"(permit: "p")", "permit"},
                                                                    {"idempotency: IDEMPOTENCY_SAFE", "idempotency"},
                                                                    {R"(profile: "p")", "profile"}};
  std::set<std::string> fields = {"method",
                                  "url",
                                  "headers",
                                  "body",
                                  "query",
                                  "timeout",
                                  "max_wait",
                                  "response_header_names",
                                  "max_response_bytes"};
  for (const auto& [request, field] : refused) {
    const auto parsed = Parse(request);
    ASSERT_FALSE(parsed) << request;
    EXPECT_EQ(parsed.error().reason, Reason::kNotImplemented);
    EXPECT_EQ(parsed.error().phase, Phase::kNotSent);
    EXPECT_THAT(parsed.error().message, StartsWith("request." + field + ":"));
    fields.insert(field);
  }
  const auto& descriptor = *v1::HttpRequest::descriptor();
  EXPECT_EQ(fields.size(), static_cast<size_t>(descriptor.field_count()));
  for (const std::string& field : fields) EXPECT_NE(descriptor.FindFieldByName(field), nullptr) << field;
}

TEST(ParseSendRequest, NamesEachFieldThatIsWrong) {
  struct Case {
    std::string request;
    Reason reason;
    std::string field;
  };
  const auto kInvalid = Reason::kInvalidField;
  const auto kLimit = Reason::kLimitReached;
  const Case cases[] = {
      {R"(method: "get")", kInvalid, "request.method"},
      {R"(method: "CONNECT")", kInvalid, "request.method"},
      {"method: \"" + Bytes(33, 'A') + "\"", kInvalid, "request.method"},
      {R"(method: "GET /secret HTTP/1.1\r\n")", kInvalid, "request.method"},
      {R"(url: "wss://h/")", kInvalid, "request.url"},
      {R"(url: "https://u:secret@h/")", kInvalid, "request.url"},
      {R"(url: "https://h/#secret")", kInvalid, "request.url"},
      {R"(url: "https://h/\r\nX: secret")", kInvalid, "request.url"},
      {"url: \"https://h/" + Bytes(8183) + "\"", kLimit, "request.url"},
      {"query { key: \"k\" value: \"" + Bytes(8190, 's') + "\" }", kLimit, "request.query"},
      {R"(headers { name: "Host" value: "x" })", kInvalid, "request.headers[0].name"},
      {R"(headers { name: "a" value: "b" } headers { name: "content-length" value: "1" })", kInvalid,
       "request.headers[1].name"},
      {R"(headers { name: "Transfer-Encoding" value: "chunked" })", kInvalid, "request.headers[0].name"},
      {R"(headers { name: "Connection" value: "close" })", kInvalid, "request.headers[0].name"},
      {R"(headers { name: "Expect" value: "100-continue" })", kInvalid, "request.headers[0].name"},
      {R"(headers { name: "Proxy-Authorization" value: "secret" })", kInvalid, "request.headers[0].name"},
      {R"(headers { name: "a b" value: "x" })", kInvalid, "request.headers[0].name"},
      {R"(headers { name: "a" value: "secret\r\nX: y" })", kInvalid, "request.headers[0].value"},
      {"headers { name: \"a\" value: \"" + Bytes(16384) + "\" }", kLimit, "request.headers"},
      {"timeout { }", kInvalid, "request.timeout"},
      {"timeout { seconds: -1 }", kInvalid, "request.timeout"},
      {"timeout { seconds: 1 nanos: -1 }", kInvalid, "request.timeout"},
      {"timeout { seconds: 400000000 }", kInvalid, "request.timeout"},
      {"max_wait { seconds: -1 }", kInvalid, "request.max_wait"},
      {R"(response_header_names: "a b")", kInvalid, "request.response_header_names"},
      {R"(response_header_names: "")", kInvalid, "request.response_header_names"},
      {"response_header_names: \"" + Bytes(16385) + "\"", kLimit, "request.response_header_names"},
      {"max_response_bytes: 66973697", kLimit, "request.max_response_bytes"},
      {"max_response_bytes: 18446744073709551615", kLimit, "request.max_response_bytes"},
  };
  for (const Case& each : cases) {
    const auto refused = Parse(each.request);
    ASSERT_FALSE(refused) << each.request.substr(0, 100);
    EXPECT_EQ(refused.error().reason, each.reason) << each.request.substr(0, 100);
    EXPECT_EQ(refused.error().phase, Phase::kNotSent);
    EXPECT_THAT(refused.error().message, StartsWith(each.field + ":")) << each.request.substr(0, 100);
    EXPECT_THAT(refused.error().message, testing::Not(HasSubstr("secret")));
  }
}

TEST(ParseSendRequest, NeedsARequestAMethodAndAUrl) {
  const auto parse = [](const v1::SendRequest& send) {
    const auto parsed = ParseSendRequest(send, Limits{}, HttpOptions{}, Duration::max());
    EXPECT_FALSE(parsed);
    return parsed ? "" : parsed.error().message;
  };
  v1::SendRequest send;
  EXPECT_EQ(parse(send), "request: is required");
  send.mutable_request()->set_url("https://h/");
  EXPECT_THAT(parse(send), StartsWith("request.method:"));
  send.mutable_request()->set_method("GET");
  send.mutable_request()->clear_url();
  EXPECT_EQ(parse(send), "request.url: is required");
}

TEST(ParseSendRequest, TakesWhatJustFits) {
  EXPECT_TRUE(Parse("url: \"https://h/" + Bytes(8182) + "\""));
  EXPECT_TRUE(Parse("headers { name: \"a\" value: \"" + Bytes(16383) + "\" }"));
  EXPECT_EQ(Parsed("max_response_bytes: 66973696").request.max_response_bytes, 66'973'696u);
  // "https://api.example.com/time" and "?k=" have 31 bytes.
  EXPECT_TRUE(Parse("query { key: \"k\" value: \"" + Bytes(8192 - 31) + "\" }"));
  EXPECT_FALSE(Parse("query { key: \"k\" value: \"" + Bytes(8192 - 30) + "\" }"));
}

TEST(ParseSendRequest, RefusesUnknownFieldsWhereverTheyAre) {
  auto send = Text(R"(headers { name: "a" value: "b" })");
  auto& header = *send.mutable_request()->mutable_headers(0);
  header.GetReflection()->MutableUnknownFields(&header)->AddVarint(99, 1);
  const auto parsed = ParseSendRequest(send, Limits{}, HttpOptions{}, Duration::max());
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().reason, Reason::kUnknownField);
  EXPECT_THAT(parsed.error().message, HasSubstr("SendRequest.request.headers: field number 99"));
}

// Our own answer, which has a phase, comes before gRPC's.
TEST(ParseSendRequest, TheDeadlineLessAMarginCapsTheTimeout) {
  EXPECT_EQ(Parsed("", 5s).request.timeout, 5s - 50ms);
  EXPECT_EQ(Parsed("timeout { seconds: 2 }", 5s).request.timeout, 2s);
  EXPECT_EQ(Parsed("timeout { seconds: 31536000 }").request.timeout, 365 * 24h);
  EXPECT_EQ(Parsed("", 51ms).request.timeout, 1ms);
  for (const Duration remaining : {Duration(50ms), Duration(1ms), Duration(0), Duration(-1h), Duration::min()}) {
    const auto refused = Parse("", remaining);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::kRequestTimeout);
    EXPECT_EQ(refused.error().phase, Phase::kNotSent);
  }
}

TEST(ParseSendRequest, TheLimitsAreTheConfigurations) {
  Limits limits;
  limits.message_bytes = 1 * kMiB;
  limits.url_bytes = 30;
  const HttpOptions options{.response_bytes = 100, .response_header_bytes = 1 * kKiB};
  const auto parse = [&](const std::string& request) {
    return ParseSendRequest(Text(request), limits, options, Duration::max());
  };
  EXPECT_EQ(parse("")->request.max_response_bytes, 100u);
  EXPECT_EQ(parse("max_response_bytes: 200")->request.max_response_bytes, 200u) << "a request may have more";
  EXPECT_TRUE(parse("max_response_bytes: " + std::to_string(kMiB - 6 * kKiB)));
  EXPECT_FALSE(parse("max_response_bytes: " + std::to_string(kMiB - 6 * kKiB + 1)));
  EXPECT_FALSE(parse(R"(query { key: "a" value: "" })")) << "the URL has 28 bytes, with the query 31";
  EXPECT_FALSE(parse(R"(query { key: "\377\377" value: "" })")) << "what counts is what is sent";
}

HttpResponse Answered() {
  return {.status = 200,
          .headers = {{"Date", "now"}, {"X-Limit", "1"}, {"x-limit", "2"}, {"Server", "s"}},
          .body = std::string("b\0dy", 4),
          .timing = {.pool_wait = 1ms,
                     .connection = ConnectTimes{.resolve = 2ms, .connect = 3ms, .tls = 4ms},
                     .first_byte = 5ms,
                     .total = 1500ms},
          .reused_connection = true};
}

TEST(ToProto, TellsEverything) {
  const v1::HttpResponse proto = ToProto(Answered(), {});
  EXPECT_EQ(proto.status(), 200u);
  ASSERT_EQ(proto.headers_size(), 4);
  EXPECT_EQ(proto.headers(0).name(), "Date");
  EXPECT_EQ(proto.headers(0).value(), "now");
  EXPECT_EQ(proto.headers(2).name(), "x-limit") << "as it came, repetition kept";
  EXPECT_EQ(proto.body(), std::string("b\0dy", 4));
  EXPECT_FALSE(proto.timing().has_quota_wait());
  EXPECT_EQ(proto.timing().pool_wait().nanos(), 1'000'000);
  EXPECT_EQ(proto.timing().resolve().nanos(), 2'000'000);
  EXPECT_EQ(proto.timing().connect().nanos(), 3'000'000);
  EXPECT_EQ(proto.timing().tls().nanos(), 4'000'000);
  EXPECT_EQ(proto.timing().first_byte().nanos(), 5'000'000);
  EXPECT_EQ(proto.timing().total().seconds(), 1);
  EXPECT_EQ(proto.timing().total().nanos(), 500'000'000);
  EXPECT_TRUE(proto.reused_connection());
  EXPECT_EQ(proto.attempts(), 1u);
}

TEST(ToProto, StepsThatDidNotHappenAreAbsent) {
  HttpResponse response = Answered();
  response.timing.connection->tls.reset();
  EXPECT_FALSE(ToProto(response, {}).timing().has_tls());
  response.timing.connection.reset();
  const v1::HttpResponse proto = ToProto(response, {});
  EXPECT_FALSE(proto.timing().has_resolve() || proto.timing().has_connect() || proto.timing().has_tls());
}

TEST(ToProto, ReturnsTheHeadersThatWereAskedFor) {
  const v1::HttpResponse proto = ToProto(Answered(), {"X-LIMIT", "absent"});
  ASSERT_EQ(proto.headers_size(), 2);
  EXPECT_EQ(proto.headers(0).name(), "X-Limit");
  EXPECT_EQ(proto.headers(1).value(), "2");
}

// The longest response that is read has room in a message.
TEST(ToProto, TheLongestResponseFitsAMessage) {
  Limits limits;
  limits.message_bytes = 64 * kKiB;
  const HttpOptions options{.response_header_bytes = 16 * kKiB};
  HttpResponse response = Answered();
  response.body = Bytes(options.MostResponseBytes(limits));
  response.headers.clear();
  // "a:\r\n" is the shortest header, and grows most.
  for (size_t bytes = 20; bytes + 4 <= options.response_header_bytes; bytes += 4) response.headers.push_back({"a", ""});
  v1::SendResponse message;
  *message.mutable_response() = ToProto(std::move(response), {});
  EXPECT_LE(message.ByteSizeLong(), limits.message_bytes);
}

}  // namespace
}  // namespace fairlead
