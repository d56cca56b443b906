#include "rpc/requests.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

template <typename Message>
Message Text(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}
const std::string kTarget = R"(target { url: "wss://stream.example.com/ws" } )";

Result<OpenRequest> Open(const std::string& more) {
  auto open = Text<v1::Open>(kTarget);
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(more, &open)) << more;
  return ParseOpen(open, Limits{});
}
OpenRequest Opened(const std::string& more) {
  auto open = Open(more);
  EXPECT_TRUE(open) << more << ": " << (open ? "" : open.error().message);
  return open.value_or(OpenRequest{});
}

// What the comments of session.proto say of absent fields.
TEST(ParseOpen, DefaultsAreThoseOfTheProto) {
  const OpenRequest open = Opened("");
  EXPECT_EQ(open.session, "");
  EXPECT_EQ(open.start.from, Start::From::kHead);
  EXPECT_EQ(open.delivery.overflow, Overflow::kSkip);
  EXPECT_EQ(open.delivery.max_delay, 500us);
  const SessionOptions& options = open.options;
  EXPECT_EQ(options.url.host, "stream.example.com");
  EXPECT_THAT(options.headers, IsEmpty());
  EXPECT_THAT(options.websocket.subprotocols, IsEmpty());
  EXPECT_FALSE(options.websocket.permessage_deflate);
  EXPECT_EQ(options.websocket.max_message_bytes, 3u << 20);
  EXPECT_EQ(options.dial_timeout, 10s);
  EXPECT_EQ(options.heartbeat.interval, 20s);
  EXPECT_EQ(options.heartbeat.what, HeartbeatPolicy::What::kPing);
  EXPECT_EQ(options.heartbeat.payload, "");
  EXPECT_EQ(options.heartbeat.pong_timeout, 10s);
  EXPECT_EQ(options.heartbeat.idle_timeout, 0s);
  EXPECT_TRUE(options.heartbeat.keepalive.empty());
  EXPECT_EQ(options.heartbeat.write_timeout, 10s);
  EXPECT_TRUE(options.reconnect.enabled);
  EXPECT_TRUE(options.reconnect.first_retry_at_once);
  EXPECT_EQ(options.reconnect.initial_backoff, 500ms);
  EXPECT_EQ(options.reconnect.max_backoff, 30s);
  EXPECT_EQ(options.reconnect.backoff_factor, 2);
  EXPECT_EQ(options.reconnect.max_attempts, 0u);
  EXPECT_EQ(options.reconnect.max_outage, 0s);
  EXPECT_EQ(options.reconnect.stable_after, 10s);
  EXPECT_THAT(options.setup, IsEmpty());
  EXPECT_EQ(options.journal.bytes, 16u << 20);
  EXPECT_EQ(options.journal.age, 0s);
}

