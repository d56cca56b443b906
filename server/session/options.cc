#include "session/options.h"

namespace fairlead {

Result<void> CheckAgree(const SessionOptions& live, const SessionOptions& wanted) {
  const auto differs = [](const char* field) {
    return NotSent(Reason::kSessionLive, std::string(field) +
                                             ": differs from that of the live session of this name; close that first, "
                                             "or take another name");
  };
  if (live.url.Redacted() != wanted.url.Redacted()) return differs("open.target.url (but for its query)");
  if (live.websocket.subprotocols != wanted.websocket.subprotocols) return differs("open.websocket.subprotocols");
  if (live.websocket.permessage_deflate != wanted.websocket.permessage_deflate)
    return differs("open.websocket.permessage_deflate");
  if (live.websocket.max_message_bytes != wanted.websocket.max_message_bytes)
    return differs("open.websocket.max_message_bytes");
  if (live.socket.framing != wanted.socket.framing) return differs("open.socket.framing");
  if (live.socket.max_frame_bytes != wanted.socket.max_frame_bytes) return differs("open.socket.max_frame_bytes");
  if (live.socket.preamble != wanted.socket.preamble) return differs("open.socket.preamble");
  return {};
}

}  // namespace fairlead
