// What a pool of HTTP connections does next: one decision from five counts. Pools serve in order of arrival and never
// have more connections than they may.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/limits.h"
#include "base/time.h"

namespace fairlead {

// Of fairlead.config.v1.Http, which documents each.
struct HttpOptions {
  uint32_t connections_per_pool = 64;
  uint32_t waiting_per_pool = 1'000;
  Duration idle_timeout = std::chrono::seconds(30);
  Duration dial_timeout = std::chrono::seconds(10);
  uint64_t response_bytes = 3 * kMiB;
  uint64_t response_header_bytes = 64 * kKiB;

  // What a gRPC message has room for beside the headers, which grow by some bytes each in it.
  uint64_t MostResponseBytes(const Limits& limits) const {
    return limits.message_bytes - 2 * response_header_bytes - 4 * kKiB;
  }

  friend bool operator==(const HttpOptions&, const HttpOptions&) = default;
};

struct PoolCounts {
  size_t idle = 0;      // Connections that carry nothing.
  size_t busy = 0;      // Connections that carry a request, those that settle included.
  size_t dialling = 0;  // Connections that are being made.
  size_t waiting = 0;   // Requests without a connection.
  size_t room = 0;      // Connections that the total over all pools still allows.
  size_t settling = 0;  // Connections that have been answered, and are idle or gone in the loop's next turn.

  // Connections that are on their way to a waiting request.
  size_t coming() const { return dialling + settling; }
};

// How many dials to begin now: one for each waiting request that no connection is coming for, as far as the pool's cap
// and the total's room allow.
inline size_t DialsToBegin(const PoolCounts& counts, const HttpOptions& options) {
  const size_t open = counts.idle + counts.busy + counts.dialling;
  const size_t below_cap = options.connections_per_pool > open ? options.connections_per_pool - open : 0;
  const size_t unserved = counts.waiting > counts.coming() ? counts.waiting - counts.coming() : 0;
  return std::min({unserved, below_cap, counts.room});
}

// Whether one more request may come: it gets an idle connection or one that settles, a dial (perhaps one whose request
// is gone), or a place in the queue.
inline bool MayCome(const PoolCounts& counts, const HttpOptions& options) {
  if (counts.idle + counts.coming() > counts.waiting) return true;
  PoolCounts with = counts;
  ++with.waiting;
  if (DialsToBegin(with, options) > 0) return true;
  // Those that a connection is coming for do not wait for others to finish.
  const size_t queued = counts.waiting > counts.coming() ? counts.waiting - counts.coming() : 0;
  return queued < options.waiting_per_pool;
}

// Whether a connection is on its way to the waiting request at this place, from 0: then it does not wait for one to
// become free, and max_wait does not apply.
inline bool IsComingFor(size_t place, const PoolCounts& counts) { return place < counts.coming(); }

}  // namespace fairlead