TEST(ParseOpen, TakesEveryField) {
  const OpenRequest open = Opened(R"(
      session: "md.btc-1:x_y"
      start { after { epoch: "e" sequence: 9 } }
      websocket { subprotocols: "v2" subprotocols: "v1" permessage_deflate: true max_message_bytes: 1000 }
      heartbeat { interval { seconds: 5 } text: "ping {n}" pong_timeout { seconds: 2 } idle_timeout { seconds: 30 }
                  keepalive { contains: "pong" } write_timeout { seconds: 3 } }
      reconnect { enabled: false first_retry_at_once: false initial_backoff { nanos: 1000000 } max_backoff { seconds: 1 }
                  backoff_factor: 1.5 max_attempts: 7 max_outage { seconds: 60 } stable_after { } }
      setup { key: "login" payload: "secret" kind: FRAME_KIND_BINARY expect { contains: "a" contains: "b" }
              reject { contains: "c" } timeout { seconds: 1 } }
      delivery { overflow: OVERFLOW_DETACH max_delay { } }
      retention { journal_bytes: 2000 journal_age { seconds: 9 } }
      dial_timeout { seconds: 4 })");
  EXPECT_EQ(open.session, "md.btc-1:x_y");
  EXPECT_EQ(open.start.from, Start::From::kAfter);
  EXPECT_EQ(open.start.epoch, "e");
  EXPECT_EQ(open.start.sequence, 9u);
  EXPECT_EQ(open.delivery.overflow, Overflow::kDetach);
  EXPECT_EQ(open.delivery.max_delay, 0s);
  const SessionOptions& options = open.options;
  EXPECT_THAT(options.websocket.subprotocols, ElementsAre("v2", "v1"));
  EXPECT_TRUE(options.websocket.permessage_deflate);
  EXPECT_EQ(options.websocket.max_message_bytes, 1000u);
  EXPECT_EQ(options.heartbeat.interval, 5s);
  EXPECT_EQ(options.heartbeat.what, HeartbeatPolicy::What::kText);
  EXPECT_EQ(options.heartbeat.payload, "ping {n}");
  EXPECT_EQ(options.heartbeat.pong_timeout, 2s);
  EXPECT_EQ(options.heartbeat.idle_timeout, 30s);
  EXPECT_THAT(options.heartbeat.keepalive.contains, ElementsAre("pong"));
  EXPECT_EQ(options.heartbeat.write_timeout, 3s);
  EXPECT_FALSE(options.reconnect.enabled);
  EXPECT_FALSE(options.reconnect.first_retry_at_once);
  EXPECT_EQ(options.reconnect.initial_backoff, 1ms);
  EXPECT_EQ(options.reconnect.max_backoff, 1s);
  EXPECT_EQ(options.reconnect.backoff_factor, 1.5);
  EXPECT_EQ(options.reconnect.max_attempts, 7u);
  EXPECT_EQ(options.reconnect.max_outage, 60s);
  EXPECT_EQ(options.reconnect.stable_after, 0s) << "a present zero is zero";
  ASSERT_EQ(options.setup.size(), 1u);
  EXPECT_EQ(options.setup[0].key, "login");
  EXPECT_EQ(options.setup[0].payload, "secret");
  EXPECT_EQ(options.setup[0].kind, FrameKind::kBinary);
  EXPECT_THAT(options.setup[0].expect.contains, ElementsAre("a", "b"));
  EXPECT_THAT(options.setup[0].reject.contains, ElementsAre("c"));
  EXPECT_EQ(options.setup[0].timeout, 1s);
  EXPECT_EQ(options.journal.bytes, 2000u);
  EXPECT_EQ(options.journal.age, 9s);
  EXPECT_EQ(options.dial_timeout, 4s);
}

TEST(ParseOpen, ATextHeartbeatWithoutKeepaliveWaitsForNoAnswer) {
  EXPECT_EQ(Opened(R"(heartbeat { text: "ping" })").options.heartbeat.pong_timeout, 0s);
  EXPECT_EQ(Opened(R"(heartbeat { binary: "p" pong_timeout { } })").options.heartbeat.pong_timeout, 0s);
  EXPECT_EQ(Opened(R"(heartbeat { text: "p" keepalive { contains: "q" } })").options.heartbeat.pong_timeout, 10s);
}

TEST(ParseOpen, WhatFollowsFromOtherFields) {
  EXPECT_EQ(Opened("reconnect { initial_backoff { seconds: 60 } }").options.reconnect.max_backoff, 60s);
  EXPECT_EQ(Opened("websocket { max_message_bytes: 20000000 }").options.journal.bytes, 80'000'256u)
      << "a journal holds the longest message";
  EXPECT_EQ(Opened("").options.linger, 0s) << "nobody would find an anonymous session again";
  EXPECT_EQ(Opened(R"(session: "md")").options.linger, 30s);
  EXPECT_EQ(Opened(R"(session: "md" retention { linger { } })").options.linger, 0s);
}

