#include "exchange/control.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <exception>
#include <expected>
#include <vector>

#include "exchange/control_request.h"
#include "exchange/http_control.h"
#include "exchange/record_json.h"

namespace exchange {
namespace {

constexpr const char* kHelp[] = {
    "GET /connections[?target=SUBSTRING]: every connection, oldest first, without headers and frames",
    "GET /connections/ID or /connections/latest: one connection, with the upgrade's headers and all that it received",
    "GET /feeds: the numbering feeds, with their latest number",
    "POST /fault {connection, kind, ...}: kind is drop, reset, reset_at_byte {byte}, stall, half_close, close {code, "
    "reason}, "
    "corrupt {corruption: opcode|masked|rsv|utf8|continuation|long_ping|short_length|long_length}, partial {then: fin|"
    "reset}, silent, no_pong, never_read, lift",
    "POST /accept {mode, ms, on}: mode is normal, refuse, reset, silent, never_upgrade, slow_handshake {ms}; for new "
    "connections; on is ws, wss, http, https, tcp, tls; absent: all",
    "POST /send {connection, text|base64|ping|pong}: one message or control frame outside the feed",
    "GET /http/connections, GET /http/requests[?target=SUBSTRING], GET /http/requests/ID, GET /http/summary: HTTP",
    "POST /http_fault {kind, byte, idle_ms, goodbye, count, target}: for the next requests; kind is reset_request_at, "
    "reset_response_at, close_response_at, stall_at, never_answer, close_idle, reset_idle, half_close; with "
    "connection: "
    "at once, kind drop, reset, half_close",
    "POST /answer {base64|text, close, reset, count, target}: these bytes answer the next requests; with connection: "
    "sent at once",
    "POST /reset {connections}: forgets closed connections and unused feeds; with connections true, resets the live "
    "ones first "
    "and accepts normally again",
    "connection is an id, \"latest\" (the latest open one), \"all\" (open ones), or {target: SUBSTRING} (open ones)",
};

using Connections = std::vector<std::shared_ptr<Connection>>;

// Takes "connection" out of the body. Only connections whose upgrade is done count.
Result<Connections> TakeConnections(const Shared& shared, json::object& body) {
  const json::value wanted = body.contains("connection") ? body.at("connection") : json::value(nullptr);
  body.erase("connection");
  Connections open;
  for (const auto& [id, connection] : shared.connections) {
    if (connection->record().state == ConnectionRecord::State::kOpen) open.push_back(connection);
  }
  if (wanted == "all") return open;
  if (wanted.is_object()) {
    const auto* target = wanted.as_object().if_contains("target");
    if (wanted.as_object().size() != 1 || !target || !target->is_string())
      return Fail(400, "connection needs {\"target\": SUBSTRING}");
    std::erase_if(
        open, [&](const auto& connection) { return !connection->record().target.contains(Text(target->as_string())); });
  } else if (wanted == "latest") {
    if (!open.empty()) open.erase(open.begin(), open.end() - 1);
  } else if (wanted.is_number()) {
    json::error_code error;
    const auto id = wanted.to_number<uint64_t>(error);
    std::erase_if(open, [&](const auto& connection) { return error || connection->record().id != id; });
  } else {
    return Fail(400, "connection must be an id, \"latest\", \"all\" or {\"target\": SUBSTRING}");
  }
  if (open.empty()) return Fail(404, "no open connection is meant");
  return open;
}

json::array Ids(const Connections& connections) {
  json::array ids;
  for (const auto& connection : connections) ids.push_back(connection->record().id);
  return ids;
}

Result<json::object> ListConnections(const Shared& shared, Parameters query) {
  const auto filter = query.extract("target");
  if (!query.empty()) return Fail(400, "unknown parameter " + query.begin()->first);
  json::array list;
  for (const auto& record : shared.records.all()) {
    if (!filter || record->target.contains(filter.mapped())) list.push_back(ToJson(*record, false));
  }
  return json::object{{"connections", std::move(list)},
                      {"forgotten", shared.records.forgotten()},
                      {"omitted", shared.records.omitted()}};
}

Result<json::object> GetConnection(const Shared& shared, const std::string& name) {
  const auto& all = shared.records.all();
  auto found = all.end();
  if (name == "latest") {
    if (!all.empty()) found = all.end() - 1;
  } else {
    uint64_t id = 0;
    std::from_chars(name.data(), name.data() + name.size(), id);
    if (name != std::to_string(id)) return Fail(400, "a connection is a number or latest");
    found = std::ranges::find(all, id, [](const auto& record) { return record->id; });
  }
  if (found == all.end()) return Fail(404, "there is no connection " + name);
  return ToJson(**found, true);
}

Result<json::object> ListFeeds(const Shared& shared) {
  json::array list;
  for (const auto& [name, feed] : shared.feeds.all()) list.push_back(ToJson(*feed, Clock::now()));
  return json::object{{"feeds", std::move(list)}};
}

Result<json::object> PostFault(Shared& shared, json::object body) {
  const auto connections = TakeConnections(shared, body);
  if (!connections) return std::unexpected(connections.error());
  auto parameters = ToParameters(body);
  if (!parameters) return std::unexpected(parameters.error());
  const auto kind = parameters->extract("kind");
  if (!kind) return Fail(400, "kind is missing");
  const auto fault = TakeFault(kind.mapped(), *parameters);
  if (!fault) return Fail(400, fault.error());
  if (!parameters->empty()) return Fail(400, "unknown member " + parameters->begin()->first);
  if (fault->kind == Fault::Kind::kNeverUpgrade || fault->kind == Fault::Kind::kSlowHandshake) {
    return Fail(400, "that is a fault of connect time: use /accept or the query");
  }
  Connections applied;
  for (const auto& connection : *connections) {
    if (connection->Apply(*fault)) applied.push_back(connection);
  }
  return json::object{{"applied", Ids(applied)}};
}

Result<json::object> PostAccept(const Control::SetAccept& set_accept, const json::object& body) {
  auto parameters = ToParameters(body);
  if (!parameters) return std::unexpected(parameters.error());
  const auto mode = parameters->extract("mode");
  const auto on = parameters->extract("on");
  if (!mode) return Fail(400, "mode is missing");
  AcceptMode accept;
  const std::string& name = mode.mapped();
  using Kind = AcceptMode::Kind;
  if (name == "normal") {
    accept.kind = Kind::kNormal;
  } else if (name == "refuse") {
    accept.kind = Kind::kRefuse;
  } else if (name == "reset") {
    accept.kind = Kind::kReset;
  } else if (name == "silent") {
    accept.kind = Kind::kSilent;
  } else if (name == "never_upgrade") {
    accept.kind = Kind::kNeverUpgrade;
  } else if (name == "slow_handshake") {
    const auto fault = TakeFault(name, *parameters);
    if (!fault) return Fail(400, fault.error());
    accept = {.kind = Kind::kSlowHandshake, .delay = fault->delay};
  } else {
    return Fail(400, "there is no mode " + name);
  }
  if (!parameters->empty()) return Fail(400, "unknown member " + parameters->begin()->first);
  if (!set_accept(accept, on ? on.mapped() : "")) return Fail(400, "there is no listener " + on.mapped());
  return json::object{{"mode", name}};
}

Result<json::object> PostSend(Shared& shared, json::object body) {
  const auto connections = TakeConnections(shared, body);
  if (!connections) return std::unexpected(connections.error());
  if (body.size() != 1 || !body.begin()->value().is_string())
    return Fail(400, "send needs one of text, base64, ping, pong");
  const std::string_view name(body.begin()->key().data(), body.begin()->key().size());
  std::string payload = Text(body.begin()->value().as_string());
  Opcode opcode = Opcode::kText;
  if (name == "base64") {
    auto bytes = Base64Decode(payload);
    if (!bytes) return Fail(400, "that is not base64");
    payload = std::move(*bytes);
    opcode = Opcode::kBinary;
  } else if (name == "ping" || name == "pong") {
    if (payload.size() > 125) return Fail(400, "a control frame carries at most 125 bytes");
    opcode = name == "ping" ? Opcode::kPing : Opcode::kPong;
  } else if (name != "text") {
    return Fail(400, "unknown member " + std::string(name));
  }
  Connections sent;
  for (const auto& connection : *connections) {
    if (connection->Send(opcode, payload)) sent.push_back(connection);
  }
  return json::object{{"sent", Ids(sent)}};
}

Result<json::object> PostReset(Shared& shared, HttpShared& http, const Control::SetAccept& set_accept,
                               const json::object& body) {
  const auto* connections = body.if_contains("connections");
  if (body.size() > (connections ? 1 : 0) || (connections && !connections->is_bool())) {
    return Fail(400, "reset takes only {\"connections\": true}");
  }
  if (connections && connections->as_bool()) {
    while (!shared.connections.empty()) shared.connections.begin()->second->Abort("fault:reset");
    set_accept({}, "");
  }
  ResetHttp(http, connections && connections->as_bool());
  shared.records.Forget();
  shared.feeds.Forget();
  return json::object{};
}

Result<json::object> Dispatch(Shared& shared, HttpShared& http, const Control::SetAccept& set_accept,
                              const std::string& method, const std::string& text, const std::string& body) {
  const auto target = ParseTarget(text);
  if (!target) return Fail(400, target.error());
  constexpr std::string_view kOne = "/connections/";
  const std::string& path = target->path;
  const bool lists = path == "/connections";
  const bool http_reads = path.starts_with("/http/");
  const bool http_writes = path == "/http_fault" || path == "/answer";
  const bool reads = lists || path == "/feeds" || path == "/help" || path.starts_with(kOne) || http_reads;
  const bool writes = http_writes || path == "/fault" || path == "/accept" || path == "/send" || path == "/reset";
  if (!reads && !writes) return Fail(404, "there is no " + path + "; GET /help lists what there is");
  if (method != (reads ? "GET" : "POST")) return Fail(405, path + " takes " + (reads ? "GET" : "POST"));
  if (http_reads) return GetHttp(http, path, target->query);
  if (!lists && !target->query.empty()) return Fail(400, "unknown parameter " + target->query.begin()->first);
  if (lists) return ListConnections(shared, target->query);
  if (path == "/feeds") return ListFeeds(shared);
  if (path == "/help") return json::object{{"help", json::array(std::begin(kHelp), std::end(kHelp))}};
  if (reads) return GetConnection(shared, path.substr(kOne.size()));
  auto object = ParseBody(body);
  if (!object) return std::unexpected(object.error());
  if (http_writes) return PostHttp(http, path, std::move(*object));
  if (path == "/fault") return PostFault(shared, std::move(*object));
  if (path == "/accept") return PostAccept(set_accept, *object);
  if (path == "/send") return PostSend(shared, std::move(*object));
  return PostReset(shared, http, set_accept, *object);
}

}  // namespace

ControlReply Control::Execute(const std::string& method, const std::string& target, const std::string& body) {
  Result<json::object> result;
  try {
    result = Dispatch(shared_, http_, set_accept_, method, target, body);
  } catch (const std::exception& error) {  // a listener that does not get its port back, for one
    result = Fail(409, error.what());
  }
  if (result) return {.status = 200, .json = json::serialize(*result)};
  return {.status = result.error().status, .json = json::serialize(json::object{{"error", result.error().text}})};
}

}  // namespace exchange
