// What an exchange sends behind the upgrade. Whatever it is, reading it whole and reading it in pieces finds the same,
// and nothing longer than the limit. The first byte chooses the pieces and whether compression is agreed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "policy/websocket_codec.h"

namespace fairlead {
namespace {

constexpr uint64_t kMaxMessageBytes = 10'000;

// Everything that is found, written down.
std::string Read(std::string_view bytes, size_t piece, const std::optional<DeflateTerms>& terms) {
  WebSocketReader reader(kMaxMessageBytes, terms);
  std::string found;
  while (!bytes.empty()) {
    std::string_view input = bytes.substr(0, piece);
    bytes.remove_prefix(input.size());
    for (;;) {
      const WebSocketReader::Found next = reader.Next(input);
      if (next == WebSocketReader::Found::kNothing) break;
      found += "\n" + std::to_string(static_cast<int>(next)) + " ";
      switch (next) {
        case WebSocketReader::Found::kMessage: {
          const std::string_view payload = reader.payload();
          if (payload.size() > kMaxMessageBytes) std::abort();
          if (reader.kind() == FrameKind::kText && !IsUtf8(payload)) std::abort();
          found += payload;
          break;
        }
        case WebSocketReader::Found::kClose:
          return found + std::to_string(reader.close_code()) + std::string(reader.close_reason());
        case WebSocketReader::Found::kViolation:
          return found + std::to_string(reader.violation().close_code);
        default:
          found += reader.control();
      }
    }
    if (!input.empty()) std::abort();
  }
  return found;
}

}  // namespace
}  // namespace fairlead

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::optional<fairlead::DeflateTerms> terms =
      (data[0] & 1) != 0 ? std::optional(fairlead::DeflateTerms{.server_no_context_takeover = (data[0] & 2) != 0})
                         : std::nullopt;
  const size_t piece = 1 + (data[0] >> 2);
  if (fairlead::Read(bytes, bytes.size() + 1, terms) != fairlead::Read(bytes, piece, terms)) std::abort();
  return 0;
}
