// The HTTP part of a WebSocket: the request to upgrade, and whether its answer is one to go on with (RFC 6455 section
// 4.1). Bytes in, bytes out; the transport does the rest.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/dial.h"
#include "policy/permessage_deflate.h"

namespace fairlead {

class WebSocketUpgrade {
 public:
  explicit WebSocketUpgrade(const DialRequest& request);
  ~WebSocketUpgrade();
  WebSocketUpgrade(const WebSocketUpgrade&) = delete;
  WebSocketUpgrade& operator=(const WebSocketUpgrade&) = delete;

  // What to write.
  const std::string& request() const { return request_; }

  struct Agreement {
    std::optional<DeflateTerms> deflate;
    std::string frames;  // What came behind the answer.
  };
  // Takes what has come; absent: the answer is not whole yet. At most 8 KiB of header are read.
  std::optional<std::expected<Agreement, Loss>> Feed(std::string_view bytes, WallTime now);

 private:
  struct Answer;
  std::optional<Loss> Check(WallTime now) const;

  std::string request_;
  std::string accept_;  // The Sec-WebSocket-Accept that proves a WebSocket server.
  std::vector<std::string> subprotocols_;
  bool offers_deflate_;
  std::unique_ptr<Answer> answer_;
};

}  // namespace fairlead
