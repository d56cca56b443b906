// The measures as Prometheus reads them. Names and labels are a contract: docs/observability.md. Labels come from sets
// that are bounded by the code: RPCs, gRPC's codes, states, reasons; never a name that somebody chose.
#pragma once

#include <optional>
#include <string>

#include "ops/process_use.h"
#include "ops/snapshot.h"

namespace fairlead {

struct ProcessFacts {
  std::string version;
  WallTime started;
  ProcessUse use;
  std::optional<std::chrono::sys_seconds> certificate_expiry;  // Some are beyond what a WallTime can tell.
};

// The text format, version 0.0.4.
std::string MetricsText(const Snapshot& snapshot, const RpcMeasures::Values& rpcs, const ProcessFacts& process);
inline constexpr auto kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace fairlead
