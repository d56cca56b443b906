#include "exchange/record_json.h"

#include <boost/json.hpp>

namespace exchange {
namespace {

namespace json = boost::json;

json::array ToJson(const std::vector<ReceivedFrame>& frames, bool raw) {
  json::array list;
  list.reserve(frames.size());
  for (const ReceivedFrame& frame : frames) {
    const std::string_view kind = raw ? "frame" : OpcodeName(frame.opcode);
    json::object object = {{"index", frame.index}, {"kind", std::string(kind)}, {"at_unix_ns", frame.at_unix_ns}};
    const bool as_text = (raw || frame.opcode != Opcode::kBinary) && IsUtf8(frame.payload);
    object[as_text ? "text" : "base64"] = as_text ? frame.payload : Base64Encode(frame.payload);
    list.push_back(std::move(object));
  }
  return list;
}

const char* StateName(ConnectionRecord::State state) {
  switch (state) {
    case ConnectionRecord::State::kHandshake:
      return "handshake";
    case ConnectionRecord::State::kOpen:
      return "open";
    case ConnectionRecord::State::kClosed:
      break;
  }
  return "closed";
}

}  // namespace

json::value ToText(const std::string& text) {
  return IsUtf8(text) ? json::value(text) : json::value("base64:" + Base64Encode(text));
}

json::object ToJson(const ConnectionRecord& record, bool frames) {
  json::object object = {
      {"id", record.id},
      {"state", StateName(record.state)},
      {"kind", record.kind},
      {"tls", record.kind == "wss" || record.kind == "tls"},
      {"server_name", record.server_name},
      {"target", ToText(record.target)},
      {"status", OrNull(record.status)},
      {"subprotocol", record.subprotocol},
      {"extensions", record.extensions},
      {"accepted_at_unix_ns", record.accepted_at_unix_ns},
      {"opened_at_unix_ns", OrNull(record.opened_at_unix_ns)},
      {"closed_at_unix_ns", OrNull(record.closed_at_unix_ns)},
      {"closed_by", record.closed_by.empty() ? json::value(nullptr) : json::value(record.closed_by)},
      {"close_code_received", OrNull(record.close_code_received.value_or(0))},
      {"close_reason_received", ToText(record.close_reason_received)},
      {"close_code_sent", OrNull(record.close_code_sent.value_or(0))},
      {"protocol_error", record.protocol_error.empty() ? json::value(nullptr) : json::value(record.protocol_error)},
      {"faults", json::value_from(record.faults)},
      {"frames_sent", record.frames_sent},
      {"feed_frames_sent", record.feed_frames_sent},
      {"bytes_sent", record.bytes_sent},
      {"first_number", OrNull(record.first_number)},
      {"last_number", OrNull(record.last_number)},
      {"frames_received", record.frames_received},
      {"pings_received", record.pings_received},
      {"pongs_received", record.pongs_received},
      {"omitted", record.omitted},
  };
  if (!frames) return object;
  json::array headers;
  for (const auto& [name, value] : record.headers) headers.push_back(json::array{ToText(name), ToText(value)});
  object["headers"] = std::move(headers);
  object["frames"] = ToJson(record.frames, record.raw());
  object["pings"] = ToJson(record.pings, false);
  object["pongs"] = ToJson(record.pongs, false);
  return object;
}

json::object ToJson(const Feed& feed, Clock::time_point now) {
  return {{"name", feed.name},      {"rate", feed.rate},
          {"count", feed.count},    {"started", feed.started.has_value()},
          {"head", feed.Head(now)}, {"last_sent", feed.driven}};
}

}  // namespace exchange
