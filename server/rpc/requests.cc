#include "rpc/requests.h"

#include <algorithm>
#include <set>
#include <utility>

#include "policy/http_headers.h"
#include "rpc/checker.h"
#include "rpc/request_parts.h"

namespace fairlead {
namespace {

constexpr size_t kMaxSubprotocols = 32;
constexpr size_t kMaxSubprotocolBytes = 128;
// So many of the longest messages the default journal holds: one alone would evict the one before it at once.
constexpr uint64_t kDefaultJournalMessages = 4;
constexpr size_t kMaxDelimiterBytes = 16;
constexpr Duration kMinMaxAge = std::chrono::seconds(1);
constexpr Duration kDefaultLinger = std::chrono::seconds(30);
constexpr uint64_t kDefaultFrameBytes = 3 * kMiB;
constexpr Duration kMinHeartbeatInterval = std::chrono::milliseconds(10);
constexpr Duration kMinSilence = std::chrono::milliseconds(10);
constexpr Duration kMaxOverlap = std::chrono::seconds(60);
constexpr size_t kMaxPointerBytes = 256;
constexpr Duration kMinWindow = std::chrono::milliseconds(10);
constexpr Duration kMaxWindow = std::chrono::seconds(60);

// A heartbeat on a raw socket, whatever its tokens become.
void CheckRawHeartbeat(Checker& check, const Framing& framing, const std::string& payload, const std::string& path) {
  CheckRaw(check, framing, payload, path);
  const std::string longest = FillTokens(payload, WallTime::max(), UINT64_MAX);
  if (longest == payload) return;
  const auto* delimiter = std::get_if<Delimiter>(&framing);
  check.Require(delimiter == nullptr || delimiter->bytes.find_first_of("0123456789") == std::string::npos, path,
                "its tokens become digits, which the delimiter has, too: it could arrive as two frames");
  CheckRaw(check, framing, longest, path);
}

HeartbeatPolicy ParseHeartbeat(Checker& check, const v1::Heartbeat& heartbeat, const Framing* raw,
                               const Limits& limits) {
  const std::string path = "open.heartbeat";
  HeartbeatPolicy policy;
  if (raw != nullptr) {
    check.Require(
        heartbeat.what_case() == v1::Heartbeat::WHAT_NOT_SET || heartbeat.what_case() == v1::Heartbeat::kBinary, path,
        "a raw socket has neither pings nor text: use binary");
    if (heartbeat.has_binary()) CheckRawHeartbeat(check, *raw, heartbeat.binary(), path + ".binary");
    policy.what = HeartbeatPolicy::What::kBinary;
    if (!heartbeat.has_binary()) policy.interval = Duration::zero();
  }
  policy.interval = check.Span(heartbeat.has_interval(), heartbeat.interval(), policy.interval, path + ".interval");
  check.Require(raw == nullptr || heartbeat.has_binary() || policy.interval == Duration::zero(), path + ".interval",
                "needs binary on a raw socket, which has no pings");
  check.Require(policy.interval == Duration::zero() || policy.interval >= kMinHeartbeatInterval, path + ".interval",
                "must be zero or at least 10 ms");
  switch (heartbeat.what_case()) {
    case v1::Heartbeat::WHAT_NOT_SET:
      break;
    case v1::Heartbeat::kPing: {
      policy.payload = heartbeat.ping();
      // The longest that the tokens can make of it.
      const size_t longest = FillTokens(policy.payload, WallTime::max(), UINT64_MAX).size();
      check.Require(longest <= kMaxControlPayload, path + ".ping",
                    "a ping's payload has at most 125 bytes (RFC 6455 section 5.5)");
      break;
    }
    case v1::Heartbeat::kText:
      policy.what = HeartbeatPolicy::What::kText;
      policy.payload = heartbeat.text();
      break;
    case v1::Heartbeat::kBinary:
      policy.what = HeartbeatPolicy::What::kBinary;
      policy.payload = heartbeat.binary();
      break;
  }
  policy.keepalive = check.Parts(heartbeat.keepalive(), path + ".keepalive");
  size_t bytes = policy.payload.size();
  for (const std::string& part : policy.keepalive.contains) bytes += part.size();
  if (bytes > limits.setup_bytes) {
    check.Refuse(Reason::kLimitReached, path, "limits.setup_bytes is " + std::to_string(limits.setup_bytes));
  }
  policy.pong_timeout =
      check.Span(heartbeat.has_pong_timeout(), heartbeat.pong_timeout(), policy.pong_timeout, path + ".pong_timeout");
  if (policy.what != HeartbeatPolicy::What::kPing && policy.keepalive.empty()) {
    check.Require(!heartbeat.has_pong_timeout() || policy.pong_timeout == Duration::zero(), path + ".pong_timeout",
                  "a text or binary heartbeat needs keepalive, which tells its answer");
    policy.pong_timeout = Duration::zero();
  }
  policy.idle_timeout =
      check.Span(heartbeat.has_idle_timeout(), heartbeat.idle_timeout(), policy.idle_timeout, path + ".idle_timeout");
  policy.write_timeout = check.Span(heartbeat.has_write_timeout(), heartbeat.write_timeout(), policy.write_timeout,
                                    path + ".write_timeout", Checker::Zero::kRefused);
  return policy;
}

ReconnectPolicy ParseReconnect(Checker& check, const v1::ReconnectPolicy& reconnect, const Limits& limits) {
  const std::string path = "open.reconnect";
  ReconnectPolicy policy;
  if (reconnect.has_enabled()) policy.enabled = reconnect.enabled();
  if (reconnect.has_first_retry_at_once()) policy.first_retry_at_once = reconnect.first_retry_at_once();
  policy.initial_backoff = check.Span(reconnect.has_initial_backoff(), reconnect.initial_backoff(),
                                      policy.initial_backoff, path + ".initial_backoff", Checker::Zero::kRefused);
  const Duration max_absent = std::max(policy.max_backoff, policy.initial_backoff);
  policy.max_backoff =
      check.Span(reconnect.has_max_backoff(), reconnect.max_backoff(), max_absent, path + ".max_backoff");
  check.Require(policy.max_backoff >= policy.initial_backoff, path + ".max_backoff",
                "must not be below initial_backoff");
  if (reconnect.has_backoff_factor()) policy.backoff_factor = reconnect.backoff_factor();
  check.Require(policy.backoff_factor >= 1 && policy.backoff_factor <= 100, path + ".backoff_factor",
                "must be between 1 and 100");
  if (reconnect.has_max_attempts()) policy.max_attempts = reconnect.max_attempts();
  policy.max_outage =
      check.Span(reconnect.has_max_outage(), reconnect.max_outage(), policy.max_outage, path + ".max_outage");
  policy.stable_after =
      check.Span(reconnect.has_stable_after(), reconnect.stable_after(), policy.stable_after, path + ".stable_after");
  policy.max_age = check.Span(reconnect.has_max_age(), reconnect.max_age(), policy.max_age, path + ".max_age");
  check.Require(policy.max_age == Duration::zero() || policy.max_age >= kMinMaxAge, path + ".max_age",
                "must be zero or at least 1 s");
  policy.make_before_break = reconnect.make_before_break();
  policy.overlap = check.Span(reconnect.has_overlap(), reconnect.overlap(), policy.overlap, path + ".overlap");
  check.Require(policy.overlap <= kMaxOverlap, path + ".overlap", "must be at most 60 s");
  policy.shutdown = check.Parts(reconnect.shutdown(), path + ".shutdown");
  size_t bytes = 0;
  for (const std::string& part : policy.shutdown.contains) bytes += part.size();
  if (bytes > limits.setup_bytes) {
    check.Refuse(Reason::kLimitReached, path + ".shutdown",
                 "limits.setup_bytes is " + std::to_string(limits.setup_bytes));
  }
  return policy;
}

std::vector<SetupStep> ParseSetup(Checker& check, const google::protobuf::RepeatedPtrField<v1::SetupStep>& setup,
                                  const Framing* raw, const Limits& limits) {
  std::vector<SetupStep> steps;
  std::set<std::string_view> keys;
  for (int i = 0; i < setup.size(); ++i) {
    const v1::SetupStep& step = setup[i];
    const std::string path = "open.setup[" + std::to_string(i) + "]";
    check.NotYet(step.charges_size() != 0, path + ".charges");
    check.Require(IsName(step.key()), path + ".key", kNameRule);
    check.Require(keys.insert(step.key()).second, path + ".key", "is the key of an earlier step too");
    SetupStep parsed{.key = step.key(), .payload = step.payload()};
    if (step.has_ask()) {
      check.Require(step.ask(), path + ".ask", "must be true, or absent");
      check.Require(step.kind() == v1::FRAME_KIND_UNSPECIFIED, path + ".kind", "is the answer's: leave it out");
      parsed.ask = true;
    } else {
      check.Require(step.has_payload(), path + ".payload", "is required, or ask");
      parsed.kind = ParseFrame(check, raw, step.kind(), step.payload(), path);
    }
    parsed.expect = check.Parts(step.expect(), path + ".expect");
    parsed.reject = check.Parts(step.reject(), path + ".reject");
    check.Require(parsed.reject.empty() || !parsed.expect.empty(), path + ".reject",
                  "needs expect: nothing would wait for it");
    parsed.timeout =
        check.Span(step.has_timeout(), step.timeout(), parsed.timeout, path + ".timeout", Checker::Zero::kRefused);
    steps.push_back(std::move(parsed));
  }
  if (steps.size() > limits.setup_steps) {
    check.Refuse(Reason::kLimitReached, "open.setup", "limits.setup_steps is " + std::to_string(limits.setup_steps));
  }
  if (Setup(steps).bytes() > limits.setup_bytes) {
    check.Refuse(Reason::kLimitReached, "open.setup", "limits.setup_bytes is " + std::to_string(limits.setup_bytes));
  }
  return steps;
}

std::vector<Topic> ParseTopics(Checker& check, const google::protobuf::RepeatedPtrField<v1::Topic>& topics,
                               const Limits& limits) {
  std::vector<Topic> parsed;
  std::set<std::string_view> keys;
  size_t bytes = 0;
  for (int i = 0; i < topics.size(); ++i) {
    const v1::Topic& topic = topics[i];
    const std::string path = "open.topics[" + std::to_string(i) + "]";
    check.Require(IsName(topic.key()), path + ".key", kNameRule);
    check.Require(keys.insert(topic.key()).second, path + ".key", "is the key of an earlier topic too");
    Topic made{.key = topic.key(), .match = check.Parts(topic.match(), path + ".match"), .max_silence = {}};
    check.Require(!made.match.empty(), path + ".match", "is required");
    made.max_silence =
        check.Span(topic.has_max_silence(), topic.max_silence(), Duration::zero(), path + ".max_silence");
    check.Require(made.max_silence >= kMinSilence, path + ".max_silence", "is required, at least 10 ms");
    made.reconnect = topic.reconnect();
    for (const std::string& part : made.match.contains) bytes += part.size();
    parsed.push_back(std::move(made));
  }
  if (parsed.size() > limits.setup_steps) {
    check.Refuse(Reason::kLimitReached, "open.topics", "limits.setup_steps is " + std::to_string(limits.setup_steps));
  }
  if (bytes > limits.setup_bytes) {
    check.Refuse(Reason::kLimitReached, "open.topics", "limits.setup_bytes is " + std::to_string(limits.setup_bytes));
  }
  return parsed;
}

// With the number of legs, which needs it.
void ParseLegs(Checker& check, const v1::Open& open, SessionOptions& options) {
  const Framing* raw = RawFraming(options);
  const bool unframed = raw != nullptr && std::holds_alternative<Unframed>(*raw);
  if (open.has_dedupe()) {
    const std::string path = "open.dedupe";
    const v1::Dedupe& dedupe = open.dedupe();
    check.Require(!unframed, path, "an unframed raw socket has no frames to compare");
    Dedupe parsed{.json_pointer = dedupe.json_pointer()};
    check.Require(dedupe.json_pointer().empty() || IsJsonPointer(dedupe.json_pointer()), path + ".json_pointer",
                  "must be empty or an RFC 6901 pointer: \"/data/0/seq\", with ~0 and ~1 for ~ and /");
    check.Require(dedupe.json_pointer().size() <= kMaxPointerBytes, path + ".json_pointer", "has at most 256 bytes");
    parsed.window = check.Span(dedupe.has_window(), dedupe.window(), parsed.window, path + ".window");
    check.Require(parsed.window >= kMinWindow && parsed.window <= kMaxWindow, path + ".window",
                  "must be between 10 ms and 60 s");
    options.dedupe = parsed;
  }
  check.Require(open.legs() <= 2, "open.legs", "must be 1 or 2");
  if (open.legs() == 2) options.legs = 2;
  check.Require(options.legs == 1 || open.has_dedupe(), "open.legs", "2 need dedupe, which tells one frame's copies");
  options.max_leg_lag = check.Span(open.has_max_leg_lag(), open.max_leg_lag(), options.max_leg_lag, "open.max_leg_lag");
  check.Require(options.legs == 2 || !open.has_max_leg_lag(), "open.max_leg_lag", "is for two legs only");
}

DeliveryOptions ParseDelivery(Checker& check, const v1::Delivery& delivery, const std::string& path) {
  DeliveryOptions options;
  check.Require(v1::Overflow_IsValid(delivery.overflow()), path + ".overflow", "is not an Overflow");
  if (delivery.overflow() == v1::OVERFLOW_DETACH) options.overflow = Overflow::kDetach;
  options.max_delay =
      check.Span(delivery.has_max_delay(), delivery.max_delay(), options.max_delay, path + ".max_delay");
  check.Require(options.max_delay <= std::chrono::seconds(1), path + ".max_delay", "must be at most 1 s");
  return options;
}

Start CheckStart(Checker& check, const v1::Start& start, const std::string& path) {
  Start parsed;
  switch (start.from_case()) {
    case v1::Start::FROM_NOT_SET:
    case v1::Start::kHead:
      break;
    case v1::Start::kOldest:
      parsed.from = Start::From::kOldest;
      break;
    case v1::Start::kAfter:
      parsed = {Start::From::kAfter, start.after().epoch(), start.after().sequence()};
      check.Require(!parsed.epoch.empty(), path + ".after.epoch",
                    "is required: sequences of another journal say nothing");
      break;
  }
  return parsed;
}

// The longest frame accepted: it must fit into a gRPC message.
uint64_t ParseMostBytes(Checker& check, bool given, uint64_t value, const std::string& path, const Limits& limits) {
  const uint64_t ceiling = limits.message_bytes - kMessageOverheadBytes;
  const uint64_t most = given ? value : std::min(kDefaultFrameBytes, ceiling);
  check.Require(most > 0, path, "must not be zero");
  if (most > ceiling) {
    check.Refuse(
        Reason::kLimitReached, path,
        "at most " + std::to_string(ceiling) + ": limits.message_bytes less " + std::to_string(kMessageOverheadBytes));
  }
  return most;
}

WebSocketOptions ParseWebSocket(Checker& check, const v1::WebSocketOptions& websocket, const Limits& limits) {
  const std::string path = "open.websocket";
  WebSocketOptions options;
  options.subprotocols = {websocket.subprotocols().begin(), websocket.subprotocols().end()};
  check.Require(options.subprotocols.size() <= kMaxSubprotocols, path + ".subprotocols", "must be at most 32");
  for (const std::string& name : options.subprotocols) {
    check.Require(name.size() <= kMaxSubprotocolBytes && IsToken(name), path + ".subprotocols",
                  "must be tokens (RFC 9110 section 5.6.2) of at most 128 bytes");
  }
  options.permessage_deflate = websocket.permessage_deflate();
  options.max_message_bytes = ParseMostBytes(check, websocket.has_max_message_bytes(), websocket.max_message_bytes(),
                                             path + ".max_message_bytes", limits);
  return options;
}

SocketOptions ParseSocket(Checker& check, const v1::SocketOptions& socket, const Limits& limits) {
  const std::string path = "open.socket";
  SocketOptions options;
  switch (socket.framing_case()) {
    case v1::SocketOptions::FRAMING_NOT_SET:
      break;
    case v1::SocketOptions::kDelimiter: {
      Delimiter delimiter;
      if (!socket.delimiter().bytes().empty()) delimiter.bytes = socket.delimiter().bytes();
      check.Require(delimiter.bytes.size() <= kMaxDelimiterBytes, path + ".delimiter.bytes", "must have 1 to 16 bytes");
      options.framing = std::move(delimiter);
      break;
    }
    case v1::SocketOptions::kLengthPrefix: {
      const v1::LengthPrefix& prefix = socket.length_prefix();
      LengthPrefix parsed{.little_endian = prefix.little_endian(), .counts_itself = prefix.counts_itself()};
      if (prefix.width() != 0) parsed.width = prefix.width();
      const bool valid = parsed.width == 1 || parsed.width == 2 || parsed.width == 4;
      check.Require(valid, path + ".length_prefix.width", "must be 1, 2 or 4");
      if (valid) options.framing = parsed;
      break;
    }
    case v1::SocketOptions::kUnframed:
      options.framing = Unframed{};
      break;
  }
  options.max_frame_bytes =
      ParseMostBytes(check, socket.has_max_frame_bytes(), socket.max_frame_bytes(), path + ".max_frame_bytes", limits);
  options.preamble = socket.preamble();
  if (options.preamble.size() > limits.setup_bytes) {
    check.Refuse(Reason::kLimitReached, path + ".preamble",
                 "limits.setup_bytes is " + std::to_string(limits.setup_bytes));
  }
  return options;
}

// Of a named session only: nobody can come back to an anonymous one.
Duration ParseLinger(Checker& check, const v1::Retention& retention, bool named, const Limits& limits) {
  const std::string path = "open.retention.linger";
  const Duration linger = check.Span(retention.has_linger(), retention.linger(),
                                     named ? std::min(kDefaultLinger, limits.linger) : Duration::zero(), path);
  check.Require(named || linger == Duration::zero(), path, "an anonymous session ends with its last subscriber");
  if (linger > limits.linger) {
    check.Refuse(Reason::kLimitReached, path, "limits.linger is " + Milliseconds(limits.linger));
  }
  return linger;
}

Journal::Limits ParseRetention(Checker& check, const v1::Retention& retention, const Limits& limits,
                               const SessionOptions& session) {
  const std::string path = "open.retention";
  Journal::Limits journal;
  const bool raw = session.url.IsRawSocket();
  const uint64_t least =
      (raw ? session.socket.max_frame_bytes : session.websocket.max_message_bytes) + Journal::kEntryBytes;
  journal.bytes =
      std::min<uint64_t>(std::max<uint64_t>(journal.bytes, kDefaultJournalMessages * least), limits.journal_bytes);
  if (retention.has_journal_bytes()) journal.bytes = retention.journal_bytes();
  check.Require(journal.bytes >= least, path + ".journal_bytes",
                "must be at least " + std::to_string(least) +
                    (raw ? ", socket.max_frame_bytes and 64" : ", websocket.max_message_bytes and 64"));
  if (journal.bytes > limits.journal_bytes) {
    check.Refuse(Reason::kLimitReached, path + ".journal_bytes",
                 "limits.journal_bytes is " + std::to_string(limits.journal_bytes));
  }
  journal.age = check.Span(retention.has_journal_age(), retention.journal_age(), journal.age, path + ".journal_age");
  return journal;
}

}  // namespace

Result<Start> ParseStart(const v1::Start& start, std::string_view path) {
  Checker check;
  const Start parsed = CheckStart(check, start, std::string(path));
  return check.Finish(parsed);
}

Result<OpenRequest> ParseOpen(const v1::Open& open, const Limits& limits) {
  Checker check;
  OpenRequest request;
  check.Require(open.session().empty() || IsName(open.session()), "open.session", kNameRule);
  request.session = open.session();
  check.NotYet(open.connect_charges_size() != 0, "open.connect_charges");
  check.NotYet(!open.profile().empty(), "open.profile");
  check.Require(open.has_target(), "open.target", "is required");
  Target target = CheckTarget(check, open.target(), limits, "open.");
  request.options.url = std::move(target.url);
  request.options.headers = std::move(target.headers);
  request.options.ask_before_dial = open.ask_before_dial();
  const bool is_raw = request.options.url.IsRawSocket();
  check.Require(!is_raw || !open.has_websocket(), "open.websocket", "is for ws:// and wss:// only");
  check.Require(is_raw || !open.has_socket(), "open.socket", "is for tcp:// and tls:// only");
  request.start = CheckStart(check, open.start(), "open.start");
  request.options.websocket = ParseWebSocket(check, open.websocket(), limits);
  request.options.socket = ParseSocket(check, open.socket(), limits);
  const Framing* raw = RawFraming(request.options);
  request.options.heartbeat = ParseHeartbeat(check, open.heartbeat(), raw, limits);
  request.options.reconnect = ParseReconnect(check, open.reconnect(), limits);
  request.options.setup = ParseSetup(check, open.setup(), raw, limits);
  ParseLegs(check, open, request.options);
  request.options.topics = ParseTopics(check, open.topics(), limits);
  request.delivery = ParseDelivery(check, open.delivery(), "open.delivery");
  request.options.journal = ParseRetention(check, open.retention(), limits, request.options);
  request.options.linger = ParseLinger(check, open.retention(), !request.session.empty(), limits);
  request.options.dial_timeout = check.Span(open.has_dial_timeout(), open.dial_timeout(), request.options.dial_timeout,
                                            "open.dial_timeout", Checker::Zero::kRefused);
  return check.Finish(std::move(request));
}

Result<JoinRequest> ParseJoin(const v1::Join& join) {
  Checker check;
  check.Require(join.identity().empty() || IsName(join.identity()), "join.identity", kNameRule);
  if (auto name = CheckSessionName(join.session(), "join.session"); !name) check.Adopt(name.error(), "");
  JoinRequest request{.session = join.session(),
                      .identity = join.identity(),
                      .start = CheckStart(check, join.start(), "join.start"),
                      .delivery = {}};
  request.delivery = ParseDelivery(check, join.delivery(), "join.delivery");
  return check.Finish(std::move(request));
}

}  // namespace fairlead
