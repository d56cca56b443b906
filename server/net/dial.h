// Makes transports: name, egress check, connection, TLS, and upgrade or preamble, under one timeout.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/current.h"
#include "base/frame.h"
#include "net/transport.h"
#include "policy/access.h"
#include "policy/framing.h"

namespace fairlead {

// Of fairlead.v1.WebSocketOptions, which documents each.
struct WebSocketOptions {
  std::vector<std::string> subprotocols = {};
  bool permessage_deflate = false;
  uint64_t max_message_bytes = 3u << 20;
  friend bool operator==(const WebSocketOptions&, const WebSocketOptions&) = default;
};

// Of fairlead.v1.SocketOptions, which documents each.
struct SocketOptions {
  Framing framing = Delimiter{};
  uint64_t max_frame_bytes = 3u << 20;
  std::string preamble = {};
  friend bool operator==(const SocketOptions&, const SocketOptions&) = default;
};

struct DialRequest {
  std::string identity;  // Whose.
  TargetUrl url;
  std::vector<RequestHeader> headers;
  WebSocketOptions websocket;  // Of ws and wss.
  SocketOptions socket;        // Of tcp and tls.
  Duration timeout = std::chrono::seconds(10);
  std::optional<IpAddress> avoid = std::nullopt;  // Comes last, if the name has others.
};

// A dial under way; destroying it abandons the dial, and its callback does not come.
class Dialling {
 public:
  virtual ~Dialling() = default;
};

// Loop thread.
class Dialler {
 public:
  using Done = std::function<void(std::expected<std::unique_ptr<Transport>, Loss>)>;

  virtual ~Dialler() = default;
  // done comes once, never from within the call. A Loss says whether trying again can help; nothing of any frame was
  // sent.
  virtual std::unique_ptr<Dialling> Dial(DialRequest request, Done done) = 0;
};

class Loop;
class TlsClient;

// The real one. The arguments outlive it.
std::unique_ptr<Dialler> MakeDialler(Loop& loop, const Current<Access>& access, TlsClient& tls);

}  // namespace fairlead
