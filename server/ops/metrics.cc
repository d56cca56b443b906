#include "ops/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/lifecycle.h"

namespace fairlead {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double Seconds(Duration span) { return std::chrono::duration<double>(span).count(); }
double UnixSeconds(WallTime time) { return Seconds(time.time_since_epoch()); }

ClientMetric HistogramOf(const Histogram& measured) {
  ClientMetric metric;
  auto& [count, sum, buckets] = metric.histogram;
  for (size_t i = 0; i < measured.bounds().size(); ++i)
    buckets.push_back({count += measured.count(i), Seconds(measured.bounds()[i])});
  count += measured.count(measured.bounds().size());
  sum = Seconds(measured.sum());
  buckets.push_back({count, std::numeric_limits<double>::infinity()});
  return metric;
}

// Families in the order in which they are added.
class Families {
 public:
  Families& Counter(std::string_view name, std::string_view help) { return Begin(name, help, MetricType::Counter); }
  Families& Gauge(std::string_view name, std::string_view help) { return Begin(name, help, MetricType::Gauge); }
  Families& Spans(std::string_view name, std::string_view help) { return Begin(name, help, MetricType::Histogram); }

  // Of the family that was begun last.
  Families& Value(double value, Labels labels = {}) {
    ClientMetric metric;
    (all_.back().type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    return Add(std::move(metric), std::move(labels));
  }
  Families& Value(uint64_t value, Labels labels = {}) { return Value(static_cast<double>(value), std::move(labels)); }
  Families& Value(const Histogram& value, Labels labels = {}) { return Add(HistogramOf(value), std::move(labels)); }

  std::string Text() const { return prometheus::TextSerializer().Serialize(all_); }

 private:
  Families& Begin(std::string_view name, std::string_view help, MetricType type) {
    all_.push_back({.name = "fairlead_" + std::string(name), .help = std::string(help), .type = type, .metric = {}});
    return *this;
  }
  Families& Add(ClientMetric metric, Labels labels) {
    metric.label = std::move(labels);
    all_.back().metric.push_back(std::move(metric));
    return *this;
  }

  std::vector<MetricFamily> all_;
};

std::string Text(std::string_view text) { return std::string(text); }

void AddProcess(Families& families, const ProcessFacts& process) {
  families.Gauge("build_info", "1; which version this is.").Value(1.0, {{"version", process.version}});
  families.Gauge("start_time_seconds", "When the process began, in Unix time.").Value(UnixSeconds(process.started));
  families.Gauge("open_files", "Descriptors that are open.").Value(process.use.open_files);
  families.Gauge("open_files_limit", "Descriptors that may be open.").Value(process.use.open_files_limit);
  families.Gauge("resident_bytes", "Memory of the process that is resident.").Value(process.use.resident_bytes);
  if (process.certificate_expiry) {
    families.Gauge("certificate_expiry_seconds", "When the first of the listeners' certificates ends, in Unix time.")
        .Value(static_cast<double>(process.certificate_expiry->time_since_epoch().count()));
  }
}

void AddRpcs(Families& families, const RpcMeasures::Values& rpcs) {
  families.Counter("rpcs_total", "RPCs that have ended.");
  for (size_t rpc = 0; rpc < kRpcs; ++rpc) {
    for (size_t code = 0; code < kStatusCodes; ++code) {
      if (rpcs.ended[rpc][code] == 0 && code != 0) continue;
      families.Value(rpcs.ended[rpc][code], {{"rpc", Text(Name(Rpc{static_cast<int>(rpc)}))},
                                             {"code", Text(CodeName(static_cast<int>(code)))}});
    }
  }
  families.Spans("rpc_seconds", "How long RPCs that are no streams took.");
  for (const Rpc rpc : {Rpc::kListSessions, Rpc::kGetSession, Rpc::kCloseSession, Rpc::kSend, Rpc::kAcquire,
                        Rpc::kListQuotas, Rpc::kReportUsage})
    families.Value(rpcs.seconds[static_cast<size_t>(rpc)], {{"rpc", Text(Name(rpc))}});
  families.Gauge("streams", "Streams of adapters that are open.");
  for (const Rpc rpc : {Rpc::kAttach, Rpc::kTail})
    families.Value(rpcs.streams[static_cast<size_t>(rpc)], {{"rpc", Text(Name(rpc))}});
}

void AddSessions(Families& families, const Snapshot& snapshot) {
  const SessionMeasures& sessions = snapshot.sessions;
  families.Gauge("sessions", "Sessions that are in each state.");
  for (const State state :
       {State::kConnecting, State::kOpening, State::kOpen, State::kWaiting, State::kReconnecting, State::kClosed})
    families.Value(sessions.states[static_cast<size_t>(state)], {{"state", Text(Name(state))}});
  families.Counter("reconnects_total", "Transports that ended, or could not be had, and were to be replaced.");
  for (const auto& [reason, count] : sessions.reconnects) families.Value(count, {{"reason", Text(Name(reason))}});
  families.Spans("time_to_recover_seconds", "From a loss until the session was OPEN again.").Value(sessions.recovery);
  families.Spans("heartbeat_round_trip_seconds", "From a heartbeat to its answer.")
      .Value(sessions.heartbeat_round_trip);
  families.Counter("frames_total", "Frames of sessions: in from exchanges, out to them.")
      .Value(sessions.frames_in, {{"direction", "in"}})
      .Value(sessions.frames_out, {{"direction", "out"}});
  families.Counter("frame_bytes_total", "Their payloads.")
      .Value(sessions.bytes_in, {{"direction", "in"}})
      .Value(sessions.bytes_out, {{"direction", "out"}});
  families.Counter("gaps_total", "Gaps that subscribers were told of.").Value(sessions.gaps);
  families.Counter("subscribers_detached_total", "Subscribers that were detached because they fell behind the journal.")
      .Value(sessions.detached);
  families.Counter("resumes_total", "Subscribers that started behind an entry that they had.")
      .Value(sessions.resumed_continued, {{"result", "continued"}})
      .Value(sessions.resumed_with_gap, {{"result", "gap"}})
      .Value(sessions.resumed_epoch_changed, {{"result", "epoch_changed"}});
  families.Gauge("journal_bytes", "What the journals hold in memory.").Value(snapshot.journal_bytes);
  families.Gauge("send_queue_bytes", "Sends that wait for a transport or for the kernel.")
      .Value(snapshot.send_queue_bytes);
}

void AddHttp(Families& families, const HttpTotals& http) {
  families.Counter("http_requests_total", "HTTP requests, by the class of their status; failed: there was no answer.");
  for (size_t digit = 1; digit < http.measures.requests.size(); ++digit)
    families.Value(http.measures.requests[digit], {{"class", std::to_string(digit) + "xx"}});
  families.Value(http.measures.requests[0], {{"class", "failed"}});
  families.Spans("http_seconds", "Phases of HTTP requests that were answered.");
  const HttpMeasures& measures = http.measures;
  for (const auto& [phase, spans] :
       std::initializer_list<std::pair<std::string_view, const Histogram&>>{{"pool_wait", measures.pool_wait},
                                                                            {"resolve", measures.resolve},
                                                                            {"connect", measures.connect},
                                                                            {"tls", measures.tls},
                                                                            {"first_byte", measures.first_byte},
                                                                            {"total", measures.total}})
    families.Value(spans, {{"phase", Text(phase)}});
  families.Gauge("http_connections", "Connections to exchanges, those being made included.")
      .Value(uint64_t{http.connections});
  families.Gauge("http_requests_under_way", "HTTP requests, those that wait for a connection included.")
      .Value(uint64_t{http.requests});
}

void AddAdapters(Families& families, const Snapshot& snapshot) {
  const AdapterMeasures& adapters = snapshot.adapters;
  families.Spans("added_latency_seconds", "From the read of a batch's oldest frame to the write of the batch.")
      .Value(adapters.added_latency);
  families.Gauge("connections", "Connections of adapters that are open.").Value(uint64_t{adapters.connections});
  families.Counter("accept_refused_total", "Connections of adapters that were not accepted.")
      .Value(adapters.refused_limit, {{"reason", "limit"}})
      .Value(adapters.refused_cap, {{"reason", "cap"}})
      .Value(adapters.refused_failure, {{"reason", "failure"}});
  families.Spans("loop_lag_seconds", "How long work that was given to the loop waited for its turn.")
      .Value(snapshot.loop_lag);
}

}  // namespace

std::string MetricsText(const Snapshot& snapshot, const RpcMeasures::Values& rpcs, const ProcessFacts& process) {
  Families families;
  AddProcess(families, process);
  AddAdapters(families, snapshot);
  AddRpcs(families, rpcs);
  AddSessions(families, snapshot);
  AddHttp(families, snapshot.http);
  return families.Text();
}

}  // namespace fairlead
