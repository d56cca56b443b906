#include "exchange/http_control.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "exchange/record_json.h"
#include "exchange/taker.h"

namespace exchange {
namespace {

// A request's body in a listing; GET /http/requests/ID has longer ones.
constexpr size_t kMaxListedBodyBytes = 4 << 10;

json::value OrNull(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }

json::object ToJson(const HttpConnectionRecord& record) {
  return {{"id", record.id},
          {"state", record.closed_at_unix_ns == 0 ? "open" : "closed"},
          {"kind", record.kind},
          {"server_name", record.server_name},
          {"accepted_at_unix_ns", record.accepted_at_unix_ns},
          {"closed_at_unix_ns", exchange::OrNull(record.closed_at_unix_ns)},
          {"closed_by", OrNull(record.closed_by)},
          {"protocol_error", OrNull(record.protocol_error)},
          {"requests", record.requests},
          {"pipelined", record.pipelined},
          {"bytes_received", record.bytes_received},
          {"bytes_sent", record.bytes_sent}};
}

json::object ToJson(const HttpRequestRecord& record, size_t longest_body) {
  json::array headers;
  for (const auto& [name, value] : record.headers) headers.push_back(json::array{ToText(name), ToText(value)});
  json::object object = {{"id", record.id},
                         {"connection", record.connection},
                         {"index", record.index},
                         {"method", OrNull(record.method)},
                         {"target", ToText(record.target)},
                         {"order", record.order.empty() ? json::value(nullptr) : ToText(record.order)},
                         {"headers", std::move(headers)},
                         {"bytes_received", record.bytes_received},
                         {"complete", record.complete},
                         {"pipelined", record.pipelined},
                         {"body_bytes", record.body_bytes},
                         {"body_sha256", OrNull(record.body_sha256)},
                         {"fault", OrNull(record.fault)},
                         {"status", exchange::OrNull(record.status)},
                         {"response_bytes", record.response_bytes},
                         {"response_complete", record.response_complete},
                         {"begun_at_unix_ns", record.begun_at_unix_ns},
                         {"received_at_unix_ns", exchange::OrNull(record.received_at_unix_ns)},
                         {"answered_at_unix_ns", exchange::OrNull(record.answered_at_unix_ns)}};
  if (!record.body_omitted && record.body.size() <= longest_body) {
    const bool text = IsUtf8(record.body);
    object[text ? "body" : "body_base64"] = text ? record.body : Base64Encode(record.body);
  }
  return object;
}

json::object Summary(const HttpShared& http) {
  const HttpCounts& counts = http.records.counts();
  json::object orders;
  for (const auto& [id, count] : http.records.orders()) {
    const json::value name = ToText(id);
    orders[name.as_string()] = count;
  }
  json::array incomplete;
  for (const auto& request : http.records.requests()) {
    if (request->complete) continue;
    incomplete.push_back(json::object{{"id", request->id},
                                      {"target", ToText(request->target)},
                                      {"order", request->order.empty() ? json::value(nullptr) : ToText(request->order)},
                                      {"bytes_received", request->bytes_received}});
  }
  return {{"connections", json::object{{"opened", counts.connections_opened},
                                       {"open", counts.connections_open},
                                       {"most_open", counts.connections_most_open},
                                       {"forgotten", counts.forgotten_connections}}},
          {"requests", json::object{{"complete", counts.requests_complete},
                                    {"incomplete", counts.requests_incomplete},
                                    {"pipelined", counts.requests_pipelined},
                                    {"forgotten", counts.forgotten_requests}}},
          {"protocol_errors", counts.protocol_errors},
          {"orders", std::move(orders)},
          {"omitted_orders", counts.omitted_orders},
          {"incomplete", std::move(incomplete)},
          {"armed", http.armed.size()}};
}

using Connections = std::vector<std::shared_ptr<HttpConnection>>;

// Takes "connection" out of the parameters: an id, latest or all, among the open ones.
Result<Connections> TakeConnections(const HttpShared& http, Parameters& parameters) {
  const std::string wanted = parameters.extract("connection").mapped();
  Connections open;
  for (const auto& [id, connection] : http.connections) {
    if (wanted == "all" || wanted == "latest" || wanted == std::to_string(id)) open.push_back(connection);
  }
  if (open.empty()) return Fail(404, "no open connection is meant: connection is an id, \"latest\" or \"all\"");
  if (wanted == "latest") open.erase(open.begin(), open.end() - 1);
  return open;
}

json::array Ids(const Connections& connections) {
  json::array ids;
  for (const auto& connection : connections) ids.push_back(connection->record().id);
  return ids;
}

Result<json::object> MisbehaveNow(HttpShared& http, Parameters parameters) {
  const auto connections = TakeConnections(http, parameters);
  if (!connections) return std::unexpected(connections.error());
  using Now = HttpConnection::Now;
  Taker take(parameters);
  const auto what =
      take.OneOf<Now>("kind", {{"drop", Now::kDrop}, {"reset", Now::kReset}, {"half_close", Now::kHalfClose}});
  if (!what) return Fail(400, "with connection, kind is drop, reset or half_close");
  if (!parameters.empty()) return Fail(400, "unknown member " + parameters.begin()->first);
  Connections applied;
  for (const auto& connection : *connections) {
    if (connection->Misbehave(*what)) applied.push_back(connection);
  }
  return json::object{{"applied", Ids(applied)}};
}

// What faults and answers for the next requests have in common.
Armed TakeArmed(Taker& take) {
  return {.target = take.Text("target").value_or(""), .count = take.In<uint64_t>("count", 1, UINT64_MAX).value_or(1)};
}

Result<json::object> PostHttpFault(HttpShared& http, Parameters parameters) {
  if (parameters.contains("connection")) return MisbehaveNow(http, std::move(parameters));
  const auto kind = parameters.extract("kind");
  if (!kind) return Fail(400, "kind is missing");
  Taker take(parameters);
  Armed armed = TakeArmed(take);
  const auto fault = TakeHttpFault(kind.mapped(), parameters);
  if (!fault) return Fail(400, fault.error());
  armed.fault = *fault;
  if (!take.error().empty()) return Fail(400, take.error());
  if (!parameters.empty()) return Fail(400, "unknown member " + parameters.begin()->first);
  http.armed.push_back(std::move(armed));
  return json::object{{"armed", http.armed.size()}};
}

Result<json::object> PostAnswer(HttpShared& http, Parameters parameters) {
  std::optional<Connections> connections;
  if (parameters.contains("connection")) {
    auto taken = TakeConnections(http, parameters);
    if (!taken) return std::unexpected(taken.error());
    connections = std::move(*taken);
  }
  Taker take(parameters);
  Armed armed = TakeArmed(take);
  armed.answer = take.Text("text");
  if (const auto base64 = take.Text("base64")) {
    armed.answer = Base64Decode(*base64);
    if (!armed.answer) return Fail(400, "that is not base64");
  }
  if (!armed.answer) return Fail(400, "answer needs text or base64");
  if (take.Flag("close")) armed.after = HttpAnswer::After::kClose;
  if (take.Flag("reset")) armed.after = HttpAnswer::After::kReset;
  if (!take.error().empty()) return Fail(400, take.error());
  if (!parameters.empty()) return Fail(400, "unknown member " + parameters.begin()->first);
  if (!connections) {
    http.armed.push_back(std::move(armed));
    return json::object{{"armed", http.armed.size()}};
  }
  Connections sent;
  for (const auto& connection : *connections) {
    if (connection->SendUnasked(*armed.answer, armed.after)) sent.push_back(connection);
  }
  return json::object{{"sent", Ids(sent)}};
}

}  // namespace

Result<json::object> GetHttp(const HttpShared& http, const std::string& path, Parameters query) {
  constexpr std::string_view kOne = "/http/requests/";
  const bool requests = path == "/http/requests";
  const auto filter = requests ? query.extract("target") : Parameters::node_type();
  if (!query.empty()) return Fail(400, "unknown parameter " + query.begin()->first);
  const HttpRecords& records = http.records;
  if (path == "/http/summary") return Summary(http);
  if (path == "/http/connections") {
    json::array list;
    for (const auto& record : records.connections()) list.push_back(ToJson(*record));
    return json::object{{"connections", std::move(list)}, {"forgotten", records.counts().forgotten_connections}};
  }
  if (requests) {
    json::array list;
    for (const auto& record : records.requests()) {
      if (!filter || record->target.contains(filter.mapped())) list.push_back(ToJson(*record, kMaxListedBodyBytes));
    }
    return json::object{{"requests", std::move(list)}, {"forgotten", records.counts().forgotten_requests}};
  }
  if (path.starts_with(kOne)) {
    const std::string name = path.substr(kOne.size());
    const auto found = std::ranges::find_if(records.requests(),
                                            [&](const auto& record) { return std::to_string(record->id) == name; });
    if (found != records.requests().end()) return ToJson(**found, SIZE_MAX);
  }
  return Fail(404, "there is no " + path + "; GET /help lists what there is");
}

Result<json::object> PostHttp(HttpShared& http, const std::string& path, json::object body) {
  auto parameters = ToParameters(body);
  if (!parameters) return std::unexpected(parameters.error());
  return path == "/answer" ? PostAnswer(http, std::move(*parameters)) : PostHttpFault(http, std::move(*parameters));
}

void ResetHttp(HttpShared& http, bool connections) {
  while (connections && !http.connections.empty()) http.connections.begin()->second->Abort("fault:reset");
  http.armed.clear();
  http.records.Forget();
}

}  // namespace exchange
