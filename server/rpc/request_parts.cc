#include "rpc/request_parts.h"

#include <utility>

#include "policy/upgrade.h"
#include "policy/utf8.h"

namespace fairlead {

const Framing* RawFraming(const SessionOptions& session) {
  return session.url.IsRawSocket() ? &session.socket.framing : nullptr;
}

void CheckRaw(Checker& check, const Framing& framing, std::string_view payload, const std::string& path) {
  if (auto fits = CheckFrame(framing, payload); !fits) check.Adopt(fits.error(), path + ": ");
}

FrameKind ParseFrame(Checker& check, const Framing* raw, v1::FrameKind kind, std::string_view payload,
                     const std::string& path) {
  check.Require(v1::FrameKind_IsValid(kind), path + ".kind", "is not a FrameKind");
  if (raw != nullptr) {
    check.Require(kind != v1::FRAME_KIND_TEXT, path + ".kind", "a raw socket has no text frames: leave it out");
    CheckRaw(check, *raw, payload, path + ".payload");
    return FrameKind::kBinary;
  }
  if (kind == v1::FRAME_KIND_BINARY) return FrameKind::kBinary;
  check.Require(IsUtf8(payload), path + ".payload", "a text frame must be UTF-8 (RFC 6455 section 5.6)");
  return FrameKind::kText;
}

Target CheckTarget(Checker& check, const v1::Target& target, const Limits& limits, const std::string& prefix) {
  Target parsed;
  if (!check.failed()) {
    if (auto url = ParseTarget(target.url(), limits.url_bytes)) {
      parsed.url = std::move(*url);
    } else {
      check.Adopt(url.error(), prefix);
    }
  }
  check.Require(!parsed.url.IsRawSocket() || target.headers().empty(), prefix + "target.headers",
                "a raw socket has none");
  for (const v1::Header& header : target.headers()) parsed.headers.emplace_back(header.name(), header.value());
  if (auto headers = CheckUpgradeHeaders(parsed.headers, limits.header_bytes); !headers)
    check.Adopt(headers.error(), prefix);
  return parsed;
}

}  // namespace fairlead
