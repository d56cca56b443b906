// Every bound of the process, as plain values with the defaults of config.proto, which documents each.
// docs/configuration.md is for operators.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/time.h"

namespace fairlead {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

// What reaches a limit is refused with Reason::kLimitReached, and the message names the field as "limits.sessions".
// None is zero, but for new_streams_per_second.
struct Limits {
  std::uint32_t sessions = 10'000;               // Live ones.
  std::uint32_t streams = 1'000;                 // Attach and Tail together.
  std::uint32_t new_streams_per_second = 1'000;  // Zero: as many as come.
  std::uint32_t channels_per_stream = 1'000;
  std::uint32_t subscribers_per_session = 1'000;
  std::uint32_t connections = 1'000;                  // Of adapters, over all listeners.
  std::uint64_t message_bytes = 64 * kMiB;            // One gRPC message, in and out.
  std::uint64_t journal_bytes = 256 * kMiB;           // The most that one Open may ask for.
  std::uint64_t total_journal_bytes = 2 * kGiB;       // All journals together.
  std::uint64_t send_queue_bytes = 16 * kMiB;         // Waiting sends of one session: payload and 64 bytes each.
  std::uint64_t total_send_queue_bytes = 256 * kMiB;  // The same over all sessions.
  std::uint32_t setup_steps = 1'000;                  // Of one session.
  std::uint64_t setup_bytes = 1 * kMiB;               // Their payloads and matches together.
  std::uint64_t header_bytes = 16 * kKiB;             // Headers of one upgrade or request, names and values together.
  std::uint64_t url_bytes = 8 * kKiB;
  std::uint32_t waiting_events = 10'000;  // Results and pongs of one stream that wait to be sent.
  Duration stuck_write = std::chrono::minutes(5);
  Duration linger = std::chrono::minutes(60);  // The most that one Open may ask for.
  std::uint32_t unanswered_pings = 16;         // Ping commands of one session whose pong has not come.
  std::uint32_t dedupe_keys = 65'536;          // Of one session, about 100 bytes each.
  std::uint32_t requests = 10'000;             // HTTP requests at once, waiting ones included.
  std::uint32_t http_connections = 1'000;      // To exchanges, over all pools.
  std::uint64_t total_body_bytes = 1 * kGiB;   // Of requests under way and of responses that are being read.

  friend bool operator==(const Limits&, const Limits&) = default;
};

}  // namespace fairlead
