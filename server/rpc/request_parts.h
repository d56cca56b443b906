// What several requests carry: frames to be sent, and targets.
#pragma once

#include <fairlead/v1/session.pb.h>

#include <string>
#include <string_view>

#include "base/limits.h"
#include "policy/framing.h"
#include "rpc/checker.h"
#include "session/options.h"

namespace fairlead {

inline constexpr size_t kMaxControlPayload = 125;  // RFC 6455 section 5.5.

// The framing of a raw socket's session; null for WebSocket.
const Framing* RawFraming(const SessionOptions& session);
void CheckRaw(Checker& check, const Framing& framing, std::string_view payload, const std::string& path);
// The kind of a frame to be sent, which is checked with it. `path` is the message that has both fields.
FrameKind ParseFrame(Checker& check, const Framing* raw, v1::FrameKind kind, std::string_view payload,
                     const std::string& path);
// URL and headers. `prefix` stands before "target" in messages.
Target CheckTarget(Checker& check, const v1::Target& target, const Limits& limits, const std::string& prefix);

}  // namespace fairlead
