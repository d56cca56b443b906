#include "rpc/requests.h"

#include "support/parsed_requests.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

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
      {"reconnect { overlap { seconds: 61 } }", kInvalid, "open.reconnect.overlap"},
      {R"(reconnect { shutdown { contains: "" } })", kInvalid, "open.reconnect.shutdown.contains"},
      {"legs: 2", kInvalid, "open.legs"},
      {"legs: 3 dedupe { }", kInvalid, "open.legs"},
      {R"(dedupe { json_pointer: "seq" })", kInvalid, "open.dedupe.json_pointer"},
      {R"(dedupe { json_pointer: "/a~2" })", kInvalid, "open.dedupe.json_pointer"},
      {"dedupe { window { nanos: 9999999 } }", kInvalid, "open.dedupe.window"},
      {"dedupe { window { seconds: 61 } }", kInvalid, "open.dedupe.window"},
      {"max_leg_lag { seconds: 1 }", kInvalid, "open.max_leg_lag"},
      {"legs: 2 dedupe { } max_leg_lag { seconds: -1 }", kInvalid, "open.max_leg_lag"},
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

// ---- Raw sockets. ----

TEST(ParseOpen, DefaultsOfARawSocketAreThoseOfTheProto) {
  const SessionOptions options = Raw();
  EXPECT_EQ(options.url, (TargetUrl{"tcp", false, "stream.example.com", 4001, Secret("")}));
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

}  // namespace
}  // namespace fairlead
