#include "ops/status_page.h"

#include <algorithm>
#include <concepts>
#include <ranges>
#include <utility>

#include "ops/metrics.h"

namespace fairlead {
namespace {

double Seconds(Duration span) { return std::chrono::duration<double>(span).count(); }

// JSON as it is written: each value knows whether a comma goes before it.
class Json {
 public:
  Json& Object() { return Begin('{'); }
  Json& Array() { return Begin('['); }
  Json& End(char bracket) {
    text_ += bracket;
    comma_ = true;
    return *this;
  }
  Json& Key(std::string_view name) {
    Value(name);
    text_ += ':';
    comma_ = false;
    return *this;
  }
  Json& Value(std::string_view text) {
    Separate();
    text_ += '"';
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') text_ += '\\';
      // What is no name is not shown as it is.
      text_ += byte < 0x20 || byte >= 0x7f ? '?' : c;
    }
    text_ += '"';
    return *this;
  }
  Json& Value(double number) {
    Separate();
    text_ += std::to_string(number);
    return *this;
  }
  Json& Value(std::unsigned_integral auto number) {
    Separate();
    text_ += std::to_string(number);
    return *this;
  }
  template <typename T>
  Json& Field(std::string_view name, const T& value) {
    return Key(name).Value(value);
  }
  std::string Take() { return std::move(text_); }

 private:
  Json& Begin(char bracket) {
    Separate();
    text_ += bracket;
    comma_ = false;
    return *this;
  }
  void Separate() {
    if (comma_) text_ += ',';
    comma_ = true;
  }

  std::string text_;
  bool comma_ = false;
};

StatusListing::SessionRow RowOf(const Session& session, WallTime now) {
  StatusListing::SessionRow row{
      .identity = session.identity(),
      .name = session.name(),
      .epoch = session.epoch(),
      .target = session.options().url.Origin(),
      .state = session.state(),
      .generation = session.generation(),
      .subscribers = session.subscriptions().size(),
      .lag_entries = 0,
      .lag = Duration::zero(),
      .frames_in = session.counts().received_frames,
      .frames_out = session.counts().sent_frames,
      .last_failure = session.last_failure() ? session.last_failure()->reason : Reason::kUnspecified};
  for (const Subscription* subscription : session.subscriptions()) {
    row.lag_entries = std::max(row.lag_entries, subscription->lag());
    if (const auto since = subscription->lagging_since()) row.lag = std::max(row.lag, now - *since);
  }
  return row;
}

void AddSessions(Json& json, const StatusListing& listing, const Snapshot& snapshot) {
  json.Key("sessions").Object().Field("total", listing.all_sessions);
  json.Key("states").Object();
  for (const State state :
       {State::kOpen, State::kConnecting, State::kOpening, State::kWaiting, State::kReconnecting, State::kClosed})
    json.Field(Name(state), snapshot.sessions.states[static_cast<size_t>(state)]);
  json.End('}').Key("rows").Array();
  for (const auto& row : listing.sessions) {
    json.Object()
        .Field("identity", row.identity)
        .Field("name", row.name)
        .Field("epoch", row.epoch)
        .Field("target", row.target)
        .Field("state", Name(row.state))
        .Field("generation", row.generation)
        .Field("subscribers", row.subscribers)
        .Field("lag_entries", row.lag_entries)
        .Field("lag_s", Seconds(row.lag))
        .Field("frames_in", row.frames_in)
        .Field("frames_out", row.frames_out)
        .Field("last_failure", row.last_failure == Reason::kUnspecified ? "" : Name(row.last_failure))
        .End('}');
  }
  json.End(']').End('}');
}

void AddReconnects(Json& json, const SessionMeasures& sessions) {
  json.Key("reconnects").Array();
  for (const auto& each : std::views::reverse(sessions.latest_reconnects)) {
    json.Object()
        .Field("time_unix_s", Seconds(each.time.time_since_epoch()))
        .Field("identity", each.identity)
        .Field("name", each.session)
        .Field("generation", each.generation)
        .Field("reason", Name(each.reason))
        .End('}');
  }
  json.End(']');
}

void AddPools(Json& json, const StatusListing& listing) {
  json.Key("pools").Object().Field("total", listing.all_pools).Key("rows").Array();
  for (const auto& row : listing.pools) {
    json.Object()
        .Field("identity", row.identity)
        .Field("origin", row.origin)
        .Field("idle", row.counts.idle)
        .Field("busy", row.counts.busy)
        .Field("dialling", row.counts.dialling)
        .Field("waiting", row.counts.waiting)
        .End('}');
  }
  json.End(']').End('}');
}

void AddUse(Json& json, const StatusListing& listing, const Snapshot& snapshot, uint64_t streams,
            const ProcessFacts& process, const Limits& limits) {
  const auto add = [&json](std::string_view what, uint64_t used, uint64_t limit, std::string_view unit = "") {
    json.Object().Field("what", what).Field("used", used).Field("limit", limit).Field("unit", unit).End('}');
  };
  json.Key("use").Array();
  add("sessions", listing.all_sessions, limits.sessions);
  add("streams", streams, limits.streams);
  add("adapter connections", snapshot.adapters.connections, limits.connections);
  add("journals", snapshot.journal_bytes, limits.total_journal_bytes, "bytes");
  add("send queues", snapshot.send_queue_bytes, limits.total_send_queue_bytes, "bytes");
  add("HTTP requests", snapshot.http.requests, limits.requests);
  add("HTTP connections", snapshot.http.connections, limits.http_connections);
  add("HTTP bodies", snapshot.http.body_bytes, limits.total_body_bytes, "bytes");
  add("open files", process.use.open_files, process.use.open_files_limit);
  json.End(']');
}

}  // namespace

StatusListing TakeListing(const Shown& shown, const Clock& clock) {
  StatusListing listing;
  listing.now = clock.WallNow();
  listing.steady = clock.Now();
  listing.all_sessions = shown.registry.size();
  for (const bool open : {false, true}) {
    for (const auto& [key, session] : shown.registry.sessions()) {
      if (listing.sessions.size() == StatusListing::kSessions) break;
      if ((session->state() == State::kOpen) == open) listing.sessions.push_back(RowOf(*session, listing.now));
    }
  }
  for (const auto& pool : shown.http.Pools()) {
    ++listing.all_pools;
    if (listing.pools.size() < StatusListing::kPools)
      listing.pools.push_back({pool.identity, pool.origin, pool.counts});
  }
  return listing;
}

std::string StatusJson(const StatusListing& listing, const Snapshot& snapshot, const RpcMeasures::Values& rpcs,
                       const ProcessFacts& process, const Limits& limits) {
  uint64_t streams = 0;
  for (const uint64_t each : rpcs.streams) streams += each;
  Json json;
  json.Object()
      .Field("version", process.version)
      .Field("now_unix_s", Seconds(listing.now.time_since_epoch()))
      .Field("steady_s", Seconds(listing.steady.time_since_epoch()))
      .Field("uptime_s", Seconds(listing.now - process.started))
      .Field("resident_bytes", process.use.resident_bytes)
      .Field("connections", uint64_t{snapshot.adapters.connections});
  AddSessions(json, listing, snapshot);
  AddReconnects(json, snapshot.sessions);
  AddPools(json, listing);
  AddUse(json, listing, snapshot, streams, process, limits);
  return json.End('}').Take();
}

}  // namespace fairlead
