#include "exchange/plan.h"

#include <array>
#include <charconv>
#include <utility>
#include <vector>

#include "exchange/taker.h"

namespace exchange {
namespace {

constexpr uint64_t kMaxMessageBytes = uint64_t{1} << 30;

constexpr auto kFaultNames = std::to_array<std::pair<Fault::Kind, std::string_view>>({
    {Fault::Kind::kDrop, "drop"},
    {Fault::Kind::kPartial, "partial"},
    {Fault::Kind::kReset, "reset"},
    {Fault::Kind::kResetAtByte, "reset_at_byte"},
    {Fault::Kind::kStall, "stall"},
    {Fault::Kind::kHalfClose, "half_close"},
    {Fault::Kind::kClose, "close"},
    {Fault::Kind::kCorrupt, "corrupt"},
    {Fault::Kind::kSilent, "silent"},
    {Fault::Kind::kNoPong, "no_pong"},
    {Fault::Kind::kNeverRead, "never_read"},
    {Fault::Kind::kNeverUpgrade, "never_upgrade"},
    {Fault::Kind::kSlowHandshake, "slow_handshake"},
    {Fault::Kind::kLift, "lift"},
});

constexpr auto kCorruptionNames = std::to_array<std::pair<Fault::Corruption, std::string_view>>({
    {Fault::Corruption::kOpcode, "opcode"},
    {Fault::Corruption::kMasked, "masked"},
    {Fault::Corruption::kRsv, "rsv"},
    {Fault::Corruption::kUtf8, "utf8"},
    {Fault::Corruption::kContinuation, "continuation"},
    {Fault::Corruption::kLongPing, "long_ping"},
    {Fault::Corruption::kShortLength, "short_length"},
    {Fault::Corruption::kLongLength, "long_length"},
});

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      decoded.push_back(text[at]);
      continue;
    }
    uint8_t byte = 0;
    const std::string_view hex = text.substr(at + 1, 2);
    if (hex.size() != 2 || std::from_chars(hex.data(), hex.data() + 2, byte, 16).ptr != hex.data() + 2)
      return std::nullopt;
    decoded.push_back(static_cast<char>(byte));
    at += 2;
  }
  return decoded;
}

// The parameters that only one kind of feed has.
void TakeFeed(const std::string& path, Taker& take, Plan& plan) {
  const auto paced = [&] {
    plan.rate = take.In<double>("rate", 0, 1e7).value_or(0);
    plan.count = take.In<uint64_t>("count", 0, UINT64_MAX).value_or(0);
    plan.feed_name = take.Text("feed").value_or("default");
  };
  const auto numbered = [&] {
    plan.feed = Plan::Feed::kNumbered;
    paced();
    plan.burst = take.In<uint64_t>("burst", 1, 1'000'000).value_or(1);
    plan.stamp = take.Flag("stamp");
    plan.size = take.In<uint64_t>("size", 0, kMaxMessageBytes).value_or(0);
  };
  const auto starts = [&] {
    plan.await_subscribe = take.OneOf<bool>("start", {{"open", false}, {"subscribe", true}}).value_or(false);
  };
  if (path == "/numbered") {
    numbered();
    starts();
  } else if (path == "/login") {
    numbered();
    plan.await_subscribe = true;
    const bool reject = take.Flag("reject");
    const bool mute = take.Flag("mute");
    plan.login = mute ? Plan::Login::kMute : reject ? Plan::Login::kReject : Plan::Login::kAccept;
  } else if (path == "/synthetic") {
    plan.feed = Plan::Feed::kSynthetic;
    paced();
    starts();
    plan.seed = take.In<uint64_t>("seed", 0, UINT64_MAX).value_or(1);
  } else if (path.starts_with("/recording/")) {
    plan.feed = Plan::Feed::kRecording;
    plan.recording = path.substr(std::string_view("/recording/").size());
    plan.count = take.In<uint64_t>("count", 0, UINT64_MAX).value_or(0);
    starts();
    const std::string speed = take.Text("speed").value_or("flat");
    if (speed == "recorded") plan.speed = 1;
    if (speed != "recorded" && speed != "flat") {
      Parameters number = {{"speed", speed}};
      Taker taker(number);
      plan.speed = taker.In<double>("speed", 0.001, 1e6).value_or(0);
      if (!taker.error().empty()) take.Fail("speed=" + speed + " is neither flat nor recorded nor a factor");
    }
  } else if (path == "/echo") {
    plan.feed = Plan::Feed::kEcho;
  } else if (path == "/idle") {
    plan.feed = Plan::Feed::kIdle;
  } else if (path == "/big") {
    plan.feed = Plan::Feed::kBig;
    plan.size = take.In<uint64_t>("size", 0, kMaxMessageBytes).value_or(16 << 20);
    plan.count = take.In<uint64_t>("count", 1, 1'000'000).value_or(1);
    starts();
  } else if (path == "/endless") {
    plan.feed = Plan::Feed::kEndless;
    plan.size = take.In<uint64_t>("bytes", 1, uint64_t{1} << 40).value_or(16 << 20);
    starts();
  } else if (path == "/bomb") {
    plan.feed = Plan::Feed::kBomb;
    plan.size = take.In<uint64_t>("size", 1, uint64_t{1} << 40).value_or(1 << 30);
    plan.count = take.In<uint64_t>("count", 1, 1'000'000).value_or(1);
    plan.compression = Plan::Compression::kOn;
    starts();
  } else {
    take.Fail("there is no feed " + path);
  }
}

