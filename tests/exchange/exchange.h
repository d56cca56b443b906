// The simulated exchange: a server of WebSocket, HTTP and raw sockets that sends numbered feeds and recordings, answers
// requests, misbehaves on demand, and remembers what it sent and received. README.md describes feeds and endpoints
// (chosen by URL), the faults and the control endpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace exchange {

struct Options {
  std::string address = "127.0.0.1";  // of all listeners
  uint16_t ws_port = 0;               // 0 = any free one
  uint16_t wss_port = 0;
  uint16_t http_port = 0;
  uint16_t https_port = 0;
  uint16_t tcp_port = 0;
  uint16_t tls_port = 0;
  uint16_t control_port = 0;
  std::string recordings;         // directory; empty = $FAIRLEAD_RECORDINGS, else ../shared/recordings
  uint64_t max_records = 10'000;  // connections remembered; then the oldest closed one is forgotten, and counted
  uint64_t max_received_bytes =
      64ull << 20;  // of received payloads kept, all connections together; then they are only counted
};

// What the control endpoint answers: an HTTP status and a JSON object.
struct ControlReply {
  int status = 200;
  std::string json;
};

// Runs on a thread of its own from construction to destruction, which resets all connections. Public methods: any
// thread.
class Exchange {
 public:
  // Throws std::exception when a port cannot be had.
  explicit Exchange(const Options& options = {});
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  uint16_t ws_port() const;
  uint16_t wss_port() const;
  uint16_t http_port() const;
  uint16_t https_port() const;
  uint16_t tcp_port() const;
  uint16_t tls_port() const;
  uint16_t control_port() const;
  const std::string& ca_pem() const;  // what a client must trust for wss, https and tls; made anew for each Exchange
  // "ws://127.0.0.1:PORT/idle" for Url("/idle"); "wss://localhost:PORT/idle" with `tls`.
  std::string Url(const std::string& target, bool tls = false) const;
  std::string HttpUrl(const std::string& target) const;   // "http://127.0.0.1:PORT/echo"
  std::string HttpsUrl(const std::string& target) const;  // "https://localhost:PORT/echo"
  std::string TcpUrl() const;                             // "tcp://127.0.0.1:PORT": the preamble chooses the feed
  std::string TlsUrl() const;                             // "tls://localhost:PORT"

  // The same as an HTTP request to the control port: Control("POST", "/fault",
  // R"({"connection":"all","kind":"drop"})"). Waits until it is done. Never throws; what is wrong is a status of 4xx
  // with {"error": ...}.
  ControlReply Control(const std::string& method, const std::string& path, const std::string& json = "");

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace exchange
