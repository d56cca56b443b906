// What the exchange remembers of HTTP: connections, requests whole or not, orders. Bounded, and says so where it had to
// omit.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "exchange/record.h"

namespace exchange {

struct HttpConnectionRecord {
  uint64_t id = 0;   // from 1, in the order of acceptance
  std::string kind;  // http, https
  std::string server_name;
  int64_t accepted_at_unix_ns = 0;
  int64_t closed_at_unix_ns = 0;  // 0 = not yet
  std::string closed_by;  // peer_eof, peer_reset, exchange_close, fault:NAME, accept:MODE, protocol_error, shutdown
  std::string protocol_error;   // how the client broke RFC 9112; empty = not
  uint64_t requests = 0;        // begun
  bool pipelined = false;       // at least one of them was
  uint64_t bytes_received = 0;  // of requests, before TLS
  uint64_t bytes_sent = 0;      // handed to the kernel, before TLS
};

struct HttpRequestRecord {
  uint64_t id = 0;  // from 1, in the order of their first bytes
  uint64_t connection = 0;
  uint64_t index = 0;  // on its connection, from 1
  std::string method;  // empty until the request line is whole
  std::string target;
  std::string order;  // the id of an order; empty = none
  Headers headers;    // as received; empty until the head is whole
  uint64_t bytes_received = 0;
  bool complete = false;
  bool pipelined = false;  // its first byte came before the answer to the one before it had gone
  uint64_t body_bytes = 0;
  std::string body_sha256;      // in hexadecimal; empty = no body
  std::string body;             // unless omitted
  bool body_omitted = false;    // all kept payloads together are at their limit
  std::string fault;            // applied to it
  int status = 0;               // of the answer; 0 = none yet, or raw bytes
  uint64_t response_bytes = 0;  // handed to the kernel; after a reset the last of it may not have arrived
  bool response_complete = false;
  int64_t begun_at_unix_ns = 0;
  int64_t received_at_unix_ns = 0;  // whole; 0 = not
  int64_t answered_at_unix_ns = 0;  // whole; 0 = not

  uint64_t kept_bytes = 0;
};

struct HttpCounts {
  uint64_t connections_opened = 0;
  uint64_t connections_open = 0;
  uint64_t connections_most_open = 0;
  uint64_t requests_complete = 0;
  uint64_t requests_incomplete = 0;  // of closed connections
  uint64_t requests_pipelined = 0;
  uint64_t protocol_errors = 0;
  uint64_t forgotten_connections = 0;
  uint64_t forgotten_requests = 0;
  uint64_t omitted_orders = 0;  // whose id is one too many to be remembered
};

// Loop thread.
class HttpRecords {
 public:
  HttpRecords(size_t max_records, uint64_t max_bytes) : max_records_(max_records), max_bytes_(max_bytes) {}

  std::shared_ptr<HttpConnectionRecord> Open();
  void Closed(HttpConnectionRecord& connection, const std::string& why);
  std::shared_ptr<HttpRequestRecord> Begin(HttpConnectionRecord& connection, bool pipelined);
  // The request has ended, whole or not, with this body so far.
  void End(HttpRequestRecord& request, bool complete, std::string body);
  void ProtocolError(HttpConnectionRecord& connection, const std::string& text);
  // Forgets closed connections, their requests, all orders and counts.
  void Forget();

  const std::deque<std::shared_ptr<HttpConnectionRecord>>& connections() const { return connections_; }
  const std::deque<std::shared_ptr<HttpRequestRecord>>& requests() const { return requests_; }
  const std::map<std::string, uint64_t>& orders() const { return orders_; }  // how often each was received whole
  const HttpCounts& counts() const { return counts_; }

 private:
  const size_t max_records_;
  const uint64_t max_bytes_;
  std::deque<std::shared_ptr<HttpConnectionRecord>> connections_;
  std::deque<std::shared_ptr<HttpRequestRecord>> requests_;
  std::map<std::string, uint64_t> orders_;
  HttpCounts counts_;
  uint64_t last_connection_ = 0;
  uint64_t last_request_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace exchange
