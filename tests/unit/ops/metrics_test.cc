#include "ops/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <sstream>

namespace fairlead {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

const ProcessFacts kProcess{.version = "1.2.3",
                            .started = WallTime(seconds(1'700'000'000)),
                            .use = {.open_files = 7, .open_files_limit = 1024, .resident_bytes = 4096},
                            .certificate_expiry = std::nullopt};

std::string Text(const Snapshot& snapshot = {}, const RpcMeasures& rpcs = {}, const ProcessFacts& process = kProcess) {
  return MetricsText(snapshot, rpcs.Copy(), process);
}

TEST(Metrics, HistogramsAreCumulative) {
  Snapshot snapshot;
  snapshot.adapters.added_latency.Observe(microseconds(20));
  snapshot.adapters.added_latency.Observe(microseconds(70));
  snapshot.adapters.added_latency.Observe(microseconds(80));
  snapshot.adapters.added_latency.Observe(seconds(5));
  const std::string text = Text(snapshot);
  const std::string name = "\nfairlead_added_latency_seconds_";
  EXPECT_THAT(text, HasSubstr("\n# TYPE fairlead_added_latency_seconds histogram\n"));
  EXPECT_THAT(text, HasSubstr(name + "bucket{le=\"5e-05\"} 1\n"));
  EXPECT_THAT(text, HasSubstr(name + "bucket{le=\"0.0001\"} 3\n"));
  EXPECT_THAT(text, HasSubstr(name + "bucket{le=\"1\"} 3\n"));
  EXPECT_THAT(text, HasSubstr(name + "bucket{le=\"+Inf\"} 4\n"));
  EXPECT_THAT(text, HasSubstr(name + "count 4\n"));
  EXPECT_THAT(text, HasSubstr(name + "sum 5.00017\n"));
}

TEST(Metrics, EachMeasureHasItsPlace) {
  Snapshot snapshot;
  SessionMeasures& sessions = snapshot.sessions;
  sessions.states = {0, 1, 2, 3, 4, 5, 6};
  sessions.frames_in = 11;
  sessions.frames_out = 12;
  sessions.bytes_in = 13;
  sessions.bytes_out = 14;
  sessions.gaps = 15;
  sessions.detached = 16;
  sessions.resumed_continued = 17;
  sessions.resumed_with_gap = 18;
  sessions.resumed_epoch_changed = 19;
  sessions.Reconnects({.time = {}, .identity = "i", .session = "s", .reason = Reason::kPeerClosed});
  snapshot.journal_bytes = 20;
  snapshot.send_queue_bytes = 21;
  snapshot.http.requests = 22;
  snapshot.http.connections = 23;
  snapshot.http.measures.requests = {30, 31, 32, 33, 34, 35};
  snapshot.adapters.connections = 40;
  snapshot.adapters.refused_limit = 41;
  snapshot.adapters.refused_cap = 43;
  snapshot.adapters.refused_failure = 42;
  RpcMeasures rpcs;
  rpcs.StreamBegan(Rpc::kAttach);
  rpcs.Ended(Rpc::kSend, 3, microseconds(400));
  ProcessFacts process = kProcess;
  process.certificate_expiry = std::chrono::sys_seconds(seconds(32'503'680'000));  // 3000.
  const std::string text = Text(snapshot, rpcs, process);
  for (const char* line : {"build_info{version=\"1.2.3\"} 1",
                           "start_time_seconds 1700000000",
                           "open_files 7",
                           "open_files_limit 1024",
                           "resident_bytes 4096",
                           "certificate_expiry_seconds 32503680000",
                           "sessions{state=\"CONNECTING\"} 1",
                           "sessions{state=\"OPENING\"} 2",
                           "sessions{state=\"OPEN\"} 3",
                           "sessions{state=\"WAITING\"} 4",
                           "sessions{state=\"RECONNECTING\"} 5",
                           "sessions{state=\"CLOSED\"} 6",
                           "frames_total{direction=\"in\"} 11",
                           "frames_total{direction=\"out\"} 12",
                           "frame_bytes_total{direction=\"in\"} 13",
                           "frame_bytes_total{direction=\"out\"} 14",
                           "gaps_total 15",
                           "subscribers_detached_total 16",
                           "resumes_total{result=\"continued\"} 17",
                           "resumes_total{result=\"gap\"} 18",
                           "resumes_total{result=\"epoch_changed\"} 19",
                           "reconnects_total{reason=\"PEER_CLOSED\"} 1",
                           "journal_bytes 20",
                           "send_queue_bytes 21",
                           "http_requests_under_way 22",
                           "http_connections 23",
                           "http_requests_total{class=\"failed\"} 30",
                           "http_requests_total{class=\"1xx\"} 31",
                           "http_requests_total{class=\"5xx\"} 35",
                           "connections 40",
                           "accept_refused_total{reason=\"limit\"} 41",
                           "accept_refused_total{reason=\"cap\"} 43",
                           "accept_refused_total{reason=\"failure\"} 42",
                           "streams{rpc=\"Attach\"} 1",
                           "streams{rpc=\"Tail\"} 0",
                           "rpcs_total{rpc=\"Send\",code=\"INVALID_ARGUMENT\"} 1",
                           "rpcs_total{rpc=\"Send\",code=\"OK\"} 0",
                           "rpc_seconds_bucket{rpc=\"Send\",le=\"0.0005\"} 1",
                           "http_seconds_count{phase=\"tls\"} 0",
                           "heartbeat_round_trip_seconds_count 0",
                           "time_to_recover_seconds_count 0",
                           "loop_lag_seconds_count 0"})
    EXPECT_THAT(text, HasSubstr("\nfairlead_" + std::string(line) + "\n"));
}

TEST(Metrics, NoCertificateNoExpiry) { EXPECT_THAT(Text(), Not(HasSubstr("certificate_expiry"))); }

// Whoever chooses names of sessions chooses no label.
TEST(Metrics, LabelsComeFromBoundedSets) {
  Snapshot snapshot;
  RpcMeasures rpcs;
  for (int reason = 0; reason < 100; ++reason) {
    snapshot.sessions.Reconnects({.time = {},
                                  .identity = "canary-identity",
                                  .session = "canary-session" + std::to_string(reason),
                                  .reason = static_cast<Reason>(reason)});
  }
  for (int rpc = 0; rpc < static_cast<int>(kRpcs); ++rpc) {
    for (int code = 0; code < 30; ++code) rpcs.Ended(Rpc{rpc}, code, microseconds(1));
  }
  const std::string text = Text(snapshot, rpcs);
  EXPECT_THAT(text, Not(HasSubstr("canary")));
  const std::set<std::string> known = {"rpc",    "code",  "state", "reason", "direction",
                                       "result", "class", "phase", "le",     "version"};
  const std::regex label("[{,]([a-z_]+)=\"([A-Za-z0-9_.+-]*)\"");
  std::set<std::string> seen;
  for (std::sregex_iterator at(text.begin(), text.end(), label), end; at != end; ++at) {
    EXPECT_TRUE(known.contains((*at)[1])) << (*at)[1];
    seen.insert((*at)[1]);
  }
  EXPECT_EQ(seen, known);
  EXPECT_LT(std::ranges::count(text, '\n'), 800) << "everything that there can ever be";
}

TEST(ProcessUse, IsThatOfThisProcess) {
  const ProcessUse use = ReadProcessUse();
  EXPECT_GE(use.open_files, 3u);
  EXPECT_LE(use.open_files, use.open_files_limit);
  EXPECT_GT(use.resident_bytes, 1u << 20);
}

}  // namespace
}  // namespace fairlead
