// What the exchange remembers of its connections, for tests to compare with. Bounded, and says so where it had to omit.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "exchange/websocket.h"

namespace exchange {

int64_t UnixNanoseconds();

using Headers = std::vector<std::pair<std::string, std::string>>;

struct ReceivedFrame {
  uint64_t index = 0;  // among the connection's frames of this list, from 1
  Opcode opcode = Opcode::kText;
  std::string payload;  // of the whole message, inflated
  int64_t at_unix_ns = 0;
};

struct ConnectionRecord {
  enum class State { kHandshake, kOpen, kClosed };

  uint64_t id = 0;  // from 1, in the order of acceptance
  State state = State::kHandshake;
  std::string kind;         // ws, wss, tcp, tls
  std::string server_name;  // SNI; empty = none
  std::string target;       // path and query, as received in the upgrade request or the preamble
  Headers headers;          // of the upgrade request, as received
  int status = 0;           // of the upgrade's answer; 0 = none yet
  std::string subprotocol;  // negotiated
  std::string extensions;   // negotiated
  int64_t accepted_at_unix_ns = 0;
  int64_t opened_at_unix_ns = 0;  // upgrade answered; 0 = never
  int64_t closed_at_unix_ns = 0;  // 0 = not yet

  // Sent: handed to the kernel or on its way there. After a reset the last of it may not have arrived.
  uint64_t frames_sent = 0;       // messages, control frames not counted
  uint64_t feed_frames_sent = 0;  // those of the feed (and echoes), without answers to login and subscribe, and /send
  uint64_t bytes_sent = 0;        // after the upgrade response, before TLS
  uint64_t first_number = 0;      // 0 = none
  uint64_t last_number = 0;

  uint64_t frames_received = 0;  // messages; `frames` holds those that were kept
  uint64_t pings_received = 0;
  uint64_t pongs_received = 0;
  std::vector<ReceivedFrame> frames;
  std::vector<ReceivedFrame> pings;
  std::vector<ReceivedFrame> pongs;
  uint64_t omitted =
      0;  // frames, pings and pongs received but not kept, because all kept payloads together are at their limit

  std::string closed_by;  // peer_close, peer_eof, peer_reset, exchange_close, fault:NAME, accept:MODE, status,
                          // protocol_error, shutdown
  std::optional<uint16_t> close_code_received;  // 1005 = a close frame without a code
  std::string close_reason_received;
  std::optional<uint16_t> close_code_sent;
  std::string protocol_error;       // how the client broke RFC 6455, the framing or the preamble; empty = not
  std::vector<std::string> faults;  // applied, in order

  uint64_t kept_bytes = 0;

  bool raw() const { return kind == "tcp" || kind == "tls"; }
};

// Loop thread.
class Records {
 public:
  Records(size_t max_connections, uint64_t max_bytes) : max_connections_(max_connections), max_bytes_(max_bytes) {}

  std::shared_ptr<ConnectionRecord> Add();
  // Files a frame in its connection's record, or counts it as omitted.
  void Receive(ConnectionRecord& record, Opcode opcode, std::string payload);
  // Forgets the closed connections.
  void Forget();

  const std::deque<std::shared_ptr<ConnectionRecord>>& all() const { return records_; }  // oldest first
  uint64_t forgotten() const { return forgotten_; }  // records that had to make room
  uint64_t omitted() const { return omitted_; }      // frames, over all connections

 private:
  const size_t max_connections_;
  const uint64_t max_bytes_;
  std::deque<std::shared_ptr<ConnectionRecord>> records_;
  uint64_t last_id_ = 0;
  uint64_t bytes_ = 0;
  uint64_t forgotten_ = 0;
  uint64_t omitted_ = 0;
};

}  // namespace exchange
