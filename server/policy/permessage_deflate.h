// permessage-deflate (RFC 7692) as a client: what is offered and agreed, and the compression itself, on zlib.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/failure.h"

namespace fairlead {

// What both sides have agreed (section 7.1).
struct DeflateTerms {
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  int client_max_window_bits = 15;
  friend bool operator==(const DeflateTerms&, const DeflateTerms&) = default;
};

// What we put into Sec-WebSocket-Extensions.
inline constexpr std::string_view kDeflateOffer = "permessage-deflate; client_max_window_bits";

// The exchange's Sec-WebSocket-Extensions, several of them joined by commas; empty: none. What was not offered may not
// be in it (RFC 6455 section 4.1, point 5 of the client's checks). Absent: no compression.
Result<std::optional<DeflateTerms>> ReadDeflateAnswer(std::string_view answer, bool offered);

// The messages that one connection receives. Takes no memory before the first.
class Inflater {
 public:
  explicit Inflater(const DeflateTerms& terms) : keeps_context_(!terms.server_no_context_takeover) {}

  enum class Verdict { kGood, kTooLong, kCorrupt };
  // Appends to `out` what this piece of a message inflates to. Gives up when `out` has more than max_bytes, or the
  // message, compressed, is absurdly long for that. After a verdict other than good the inflater is of no use.
  Verdict Feed(std::string_view piece, std::string& out, uint64_t max_bytes);
  // The message is over (section 7.2.2).
  Verdict Finish(std::string& out, uint64_t max_bytes);

 private:
  struct End {
    void operator()(z_stream* stream) const;
  };
  Verdict Inflate(std::string_view piece, std::string& out, uint64_t max_bytes);
  // Begins the next deflate stream of the same message, with the window of the last (section 7.2.3.4).
  bool Continue();

  const bool keeps_context_;
  std::unique_ptr<z_stream, End> stream_;
  uint64_t compressed_bytes_ = 0;  // Of this message.
};

// The messages that one connection sends. Takes no memory before the first.
class Deflater {
 public:
  explicit Deflater(const DeflateTerms& terms) : terms_(terms) {}

  // A message as it goes out, to be marked as compressed; absent: it goes out as it is.
  std::optional<std::string> Compress(std::string_view message);

 private:
  struct End {
    void operator()(z_stream* stream) const;
  };

  const DeflateTerms terms_;
  std::unique_ptr<z_stream, End> stream_;
};

}  // namespace fairlead
