// What the process counts of itself, for the admin port: docs/observability.md names each. Who does the work counts it,
// in plain integers; ops/ copies them when somebody asks.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/failure.h"
#include "base/time.h"

namespace fairlead {

// How many spans there were of each length. One thread.
class Histogram {
 public:
  static constexpr size_t kMostBounds = 15;

  // The bounds, at most kMostBounds, ascend and outlive it.
  explicit Histogram(std::span<const Duration> bounds) : bounds_(bounds) {}

  void Observe(Duration span) {
    span = std::max(span, Duration::zero());
    size_t bucket = 0;
    while (bucket < bounds_.size() && span > bounds_[bucket]) ++bucket;
    ++counts_[bucket];
    sum_ += span;
  }

  std::span<const Duration> bounds() const { return bounds_; }
  // Of the spans that are no longer than this bound and longer than the one before; of the rest, behind the last.
  uint64_t count(size_t bucket) const { return counts_[bucket]; }
  Duration sum() const { return sum_; }

 private:
  std::span<const Duration> bounds_;
  std::array<uint64_t, kMostBounds + 1> counts_ = {};
  Duration sum_ = Duration::zero();
};

// Within the process, from 50 us.
std::span<const Duration> ShortSpans();
// Over a network, from 500 us.
std::span<const Duration> LongSpans();
// Of outages, from 50 ms.
std::span<const Duration> OutageSpans();

// Loop thread.
struct SessionMeasures {
  std::array<uint64_t, 7> states = {};  // Sessions that are in each, by the number of the State.
  uint64_t frames_in = 0;
  uint64_t frames_out = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t gaps = 0;      // Told to subscribers.
  uint64_t detached = 0;  // Subscribers, because they overflowed.
  uint64_t resumed_continued = 0;
  uint64_t resumed_with_gap = 0;
  uint64_t resumed_epoch_changed = 0;
  Histogram recovery{OutageSpans()};  // From a loss until OPEN again.
  Histogram heartbeat_round_trip{LongSpans()};

  // A transport that ended, or could not be had, and is, or was, replaced.
  struct Reconnect {
    WallTime time;
    std::string identity;
    std::string session;
    uint64_t generation = 0;
    Reason reason = Reason::kUnspecified;
  };
  static constexpr size_t kLatest = 20;
  std::map<Reason, uint64_t> reconnects = {};
  std::deque<Reconnect> latest_reconnects = {};  // The newest last.

  void Reconnects(Reconnect reconnect) {
    ++reconnects[reconnect.reason];
    latest_reconnects.push_back(std::move(reconnect));
    if (latest_reconnects.size() > kLatest) latest_reconnects.pop_front();
  }
};

// Loop thread.
struct HttpMeasures {
  std::array<uint64_t, 6> requests = {};  // By the first digit of their status; 0: there was no answer.
  // Of requests with an answer; of those for which a connection was made, also the three of making it.
  Histogram pool_wait{LongSpans()};
  Histogram resolve{LongSpans()};
  Histogram connect{LongSpans()};
  Histogram tls{LongSpans()};
  Histogram first_byte{LongSpans()};
  Histogram total{LongSpans()};
};

// Of fairlead.v1's services.
enum class Rpc {
  kAttach,
  kTail,
  kListSessions,
  kGetSession,
  kCloseSession,
  kSend,
  kPipeline,
  kDownload,
  kAcquire,
  kListQuotas,
  kReportUsage,
};
inline constexpr size_t kRpcs = 11;
// "ListSessions".
std::string_view Name(Rpc rpc);
inline constexpr size_t kStatusCodes = 17;
// "UNAVAILABLE", of gRPC's.
std::string_view CodeName(int code);

// Any thread.
class RpcMeasures {
 public:
  struct Values {
    std::array<std::array<uint64_t, kStatusCodes>, kRpcs> ended = {};
    std::array<uint64_t, kRpcs> streams = {};                                     // That are open.
    std::vector<Histogram> seconds = std::vector(kRpcs, Histogram(LongSpans()));  // Of those that are no streams.
  };

  void StreamBegan(Rpc rpc) {
    const std::lock_guard lock(mutex_);
    ++values_.streams[static_cast<size_t>(rpc)];
  }
  // code: gRPC's.
  void StreamEnded(Rpc rpc, int code) {
    const std::lock_guard lock(mutex_);
    --values_.streams[static_cast<size_t>(rpc)];
    Count(rpc, code);
  }
  void Ended(Rpc rpc, int code, Duration took) {
    const std::lock_guard lock(mutex_);
    Count(rpc, code);
    values_.seconds[static_cast<size_t>(rpc)].Observe(took);
  }
  Values Copy() const {
    const std::lock_guard lock(mutex_);
    return values_;
  }

 private:
  void Count(Rpc rpc, int code) {
    ++values_.ended[static_cast<size_t>(rpc)][std::min(static_cast<size_t>(code), kStatusCodes - 1)];
  }

  mutable std::mutex mutex_;
  Values values_;
};

// Of adapters. Loop thread.
struct AdapterMeasures {
  uint32_t connections = 0;      // That are open.
  uint64_t refused_limit = 0;    // Connections, because of limits.connections.
  uint64_t refused_cap = 0;      // Because of policies[].max_connections.
  uint64_t refused_failure = 0;  // Because of the system: no descriptor, no memory.
  // From the read that brought a batch's oldest frame to the write of the batch; what a subscriber is given of the past
  // does not count.
  Histogram added_latency{ShortSpans()};
};

}  // namespace fairlead
