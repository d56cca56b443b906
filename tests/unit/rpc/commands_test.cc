// The owner's commands, as rpc/commands.cc reads them.
#include "support/parsed_requests.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

// To a session of WebSocket.
Result<SendCommand> Send(const std::string& text) {
  auto send = Text<v1::Send>(text);
  return ParseSend(7, send, Opened("").options, Limits{});
}

TEST(ParseSend, DefaultsAreThoseOfTheProto) {
  const auto send = Send(R"(payload: "p")");
  ASSERT_TRUE(send);
  EXPECT_EQ(send->id, 7u);
  EXPECT_EQ(send->kind, FrameKind::kText);
  EXPECT_EQ(send->payload, "p");
  EXPECT_EQ(send->generation, 0u);
  EXPECT_EQ(send->max_wait, 0s);
  EXPECT_EQ(send->setup_key, "");
  EXPECT_THAT(send->forget_setup_keys, IsEmpty());
}

TEST(ParseSend, TakesEveryField) {
  const auto send = Send(R"(payload: "\xff" kind: FRAME_KIND_BINARY generation: 3 max_wait { seconds: 2 } setup_key: "a"
                            forget_setup_keys: "b" forget_setup_keys: "c")");
  ASSERT_TRUE(send);
  EXPECT_EQ(send->kind, FrameKind::kBinary);
  EXPECT_EQ(send->payload, "\xff");
  EXPECT_EQ(send->generation, 3u);
  EXPECT_EQ(send->max_wait, 2s);
  EXPECT_EQ(send->setup_key, "a");
  EXPECT_THAT(send->forget_setup_keys, ElementsAre("b", "c"));
}

TEST(ParseSend, NamesEachFieldThatIsWrong) {
  struct Case {
    std::string send;
    std::string field;
  };
  const Case cases[] = {
      {R"(payload: "\xff")", "send.payload"},
      {R"(payload: "p" kind: 5)", "send.kind"},
      {R"(payload: "p" max_wait { seconds: -1 })", "send.max_wait"},
      {R"(payload: "p" setup_key: " ")", "send.setup_key"},
      {R"(payload: "p" forget_setup_keys: "")", "send.forget_setup_keys"},
      {R"(payload: "p" charges { key: "k" })", "send.charges"},
      {R"(payload: "p" permit: "x")", "send.permit"},
      {R"(payload: "p" generation: 1 answers: "x y")", "send.answers"},
      {R"(payload: "p" answers: "x")", "send.generation"},
      {R"(payload: "p" generation: 1 answers: "x" max_wait { seconds: 1 })", "send.max_wait"},
      {R"(payload: "p" generation: 1 answers: "x" setup_key: "x")", "send.answers"},
      {R"(payload: "p" generation: 1 answers: "x" forget_setup_keys: "x")", "send.answers"},
  };
  for (const Case& each : cases) {
    const auto refused = Send(each.send);
    ASSERT_FALSE(refused) << each.send;
    EXPECT_THAT(refused.error().message, StartsWith(each.field + ":"));
  }
}

TEST(ParseSend, TakesAnAnswer) {
  const auto send = Send(R"(payload: "signed" generation: 3 answers: "login")");
  ASSERT_TRUE(send);
  EXPECT_EQ(send->answers, "login");
  EXPECT_EQ(send->generation, 3u);
}

