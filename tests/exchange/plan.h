// What a client asks for by the path and query of its upgrade request: a feed, its pace, and how the connection
// misbehaves.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace exchange {

// The parameters of a query, or of a JSON object of the control endpoint: the same names mean the same in both.
using Parameters = std::map<std::string, std::string>;

// One way to misbehave. README.md describes each.
struct Fault {
  enum class Kind {
    kDrop,           // FIN without a close frame
    kPartial,        // half a frame, then FIN, or RST with `reset`
    kReset,          // RST
    kResetAtByte,    // RST after byte `byte` of what follows the upgrade response
    kStall,          // no more feed; pongs go on
    kHalfClose,      // FIN, but keeps reading
    kClose,          // close frame with `code` and `reason`
    kCorrupt,        // one forbidden frame or length, `corruption`; then the feed goes on
    kSilent,         // not one more byte, not even pongs; keeps reading
    kNoPong,         // no pongs and no `reply`; the feed goes on
    kNeverRead,      // reads no more
    kNeverUpgrade,   // no answer to the upgrade; at connect only
    kSlowHandshake,  // answers the upgrade after `delay`; at connect only
    kLift,           // ends stall, silent, no_pong and never_read; on demand only
  };
  enum class Corruption {
    kOpcode,
    kMasked,
    kRsv,
    kUtf8,
    kContinuation,
    kLongPing,
    kShortLength,  // of a raw socket: below its own width
    kLongLength,   // of a raw socket: all bits set
  };

  Kind kind = Kind::kDrop;
  uint64_t byte = 0;
  uint16_t code = 1000;
  bool reset = false;
  std::string reason{};
  Corruption corruption = Corruption::kOpcode;
  std::chrono::milliseconds delay{0};
};

std::string_view FaultName(Fault::Kind kind);

// Reads and removes the parameters of fault `name`: byte, code, reason, corruption, ms. The error says what is wrong.
std::expected<Fault, std::string> TakeFault(const std::string& name, Parameters& parameters);

// How the bytes of a raw socket are cut into frames, in both directions.
struct Framing {
  enum class Kind { kDelimiter, kLength, kNone };
  Kind kind = Kind::kDelimiter;
  std::string delimiter = "\r\n";
  uint64_t width = 4;  // bytes of a length
  bool big_endian = true;
  bool counts_itself = false;
};

struct Plan {
  enum class Feed { kNumbered, kSynthetic, kRecording, kEcho, kIdle, kBig, kBomb, kEndless };
  enum class Login { kNone, kAccept, kReject, kMute };
  enum class Compression { kOff, kOn, kWithContext };

  Feed feed = Feed::kIdle;
  std::string feed_name = "default";  // empty: a feed of this connection's own, numbered from 1
  double rate = 0;                    // messages a second; 0 = flat out
  uint64_t count = 0;                 // 0 = endless (recording: all of it)
  uint64_t burst = 1;                 // messages that are due at once, `rate` / `burst` times a second
  bool stamp = false;                 // numbered: the time at which it was due follows the number
  uint64_t size = 0;                  // bytes of a message
  uint64_t seed = 1;
  std::string recording;
  double speed = 0;                          // of a recording: 0 = flat out, 1 = as recorded, N = N times faster
  Framing framing{};                         // of a raw socket
  uint64_t fragment = 0;                     // payload bytes of a frame; 0 = a message is one frame
  uint64_t write = 0;                        // bytes of one write; 0 = as many as there are
  std::chrono::microseconds write_pause{0};  // between writes
  std::string reply_to;                      // a received frame that contains it is answered with `reply`; empty = none
  std::string reply;
  bool await_subscribe = false;
  Login login = Login::kNone;
  Compression compression = Compression::kOff;
  std::optional<std::string> subprotocol;  // absent: the first one offered; "none": none
  std::optional<uint16_t> close_code;      // how the connection ends when the feed does; absent: it stays open
  int status = 101;                        // answer of the upgrade
  std::string retry_after;                 // Retry-After header; empty = none
  std::optional<Fault> fault;
  std::optional<uint64_t> fault_after_frames;
  std::optional<std::chrono::milliseconds> fault_after_time;  // since the upgrade; without either, at once
};

// Undoes percent-encoding and splits "/path?a=b&c=d"; the error says what is wrong.
struct Target {
  std::string path;
  Parameters query;
};
std::expected<Target, std::string> ParseTarget(std::string_view target);

// Unknown parameters are errors, except `tag` and `token`, which only mark a connection for its test. `raw`: for a raw
// socket, which has other parameters than a WebSocket.
std::expected<Plan, std::string> ParsePlan(const Target& target, bool raw);

}  // namespace exchange
