// What is measured on the loop, copied in one of its turns.
#pragma once

#include <string>
#include <vector>

#include "base/limits.h"
#include "base/measures.h"
#include "http/engine.h"
#include "session/registry.h"

namespace fairlead {

// What the admin port shows. Everything outlives it; but for rpcs it is the loop's.
struct Shown {
  Registry& registry;
  HttpEngine& http;
  const AdapterMeasures& adapters;
  const RpcMeasures& rpcs;
  const Limits& limits;
};

struct Snapshot {
  SessionMeasures sessions;
  uint64_t journal_bytes = 0;
  uint64_t send_queue_bytes = 0;
  HttpTotals http;
  AdapterMeasures adapters;
  Histogram loop_lag{ShortSpans()};
};

// Loop thread.
inline Snapshot TakeSnapshot(const Shown& shown, const Histogram& loop_lag) {
  return {.sessions = shown.registry.measures(),
          .journal_bytes = shown.registry.journal_bytes(),
          .send_queue_bytes = shown.registry.send_queue_bytes(),
          .http = shown.http.totals(),
          .adapters = shown.adapters,
          .loop_lag = loop_lag};
}

}  // namespace fairlead
