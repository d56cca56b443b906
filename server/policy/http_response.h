// One response of an exchange, read as strictly as RFC 9112 allows: where it ends must be beyond doubt, or the next
// response on its connection could be taken for another request's. docs/adr/0005-our-own-http-response-reader.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/failure.h"
#include "base/frame.h"

namespace fairlead {

struct HttpResponseHead {
  unsigned status = 0;               // 200 to 999.
  std::vector<Header> headers = {};  // In the exchange's order, repetition kept; framing headers included.
};

// Reads incrementally: each byte is looked at once, however the response is cut into pieces, and what is kept is
// bounded by what has arrived.
//
// Refused as kResponseInvalid: another version than HTTP/1.0 and 1.1, lines that do not end in CRLF, folded lines,
// names that are no tokens, control characters, more than one Content-Length even if equal, one that is not digits
// alone, any Transfer-Encoding but "chunked", or one beside a Content-Length, in HTTP/1.0 or with status 204, chunks
// against RFC 9112 section 7.1, framing headers in trailers, status 101 (nothing is ever upgraded), more than 8 interim
// responses. Accepted although RFC 9112 section 4 does not: a status line without reason that lacks the space before
// it, which many servers send.
class ResponseReader {
 public:
  struct Limits {
    uint64_t header_bytes;  // Status line and headers; again for each interim response, the trailers, and all chunk
                            // extensions together. kResponseTooLong names http.response_header_bytes.
    uint64_t body_bytes;    // Without framing. kResponseTooLong names request.max_response_bytes.
  };

  // `to_head`: the response to a HEAD request, which has no body whatever its headers say.
  ResponseReader(bool to_head, Limits limits);

  // Takes bytes as they come from the exchange, and returns how many: fewer than given only when the response is
  // complete before them. What is left then was not asked for, and the connection must not be used again; keep_alive
  // turns false. Failures are of phase kReplied, and no message quotes what the exchange sent: kResponseInvalid; or
  // kResponseTooLong, as soon as it is certain, so for a declared length at once. After one the reader is of no use.
  Result<std::size_t> Take(std::string_view bytes);

  // The exchange has ended its side. Completes a body that lasts until the end, and is nothing to a response that is
  // complete. Else kConnectionLost, or kResponseInvalid when a body of declared length or of chunks is cut; the message
  // tells how far it came. Phase kSentNoReply unless begun.
  Result<void> End();

  // The final response has begun, which is told by the first digit of its status: interim responses do not count.
  bool begun() const;
  bool complete() const { return stage_ == Stage::kComplete; }
  // Complete, and the connection may carry another request: HTTP/1.1, without "Connection: close", an end that is
  // certain (so not that of the connection), nothing behind it.
  bool keep_alive() const { return complete() && reusable_; }

  // When complete. The rvalues move out.
  unsigned status() const { return head_.status; }
  // Of the body, so far.
  std::size_t body_bytes() const { return body_.size(); }
  HttpResponseHead TakeHead() { return std::move(head_); }
  std::string TakeBody() { return std::move(body_); }

 private:
  enum class Stage {
    kStatusLine,
    kHeaders,
    kSizedBody,     // Until left_ is 0.
    kBodyUntilEnd,  // Of the connection.
    kChunkSize,     // The line before a chunk.
    kChunk,         // Until left_ is 0.
    kChunkEnd,      // The CRLF behind a chunk.
    kTrailers,
    kComplete,
  };

  // What the headers have said about the body's length and the connection.
  struct Framing {
    std::optional<uint64_t> length = std::nullopt;
    bool chunked = false;
    bool close = false;
  };

  void Expect(Stage stage);
  bool ReadsBody() const;
  Result<void> TakeBodyBytes(std::string_view& bytes);
  Result<std::optional<std::string_view>> TakeLine(std::string_view& bytes);
  Result<void> OnLine(std::string_view line);
  Result<void> OnStatusLine(std::string_view line);
  Result<void> OnHeader(std::string_view line);
  Result<void> OnFramingHeader(const Header& header);
  Result<void> OnHeadersEnd();
  Result<void> OnChunkSize(std::string_view line);
  Result<void> OnTrailer(std::string_view line);
  Result<void> ExpectBody(uint64_t bytes) const;

  bool to_head_;
  Limits limits_;

  Stage stage_ = Stage::kStatusLine;
  std::string line_;          // The part of the current line that earlier calls brought.
  uint64_t line_budget_ = 0;  // How many bytes this and, for heads and trailers, the following lines may have.
  uint64_t extension_budget_ = 0;
  uint64_t left_ = 0;  // Of the body, or of the chunk.
  unsigned interim_ = 0;
  bool http_1_1_ = false;
  bool reusable_ = false;
  Framing framing_;
  HttpResponseHead head_;
  std::string body_;
};

}  // namespace fairlead
