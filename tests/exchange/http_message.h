// HTTP/1.1 requests (RFC 9112), read strictly: a test wants to hear of a client that breaks the rules. No I/O.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "exchange/upgrade.h"

namespace exchange {

// `head`: everything up to and with the empty line. The error names the rule that is broken.
std::expected<HttpRequest, std::string> ParseStrictly(std::string_view head);

// The target of a request line, or what there is of it; empty = the line is malformed.
std::string_view TargetOf(std::string_view request_line);

// A request's body as it comes in (RFC 9112 section 6).
class BodyReader {
 public:
  // None, so many bytes, or chunked, as the head says. The error names the rule that is broken.
  std::expected<void, std::string> Begin(const HttpRequest& request);

  // Takes bytes from the front of `input` and appends what they carry to `body`; returns how many it took.
  std::expected<size_t, std::string> Take(std::string_view input, std::string& body);
  bool done() const { return phase_ == Phase::kDone; }

 private:
  enum class Phase { kSize, kData, kDataEnd, kTrailer, kDone };

  std::expected<void, std::string> TakeLine(std::string_view line);

  bool chunked_ = false;
  Phase phase_ = Phase::kDone;
  uint64_t left_ = 0;  // of the body, or of the chunk
  std::string line_;   // begun, without its end
};

}  // namespace exchange