TEST(ParseAnswer, TakesATargetOfTheSessionsScheme) {
  const SessionOptions session = Opened("").options;
  const auto answer = [&session](const std::string& text) {
    return ParseAnswer(Text<v1::Answer>(text), session, Limits{});
  };
  EXPECT_FALSE(answer("number: 1")->target);
  const auto given =
      answer(R"(number: 2 target { url: "wss://other.example.com/ws/key" headers { name: "A" value: "b" } })");
  ASSERT_TRUE(given);
  EXPECT_EQ(given->number, 2u);
  EXPECT_EQ(given->target->url.host, "other.example.com");
  EXPECT_EQ(given->target->headers.at(0).value.Reveal(), "b");
  EXPECT_THAT(answer("").error().message, StartsWith("answer.number:"));
  EXPECT_THAT(answer(R"(number: 1 key: "login")").error().message, StartsWith("answer.key:"));
  EXPECT_THAT(answer(R"(number: 1 target { url: "ws://other.example.com/" })").error().message,
              StartsWith("answer.target.url:"));
  EXPECT_THAT(
      answer(R"(number: 1 target { url: "wss://x.example.com/" headers { name: "Host" value: "b" } })").error().message,
      StartsWith("answer.target.headers"));
}

TEST(ParseSetTarget, NeedsATargetOfTheSessionsScheme) {
  const SessionOptions session = Opened("").options;
  const auto set = [&session](const std::string& text) {
    return ParseSetTarget(Text<v1::SetTarget>(text), session, Limits{});
  };
  EXPECT_EQ(set(R"(target { url: "wss://other.example.com/x" })")->url.target.Reveal(), "/x");
  EXPECT_THAT(set("").error().message, StartsWith("set_target.target:"));
  EXPECT_THAT(set(R"(target { url: "tls://other.example.com:1" })").error().message,
              StartsWith("set_target.target.url:"));
}

TEST(ParsePing, IsBounded) {
  const SessionOptions session = Opened("").options;
  EXPECT_EQ(ParsePing(Text<v1::Ping>("payload: \"" + std::string(125, 'p') + "\""), session)->size(), 125u);
  EXPECT_THAT(ParsePing(Text<v1::Ping>("payload: \"" + std::string(126, 'p') + "\""), session).error().message,
              StartsWith("ping.payload:"));
}

TEST(ParseClose, TakesTheCodesThatMayBeSent) {
  const SessionOptions session = Opened("").options;
  const auto close = [&session](const std::string& text) { return ParseClose(Text<v1::Close>(text), session); };
  EXPECT_EQ(close("")->code, 1000);
  for (const int code : {1000, 1001, 1003, 1007, 1014, 3000, 4999})
    EXPECT_EQ(close("code: " + std::to_string(code))->code, code);
  for (const int code : {1, 999, 1002, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 66536})
    EXPECT_FALSE(close("code: " + std::to_string(code))) << code;
  EXPECT_EQ(close("reason: \"bye\"")->reason, "bye");
  EXPECT_THAT(close("reason: \"" + std::string(124, 'r') + "\"").error().message, StartsWith("close.reason:"));
}

// ---- Raw sockets. ----

TEST(ParseSend, HoldsToTheFramingOfARawSocket) {
  const auto send = [](const std::string& text, const std::string& socket = "") {
    auto message = Text<v1::Send>(text);
    return ParseSend(7, message, Raw(socket), Limits{});
  };
  ASSERT_TRUE(send(R"(payload: "\xff")"));
  EXPECT_EQ(send(R"(payload: "\xff")")->kind, FrameKind::kBinary);
  EXPECT_TRUE(send(R"(payload: "p" kind: FRAME_KIND_BINARY)"));
  EXPECT_THAT(send(R"(payload: "p" kind: FRAME_KIND_TEXT)").error().message, StartsWith("send.kind:"));
  EXPECT_THAT(send(R"(payload: "p" kind: 9)").error().message, StartsWith("send.kind:"));
  EXPECT_THAT(send(R"(payload: "a\r\nb")").error().message, StartsWith("send.payload: has the delimiter in it"));
  EXPECT_TRUE(send(R"(payload: "a\r\nb")", "socket { length_prefix { } }"));
  EXPECT_TRUE(send("payload: \"" + std::string(255, 'x') + "\"", "socket { length_prefix { width: 1 } }"));
  EXPECT_THAT(
      send("payload: \"" + std::string(256, 'x') + "\"", "socket { length_prefix { width: 1 } }").error().message,
      StartsWith("send.payload: has 256 bytes"));
  EXPECT_TRUE(send("", "socket { length_prefix { } }")) << "an empty frame is a frame";
  EXPECT_THAT(send("", "socket { unframed { } }").error().message, StartsWith("send.payload:"));
}

TEST(ParsePing, IsNotForRawSockets) {
  const auto ping = ParsePing({}, Raw());
  ASSERT_FALSE(ping);
  EXPECT_EQ(ping.error().reason, Reason::kInvalidField);
  EXPECT_THAT(ping.error().message, StartsWith("ping:"));
}

TEST(ParseClose, HasNoCodeAndNoReasonOnRawSockets) {
  EXPECT_TRUE(ParseClose({}, Raw()));
  EXPECT_THAT(ParseClose(Text<v1::Close>("code: 1000"), Raw()).error().message, StartsWith("close:"));
  EXPECT_THAT(ParseClose(Text<v1::Close>("reason: \"bye\""), Raw()).error().message, StartsWith("close:"));
}

}  // namespace
}  // namespace fairlead
