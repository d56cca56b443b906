// The simulated exchange: a WebSocket server that sends numbered feeds and recordings, misbehaves on demand, and
// remembers what it sent and received. README.md describes the feeds (chosen by URL), the faults and the control
// endpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace exchange {

struct Options {
  std::string address = "127.0.0.1";  // of all three listeners
  uint16_t ws_port = 0;               // 0 = any free one
  uint16_t wss_port = 0;
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
  uint16_t control_port() const;
  const std::string& ca_pem() const;  // what a client must trust for wss; made anew for each Exchange
  // "ws://127.0.0.1:PORT/idle" for Url("/idle"); "wss://localhost:PORT/idle" with `tls`.
  std::string Url(const std::string& target, bool tls = false) const;

  // The same as an HTTP request to the control port: Control("POST", "/fault",
  // R"({"connection":"all","kind":"drop"})"). Waits until it is done. Never throws; what is wrong is a status of 4xx
  // with {"error": ...}.
  ControlReply Control(const std::string& method, const std::string& path, const std::string& json = "");

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace exchange