// The parameters that only raw sockets have.
void TakeFraming(Taker& take, Framing& framing) {
  using Kind = Framing::Kind;
  framing.kind =
      take.OneOf<Kind>("framing", {{"delimiter", Kind::kDelimiter}, {"length", Kind::kLength}, {"none", Kind::kNone}})
          .value_or(Kind::kDelimiter);
  if (framing.kind == Kind::kDelimiter) {
    framing.delimiter = take.Text("delimiter").value_or("\r\n");
    if (framing.delimiter.empty()) take.Fail("delimiter is empty");
  } else if (framing.kind == Kind::kLength) {
    framing.width = take.OneOf<uint64_t>("width", {{"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}}).value_or(4);
    framing.big_endian = take.OneOf<bool>("order", {{"big", true}, {"little", false}}).value_or(true);
    framing.counts_itself = take.Flag("counts_itself");
  }
}

// The parameters that only WebSockets have.
void TakeWebSocket(Taker& take, Plan& plan) {
  using Compression = Plan::Compression;
  plan.fragment = take.In<uint64_t>("fragment", 0, UINT64_MAX).value_or(0);
  if (plan.feed != Plan::Feed::kBomb) {
    plan.compression =
        take.OneOf<Compression>(
                "deflate", {{"0", Compression::kOff}, {"1", Compression::kOn}, {"context", Compression::kWithContext}})
            .value_or(Compression::kOff);
  }
  plan.subprotocol = take.Text("subprotocol");
  plan.status = take.In<int>("status", 200, 599).value_or(101);
  plan.retry_after = take.Text("retry_after").value_or("");
}

}  // namespace

std::string_view FaultName(Fault::Kind kind) {
  for (const auto& [value, name] : kFaultNames) {
    if (value == kind) return name;
  }
  return "unknown";
}

std::expected<Fault, std::string> TakeFault(const std::string& name, Parameters& parameters) {
  Fault fault;
  bool known = false;
  for (const auto& [kind, kind_name] : kFaultNames) {
    if (kind_name != name) continue;
    fault.kind = kind;
    known = true;
  }
  if (!known) return std::unexpected("there is no fault " + name);
  Taker take(parameters);
  if (fault.kind == Fault::Kind::kResetAtByte) {
    if (!parameters.contains("byte")) take.Fail("reset_at_byte needs byte");
    fault.byte = take.In<uint64_t>("byte", 0, UINT64_MAX).value_or(0);
  } else if (fault.kind == Fault::Kind::kClose) {
    fault.code = take.In<uint16_t>("code", 0, 0xFFFF).value_or(1000);
    fault.reason = take.Text("reason").value_or("");
    if (fault.reason.size() > 123) take.Fail("reason is longer than 123 bytes");
  } else if (fault.kind == Fault::Kind::kCorrupt) {
    std::vector<std::pair<std::string, Fault::Corruption>> choices;
    for (const auto& [value, choice] : kCorruptionNames) choices.emplace_back(choice, value);
    fault.corruption = take.OneOf("corruption", choices).value_or(Fault::Corruption::kOpcode);
  } else if (fault.kind == Fault::Kind::kPartial) {
    fault.reset = take.OneOf<bool>("then", {{"fin", false}, {"reset", true}}).value_or(false);
  } else if (fault.kind == Fault::Kind::kSlowHandshake) {
    fault.delay = std::chrono::milliseconds(take.In<int64_t>("ms", 0, 3'600'000).value_or(5'000));
  }
  if (!take.error().empty()) return std::unexpected(take.error());
  return fault;
}

std::expected<Target, std::string> ParseTarget(std::string_view target) {
  const size_t mark = target.find('?');
  Target result;
  const auto path = PercentDecode(target.substr(0, mark));
  if (!path || !path->starts_with('/')) return std::unexpected("the path is malformed");
  result.path = *path;
  std::string_view query = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const auto name = PercentDecode(pair.substr(0, equals));
    const auto value = PercentDecode(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1));
    if (!name || !value) return std::unexpected("the query is malformed");
    if (!result.query.emplace(*name, *value).second) return std::unexpected("parameter " + *name + " is repeated");
  }
  return result;
}

std::expected<Plan, std::string> ParsePlan(const Target& target, bool raw) {
  Plan plan;
  Parameters parameters = target.query;
  parameters.erase("tag");
  parameters.erase("token");
  Taker take(parameters);
  TakeFeed(target.path, take, plan);
  if (raw) {
    TakeFraming(take, plan.framing);
    if (plan.feed == Plan::Feed::kBomb) take.Fail("a raw socket has no /bomb");
  } else {
    TakeWebSocket(take, plan);
    if (plan.feed == Plan::Feed::kEndless) take.Fail("/endless is of raw sockets");
  }
  plan.write = take.In<uint64_t>("write", 0, UINT64_MAX).value_or(0);
  plan.write_pause = std::chrono::microseconds(take.In<int64_t>("write_pause_us", 0, 60'000'000).value_or(0));
  plan.reply_to = take.Text("reply_to").value_or("");
  plan.reply = take.Text("reply").value_or("");
  plan.close_code = take.In<uint16_t>("close", 0, 0xFFFF);
  plan.fault_after_frames = take.In<uint64_t>("after", 0, UINT64_MAX);
  if (const auto after = take.In<int64_t>("after_ms", 0, 86'400'000))
    plan.fault_after_time = std::chrono::milliseconds(*after);
  if (plan.fault_after_frames && plan.fault_after_time) take.Fail("after and after_ms exclude each other");
  if (const auto name = take.Text("fault")) {
    const auto fault = TakeFault(*name, parameters);
    if (!fault) return std::unexpected(fault.error());
    if (fault->kind == Fault::Kind::kLift) return std::unexpected("lift is for the control endpoint");
    plan.fault = *fault;
  } else if (plan.fault_after_frames || plan.fault_after_time) {
    take.Fail("after and after_ms need fault");
  }
  if (!take.error().empty()) return std::unexpected(take.error());
  if (!parameters.empty()) return std::unexpected("unknown parameter " + parameters.begin()->first);
  return plan;
}

}  // namespace exchange
