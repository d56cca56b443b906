// permessage-deflate (RFC 7692) on zlib: compresses what the exchange sends and inflates what it receives.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace exchange {

// The sending side of one connection.
class Deflater {
 public:
  // `window_bits`: 9 to 15 (section 7.1.2.1). `keep_context`: messages refer to earlier ones; else each stands alone.
  Deflater(int window_bits, bool keep_context);
  ~Deflater();
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  // One message, without the 00 00 ff ff that the receiver adds (section 7.2.1). Valid until the next call.
  std::string_view Compress(std::string_view payload);

 private:
  const bool keep_context_;
  z_stream stream_{};
  std::string output_;
};

// Inflates one message that stands alone (the exchange always asks for client_no_context_takeover).
// Empty optional: not a deflate stream, or longer than `max_bytes`.
std::optional<std::string> Inflate(std::string_view compressed, uint64_t max_bytes);

// A compressed message that inflates to `size` zero bytes; costs about a thousandth of that in time and memory.
std::string CompressedZeros(uint64_t size);

}  // namespace exchange