TEST(ParseOpen, NamesEachFieldThatIsWrong) {
  struct Case {
    std::string open;  // Beside the target.
    Reason reason;
    std::string field;
  };
  const auto kInvalid = Reason::kInvalidField;
  const auto kNotYet = Reason::kNotImplemented;
  const auto kLimit = Reason::kLimitReached;
  const Case cases[] = {
      {R"(session: "a b")", kInvalid, "open.session"},
      {R"(session: "~anonymous")", kInvalid, "open.session"},
      {"session: \"" + std::string(129, 'a') + "\"", kInvalid, "open.session"},
      {"target { url: \"\" }", kInvalid, "open.target.url"},
      {"target { url: \"http://h/\" }", kInvalid, "open.target.url"},
      {R"(target { headers { name: "Host" value: "x" } })", kInvalid, "open.target.headers[0].name"},
      {R"(target { headers { name: "a" value: "b\n" } })", kInvalid, "open.target.headers[0].value"},
      {"target { headers { name: \"a\" value: \"" + std::string(20'000, 'x') + "\" } }", kLimit, "open.target.headers"},
      {"start { after { sequence: 1 } }", kInvalid, "open.start.after.epoch"},
      {"websocket { subprotocols: \"a b\" }", kInvalid, "open.websocket.subprotocols"},
      {"websocket { subprotocols: \"\" }", kInvalid, "open.websocket.subprotocols"},
      {"websocket { max_message_bytes: 0 }", kInvalid, "open.websocket.max_message_bytes"},
      {"websocket { max_message_bytes: 67108864 }", kLimit, "open.websocket.max_message_bytes"},
      {"socket { }", kInvalid, "open.socket"},
      {"heartbeat { interval { seconds: -1 } }", kInvalid, "open.heartbeat.interval"},
      {"heartbeat { interval { nanos: 1000000000 } }", kInvalid, "open.heartbeat.interval"},
      {"heartbeat { interval { seconds: 400000000 } }", kInvalid, "open.heartbeat.interval"},
      {"heartbeat { ping: \"" + std::string(126, 'a') + "\" }", kInvalid, "open.heartbeat.ping"},
      {"heartbeat { ping: \"" + std::string(122, 'a') + "{n}\" }", kInvalid, "open.heartbeat.ping"},
      {"heartbeat { text: \"p\" pong_timeout { seconds: 1 } }", kInvalid, "open.heartbeat.pong_timeout"},
      {"heartbeat { idle_timeout { seconds: -1 } }", kInvalid, "open.heartbeat.idle_timeout"},
      {"heartbeat { keepalive { contains: \"\" } }", kInvalid, "open.heartbeat.keepalive.contains"},
      {"heartbeat { write_timeout { } }", kInvalid, "open.heartbeat.write_timeout"},
      {"reconnect { initial_backoff { } }", kInvalid, "open.reconnect.initial_backoff"},
      {"reconnect { max_backoff { nanos: 1 } }", kInvalid, "open.reconnect.max_backoff"},
      {"reconnect { backoff_factor: 0.9 }", kInvalid, "open.reconnect.backoff_factor"},
      {"reconnect { backoff_factor: 101 }", kInvalid, "open.reconnect.backoff_factor"},
      {"reconnect { backoff_factor: nan }", kInvalid, "open.reconnect.backoff_factor"},
      {"reconnect { backoff_factor: inf }", kInvalid, "open.reconnect.backoff_factor"},
      {"reconnect { max_outage { seconds: -1 } }", kInvalid, "open.reconnect.max_outage"},
      {"reconnect { stable_after { nanos: -1 } }", kInvalid, "open.reconnect.stable_after"},
      {"reconnect { max_age { nanos: 999999999 } }", kInvalid, "open.reconnect.max_age"},
      {"reconnect { make_before_break: true }", kNotYet, "open.reconnect.make_before_break"},
      {"setup { payload: \"p\" }", kInvalid, "open.setup[0].key"},
      {R"(setup { key: "a" })", kInvalid, "open.setup[0].payload"},
      {R"(setup { key: "a" ask: false })", kInvalid, "open.setup[0].ask"},
      {R"(setup { key: "a" ask: true kind: FRAME_KIND_TEXT })", kInvalid, "open.setup[0].kind"},
      {R"(setup { key: "a" payload: "p" } setup { key: "a" payload: "p" })", kInvalid, "open.setup[1].key"},
      {R"(setup { key: "a" payload: "\xff" })", kInvalid, "open.setup[0].payload"},
      {R"(setup { key: "a" payload: "p" kind: 7 })", kInvalid, "open.setup[0].kind"},
      {R"(setup { key: "a" payload: "p" expect { contains: "" } })", kInvalid, "open.setup[0].expect.contains"},
      {R"(setup { key: "a" payload: "p" reject { contains: "x" } })", kInvalid, "open.setup[0].reject"},
      {R"(setup { key: "a" payload: "p" timeout { } })", kInvalid, "open.setup[0].timeout"},
      {R"(setup { key: "a" payload: "p" charges { key: "k" } })", kNotYet, "open.setup[0].charges"},
      {"setup { key: \"a\" payload: \"" + std::string(1'100'000, 'x') + "\" }", kLimit, "open.setup"},
      {R"(topics { match { contains: "a" } max_silence { seconds: 1 } })", kInvalid, "open.topics[0].key"},
      {R"(topics { key: "a" max_silence { seconds: 1 } })", kInvalid, "open.topics[0].match"},
      {R"(topics { key: "a" match { contains: "" } max_silence { seconds: 1 } })", kInvalid,
       "open.topics[0].match.contains"},
      {R"(topics { key: "a" match { contains: "a" } })", kInvalid, "open.topics[0].max_silence"},
      {R"(topics { key: "a" match { contains: "a" } max_silence { nanos: 9999999 } })", kInvalid,
       "open.topics[0].max_silence"},
      {R"(topics { key: "a" match { contains: "a" } max_silence { seconds: 1 } }
          topics { key: "a" match { contains: "a" } max_silence { seconds: 1 } })",
       kInvalid, "open.topics[1].key"},
      {"topics { key: \"a\" match { contains: \"" + std::string(1'100'000, 'x') + "\" } max_silence { seconds: 1 } }",
       kLimit, "open.topics"},
      {"delivery { overflow: 9 }", kInvalid, "open.delivery.overflow"},
      {"delivery { max_delay { seconds: 2 } }", kInvalid, "open.delivery.max_delay"},
      {"retention { journal_bytes: 1000 }", kInvalid, "open.retention.journal_bytes"},
      {"retention { journal_bytes: 300000000 }", kLimit, "open.retention.journal_bytes"},
      {"retention { journal_age { seconds: -1 } }", kInvalid, "open.retention.journal_age"},
      {R"(session: "md" retention { linger { seconds: 3601 } })", kLimit, "open.retention.linger"},
      {"retention { linger { seconds: 1 } }", kInvalid, "open.retention.linger"},
      {"connect_charges { key: \"k\" }", kNotYet, "open.connect_charges"},
      {"profile: \"p\"", kNotYet, "open.profile"},
      {"dial_timeout { }", kInvalid, "open.dial_timeout"},
  };
  for (const Case& each : cases) {
    const auto refused = Open(each.open);
    ASSERT_FALSE(refused) << each.open.substr(0, 200);
    EXPECT_EQ(refused.error().reason, each.reason) << each.open.substr(0, 200);
    EXPECT_EQ(refused.error().phase, Phase::kNotSent);
    EXPECT_THAT(refused.error().message, StartsWith(each.field + ":")) << each.open.substr(0, 200);
  }
  EXPECT_THAT(ParseOpen({}, Limits{}).error().message, StartsWith("open.target: is required"));
}

TEST(ParseJoin, TakesItsFields) {
  const auto join =
      ParseJoin(Text<v1::Join>(R"(session: "~abc" start { oldest { } } delivery { overflow: OVERFLOW_SKIP })"));
  ASSERT_TRUE(join);
  EXPECT_EQ(join->session, "~abc") << "an anonymous session's generated name";
  EXPECT_EQ(join->start.from, Start::From::kOldest);
  EXPECT_EQ(ParseJoin({}).error().message.substr(0, 13), "join.session:");
  EXPECT_EQ(ParseJoin(Text<v1::Join>(R"(session: "a" identity: "b")"))->identity, "b");
  EXPECT_THAT(ParseJoin(Text<v1::Join>(R"(session: "a" identity: "b c")")).error().message,
              StartsWith("join.identity:"));
  EXPECT_THAT(ParseJoin(Text<v1::Join>(R"(session: "a" delivery { max_delay { seconds: 9 } })")).error().message,
              StartsWith("join.delivery.max_delay:"));
  EXPECT_THAT(ParseJoin(Text<v1::Join>(R"(session: "a" start { after { } })")).error().message,
              StartsWith("join.start.after.epoch:"));
}

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

TEST(ParseOpen, TakesQuestions) {
  const SessionOptions options =
      Opened(R"(ask_before_dial: true setup { key: "login" ask: true expect { contains: "ok" } })").options;
  EXPECT_TRUE(options.ask_before_dial);
  EXPECT_TRUE(options.setup.at(0).ask);
  EXPECT_FALSE(Opened(R"(setup { key: "a" payload: "p" })").options.setup.at(0).ask);
}

TEST(ParseOpen, TakesTopics) {
  const SessionOptions options =
      Opened(
          R"(topics { key: "btc" match { contains: "b" contains: "t" } max_silence { seconds: 2 } reconnect: true })")
          .options;
  ASSERT_EQ(options.topics.size(), 1u);
  EXPECT_EQ(options.topics[0].key, "btc");
  EXPECT_THAT(options.topics[0].match.contains, ElementsAre("b", "t"));
  EXPECT_EQ(options.topics[0].max_silence, 2s);
  EXPECT_TRUE(options.topics[0].reconnect);
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
  EXPECT_EQ(given->target->headers.at(0).value, "b");
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
  EXPECT_EQ(set(R"(target { url: "wss://other.example.com/x" })")->url.target, "/x");
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

// Of raw sockets.
const std::string kRawTarget = R"(target { url: "tcp://stream.example.com:4001" } )";

Result<OpenRequest> OpenRaw(const std::string& more) { return ParseOpen(Text<v1::Open>(kRawTarget + more), Limits{}); }
SessionOptions Raw(const std::string& more = "") {
  auto open = OpenRaw(more);
  EXPECT_TRUE(open) << more << ": " << (open ? "" : open.error().message);
  return open.value_or(OpenRequest{}).options;
}

TEST(ParseOpen, DefaultsOfARawSocketAreThoseOfTheProto) {
  const SessionOptions options = Raw();
  EXPECT_EQ(options.url, (TargetUrl{"tcp", false, "stream.example.com", 4001, ""}));
  EXPECT_EQ(options.socket.framing, Framing(Delimiter{"\r\n"}));
  EXPECT_EQ(options.socket.max_frame_bytes, 3u << 20);
  EXPECT_EQ(options.socket.preamble, "");
  EXPECT_EQ(options.heartbeat.interval, 0s) << "a raw socket has no pings";
  EXPECT_EQ(options.heartbeat.pong_timeout, 0s);
  EXPECT_EQ(options.heartbeat.idle_timeout, 0s);
  EXPECT_EQ(options.heartbeat.write_timeout, 10s);
  EXPECT_EQ(options.journal.bytes, 16u << 20);
  EXPECT_EQ(Raw("socket { }").socket, options.socket);
  EXPECT_EQ(Raw("socket { delimiter { } }").socket, options.socket);
  EXPECT_EQ(Raw("socket { length_prefix { } }").socket.framing, Framing(LengthPrefix{4, false, false}));
}

TEST(ParseOpen, TakesEveryFieldOfARawSocket) {
  const SessionOptions options = Raw(R"(
      socket { length_prefix { width: 2 little_endian: true counts_itself: true } max_frame_bytes: 1000
               preamble: "API\000v100" }
      heartbeat { binary: "\001{n}" interval { seconds: 3 } keepalive { contains: "k" } pong_timeout { seconds: 2 } }
      setup { key: "login" payload: "\xff" expect { contains: "a" } })");
  EXPECT_EQ(options.socket.framing, Framing(LengthPrefix{2, true, true}));
  EXPECT_EQ(options.socket.max_frame_bytes, 1000u);
  EXPECT_EQ(options.socket.preamble, std::string("API\0v100", 8)) << "as it is";
  EXPECT_EQ(options.heartbeat.what, HeartbeatPolicy::What::kBinary);
  EXPECT_EQ(options.heartbeat.payload, "\1{n}");
  EXPECT_EQ(options.heartbeat.interval, 3s);
  EXPECT_EQ(options.heartbeat.pong_timeout, 2s);
  ASSERT_EQ(options.setup.size(), 1u);
  EXPECT_EQ(options.setup[0].kind, FrameKind::kBinary) << "a raw socket's frames are bytes";
  EXPECT_EQ(Raw(R"(socket { delimiter { bytes: "||" } })").socket.framing, Framing(Delimiter{"||"}));
  EXPECT_EQ(Raw("socket { unframed { } }").socket.framing, Framing(Unframed{}));
  EXPECT_EQ(Raw(R"(socket { delimiter { bytes: "-" } })").heartbeat.interval, 0s) << "nothing is sent that has it";
  EXPECT_EQ(Raw(R"(heartbeat { binary: "x" })").heartbeat.interval, 20s) << "the common default, once there is binary";
  EXPECT_EQ(Raw("socket { max_frame_bytes: 20000000 }").journal.bytes, 80'000'256u)
      << "a journal holds the longest frame";
}

TEST(ParseOpen, NamesEachFieldThatIsWrongForARawSocket) {
  struct Case {
    std::string open;  // Beside the target.
    Reason reason;
    std::string field;
  };
  const auto kInvalid = Reason::kInvalidField;
  const auto kLimit = Reason::kLimitReached;
  const Case cases[] = {
      {"websocket { }", kInvalid, "open.websocket"},
      {R"(target { headers { name: "a" value: "b" } })", kInvalid, "open.target.headers"},
      {R"(target { url: "tcp://h:1/path" })", kInvalid, "open.target.url"},
      {R"(target { url: "tls://h" })", kInvalid, "open.target.url"},
      {R"(socket { delimiter { bytes: "0123456789abcdefg" } })", kInvalid, "open.socket.delimiter.bytes"},
      {"socket { length_prefix { width: 3 } }", kInvalid, "open.socket.length_prefix.width"},
      {"socket { length_prefix { width: 8 } }", kInvalid, "open.socket.length_prefix.width"},
      {"socket { max_frame_bytes: 0 }", kInvalid, "open.socket.max_frame_bytes"},
      {"socket { max_frame_bytes: 67108864 }", kLimit, "open.socket.max_frame_bytes"},
      {"socket { preamble: \"" + std::string(1'100'000, 'x') + "\" }", kLimit, "open.socket.preamble"},
      {R"(heartbeat { ping: "p" })", kInvalid, "open.heartbeat"},
      {R"(heartbeat { text: "p" })", kInvalid, "open.heartbeat"},
      {"heartbeat { interval { seconds: 5 } }", kInvalid, "open.heartbeat.interval"},
      {R"(heartbeat { binary: "a\r\nb" })", kInvalid, "open.heartbeat.binary"},
      {R"(heartbeat { binary: "p" pong_timeout { seconds: 1 } })", kInvalid, "open.heartbeat.pong_timeout"},
      {R"(setup { key: "a" payload: "p" kind: FRAME_KIND_TEXT })", kInvalid, "open.setup[0].kind"},
      {R"(setup { key: "a" payload: "x\r\ny" })", kInvalid, "open.setup[0].payload"},
      {"socket { length_prefix { width: 1 } } setup { key: \"a\" payload: \"" + std::string(256, 'x') + "\" }",
       kInvalid, "open.setup[0].payload"},
      {R"(socket { unframed { } } setup { key: "a" payload: "" })", kInvalid, "open.setup[0].payload"},
      {R"(socket { unframed { } } heartbeat { binary: "" })", kInvalid, "open.heartbeat.binary"},
      {"retention { journal_bytes: 1000 }", kInvalid, "open.retention.journal_bytes"},
  };
  for (const Case& each : cases) {
    auto open = Text<v1::Open>(kRawTarget);
    EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(each.open, &open)) << each.open;
    const auto refused = ParseOpen(open, Limits{});
    ASSERT_FALSE(refused) << each.open.substr(0, 200);
    EXPECT_EQ(refused.error().reason, each.reason) << each.open.substr(0, 200);
    EXPECT_EQ(refused.error().phase, Phase::kNotSent);
    EXPECT_THAT(refused.error().message, StartsWith(each.field + ":")) << each.open.substr(0, 200);
  }
}

// A token grows when it is filled in; what goes out then must still be one frame.
TEST(ParseOpen, AHeartbeatFitsItsFramingWithItsTokensFilledIn) {
  const std::string filler(250, 'x');
  const std::string framing = "socket { length_prefix { width: 1 } } ";
  EXPECT_TRUE(OpenRaw(framing + "heartbeat { binary: \"" + filler + "\" }"));
  const auto refused = OpenRaw(framing + "heartbeat { binary: \"" + filler + "{n}\" }");
  ASSERT_FALSE(refused) << "a count of 20 digits does not fit";
  EXPECT_THAT(refused.error().message, StartsWith("open.heartbeat.binary:"));
  const auto digit = OpenRaw(R"(socket { delimiter { bytes: "7" } } heartbeat { binary: "p{n}" })");
  ASSERT_FALSE(digit) << "the seventh would be two frames";
  EXPECT_THAT(digit.error().message, StartsWith("open.heartbeat.binary:"));
}

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
