// The status page: its files, and what it draws. Names, hosts, counts and reasons; no paths and queries, which may hold
// keys, no headers, no payloads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ops/process_use.h"
#include "ops/snapshot.h"

namespace fairlead {

// server/ops/page, as it was when this was built.
extern const std::string_view kStatusHtml;
extern const std::string_view kStatusCss;
extern const std::string_view kStatusJs;

// Copied from the loop, as far as the page shows it.
struct StatusListing {
  // More are counted only; those that are not OPEN come first.
  static constexpr size_t kSessions = 500;
  static constexpr size_t kPools = 200;

  struct SessionRow {
    std::string identity;
    std::string name;
    std::string epoch;
    std::string target;  // "wss://host:443"
    State state = State::kConnecting;
    uint64_t generation = 0;
    size_t subscribers = 0;
    uint64_t lag_entries = 0;  // Of the subscriber that is behind by most.
    Duration lag = Duration::zero();
    uint64_t frames_in = 0;
    uint64_t frames_out = 0;
    Reason last_failure = Reason::kUnspecified;
  };
  struct PoolRow {
    std::string identity;
    std::string origin;
    PoolCounts counts;
  };
  WallTime now;
  SteadyTime steady;
  std::vector<SessionRow> sessions;
  size_t all_sessions = 0;
  std::vector<PoolRow> pools;
  size_t all_pools = 0;
};

// Loop thread.
StatusListing TakeListing(const Shown& shown, const Clock& clock);

struct ProcessFacts;
std::string StatusJson(const StatusListing& listing, const Snapshot& snapshot, const RpcMeasures::Values& rpcs,
                       const ProcessFacts& process, const Limits& limits);

}  // namespace fairlead
