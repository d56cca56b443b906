#include "policy/http_response.h"

#include <algorithm>
#include <charconv>

#include "base/limits.h"
#include "policy/http_headers.h"

namespace fairlead {
namespace {

constexpr unsigned kMaxInterim = 8;
// Spares common answers the growing; beyond it, only what has arrived makes a body grow.
constexpr uint64_t kMaxReservedBytes = 64 * kKiB;
constexpr size_t kMaxChunkDigits = 16;  // 64 bits.
constexpr std::string_view kVersion = "HTTP/1.";

std::unexpected<Failure> Invalid(std::string_view what) {
  return std::unexpected(
      Failure{Reason::kResponseInvalid, Phase::kReplied, "the exchange's response is not valid: " + std::string(what)});
}

std::unexpected<Failure> TooLong(std::string_view what, uint64_t limit, std::string_view field) {
  return std::unexpected(Failure{Reason::kResponseTooLong, Phase::kReplied,
                                 "the exchange's response is too long: " + std::string(what) + "; " +
                                     std::string(field) + " is " + std::to_string(limit)});
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Splits at the first of `marks`, and leaves the rest.
std::string_view TakeUntil(std::string_view& text, std::string_view marks) {
  const std::string_view taken = text.substr(0, text.find_first_of(marks));
  text.remove_prefix(taken.size());
  return taken;
}

void SkipBlanks(std::string_view& text) { text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size())); }

// RFC 9110 section 5.6.4, at the beginning of `text`, without control characters.
bool TakeQuotedString(std::string_view& text) {
  for (size_t at = 1; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      text.remove_prefix(at + 1);
      return true;
    }
  }
  return false;
}

// chunk-ext, RFC 9112 section 7.1.1.
bool AreChunkExtensions(std::string_view text) {
  if (!IsFieldValue(text)) return false;
  while (!text.empty()) {
    SkipBlanks(text);
    if (!text.starts_with(';')) return false;
    text.remove_prefix(1);
    SkipBlanks(text);
    if (!IsToken(TakeUntil(text, " \t;="))) return false;
    const std::string_view behind_name = text;
    SkipBlanks(text);
    if (!text.starts_with('=')) {
      text = behind_name;
      continue;
    }
    text.remove_prefix(1);
    SkipBlanks(text);
    if (text.starts_with('"') ? !TakeQuotedString(text) : !IsToken(TakeUntil(text, " \t;"))) return false;
  }
  return true;
}

// A list that we do not understand might mean it.
bool SaysClose(std::string_view connection) {
  for (;;) {
    const std::string_view option = Trimmed(TakeUntil(connection, ","));
    if (EqualsIgnoringCase(option, "close") || (!option.empty() && !IsToken(option))) return true;
    if (connection.empty()) return false;
    connection.remove_prefix(1);
  }
}

// Without folding, which RFC 9112 section 5.2 lets a reader refuse.
Result<Header> ParseHeader(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') return Invalid("a folded header (RFC 9112 section 5.2)");
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return Invalid("a header without a colon");
  const std::string_view name = line.substr(0, colon);
  if (!IsToken(name)) return Invalid("a header's name is not a token (RFC 9112 section 5.1)");
  const std::string_view value = Trimmed(line.substr(colon + 1));
  if (!IsFieldValue(value)) return Invalid("a header's value has a control character (RFC 9110 section 5.5)");
  return Header{std::string(name), std::string(value)};
}

bool IsContentLength(std::string_view name) { return EqualsIgnoringCase(name, "Content-Length"); }
bool IsTransferEncoding(std::string_view name) { return EqualsIgnoringCase(name, "Transfer-Encoding"); }
// Old proxies say it with a name of their own; to close when nobody asked for it does no harm.
bool IsConnection(std::string_view name) {
  return EqualsIgnoringCase(name, "Connection") || EqualsIgnoringCase(name, "Proxy-Connection");
}

}  // namespace

ResponseReader::ResponseReader(bool to_head, Limits limits)
    : to_head_(to_head), limits_(limits), extension_budget_(limits.header_bytes) {
  Expect(Stage::kStatusLine);
}

Result<size_t> ResponseReader::Take(std::string_view bytes) {
  const size_t given = bytes.size();
  while (!bytes.empty() && !complete()) {
    if (ReadsBody()) {
      if (auto taken = TakeBodyBytes(bytes); !taken) return std::unexpected(std::move(taken.error()));
      continue;
    }
    auto line = TakeLine(bytes);
    if (!line) return std::unexpected(std::move(line.error()));
    if (!*line) break;
    if (auto taken = OnLine(**line); !taken) return std::unexpected(std::move(taken.error()));
    line_.clear();
  }
  if (!bytes.empty()) reusable_ = false;
  return given - bytes.size();
}

Result<void> ResponseReader::End() {
  const auto lost = [](Phase phase, std::string message) {
    return std::unexpected(Failure{Reason::kConnectionLost, phase, std::move(message)});
  };
  switch (stage_) {
    case Stage::kComplete:
      return {};
    case Stage::kBodyUntilEnd:
      Expect(Stage::kComplete);
      return {};
    case Stage::kStatusLine:
    case Stage::kHeaders:
      if (!begun()) return lost(Phase::kSentNoReply, "the exchange ended the connection without a response");
      return lost(Phase::kReplied, "the exchange ended the connection after " +
                                       std::to_string(limits_.header_bytes - line_budget_) +
                                       " bytes of the response's headers");
    case Stage::kSizedBody:
      return Invalid("the connection ended after " + std::to_string(body_.size()) + " of " +
                     std::to_string(body_.size() + left_) + " bytes of the body");
    case Stage::kChunkSize:
    case Stage::kChunk:
    case Stage::kChunkEnd:
    case Stage::kTrailers:
      break;
  }
  return Invalid("the connection ended after " + std::to_string(body_.size()) +
                 " bytes of a body in chunks, before its end");
}

bool ResponseReader::begun() const {
  return head_.status >= 200 ||
         (stage_ == Stage::kStatusLine && line_.size() > kVersion.size() + 2 && line_[kVersion.size() + 2] != '1');
}

void ResponseReader::Expect(Stage stage) {
  stage_ = stage;
  // A head's headers share the budget of its status line.
  if (stage == Stage::kStatusLine || stage == Stage::kTrailers) line_budget_ = limits_.header_bytes;
  if (stage == Stage::kChunkSize) line_budget_ = kMaxChunkDigits + extension_budget_ + 2;
  if (stage == Stage::kChunkEnd) line_budget_ = 2;
}

bool ResponseReader::ReadsBody() const {
  return stage_ == Stage::kSizedBody || stage_ == Stage::kChunk || stage_ == Stage::kBodyUntilEnd;
}

Result<void> ResponseReader::TakeBodyBytes(std::string_view& bytes) {
  if (stage_ == Stage::kBodyUntilEnd) {
    if (auto fits = ExpectBody(bytes.size()); !fits) return fits;
    body_.append(bytes);
    bytes = {};
    return {};
  }
  const auto taken = std::min<uint64_t>(left_, bytes.size());
  body_.append(bytes.substr(0, taken));
  bytes.remove_prefix(taken);
  left_ -= taken;
  if (left_ == 0) Expect(stage_ == Stage::kChunk ? Stage::kChunkEnd : Stage::kComplete);
  return {};
}

// The next line without its CRLF, or nothing while its end has not come.
Result<std::optional<std::string_view>> ResponseReader::TakeLine(std::string_view& bytes) {
  const std::string_view window = bytes.substr(0, line_budget_);
  const size_t line_feed = window.find('\n');
  std::string_view line = window.substr(0, line_feed == std::string_view::npos ? line_feed : line_feed + 1);
  bytes.remove_prefix(line.size());
  line_budget_ -= line.size();
  if (line_feed == std::string_view::npos) {
    line_.append(line);
    // Told at once, as what speaks another protocol may wait for us to speak it.
    if (stage_ == Stage::kStatusLine && !line_.starts_with(kVersion.substr(0, line_.size()))) {
      return Invalid("it does not begin with HTTP/1.");
    }
    if (line_budget_ > 0) return std::nullopt;
    if (stage_ == Stage::kChunkEnd) return Invalid("no CRLF behind a chunk (RFC 9112 section 7.1)");
    return TooLong("its headers, trailers or chunk extensions", limits_.header_bytes, "http.response_header_bytes");
  }
  if (!line_.empty()) line = line_.append(line);
  if (!line.ends_with("\r\n")) return Invalid("a line ends without CR (RFC 9112 section 2.2)");
  line.remove_suffix(2);
  return line;
}

Result<void> ResponseReader::OnLine(std::string_view line) {
  switch (stage_) {
    case Stage::kStatusLine:
      return OnStatusLine(line);
    case Stage::kHeaders:
      return line.empty() ? OnHeadersEnd() : OnHeader(line);
    case Stage::kChunkSize:
      return OnChunkSize(line);
    case Stage::kChunkEnd:
      Expect(Stage::kChunkSize);
      return {};
    case Stage::kTrailers:
      if (!line.empty()) return OnTrailer(line);
      Expect(Stage::kComplete);
      return {};
    case Stage::kSizedBody:
    case Stage::kBodyUntilEnd:
    case Stage::kChunk:
    case Stage::kComplete:
      break;  // They have no lines.
  }
  return {};
}

// RFC 9112 section 4: HTTP-version SP status-code SP [ reason-phrase ]
Result<void> ResponseReader::OnStatusLine(std::string_view line) {
  if (!line.starts_with(kVersion)) return Invalid("it does not begin with HTTP/1.");
  line.remove_prefix(kVersion.size());
  if (!line.starts_with("0 ") && !line.starts_with("1 ")) return Invalid("its version is not HTTP/1.0 or HTTP/1.1");
  http_1_1_ = line.front() == '1';
  line.remove_prefix(2);

  const std::string_view digits = line.substr(0, 3);
  line.remove_prefix(digits.size());
  if (digits.size() != 3 || !std::ranges::all_of(digits, IsDigit) || digits.front() == '0') {
    return Invalid("its status is not of 100 to 999");
  }
  if (!line.empty() && line.front() != ' ') return Invalid("no space behind the status (RFC 9112 section 4)");
  if (!IsFieldValue(line)) return Invalid("the status line has a control character (RFC 9112 section 4)");
  std::from_chars(digits.data(), digits.data() + digits.size(), head_.status);
  if (head_.status == 101) return Invalid("status 101, although no upgrade was asked for");
  if (head_.status < 200 && ++interim_ > kMaxInterim) {
    return Invalid("more than " + std::to_string(kMaxInterim) + " interim responses");
  }
  Expect(Stage::kHeaders);
  return {};
}

Result<void> ResponseReader::OnHeader(std::string_view line) {
  auto header = ParseHeader(line);
  if (!header) return std::unexpected(std::move(header.error()));
  if (auto framed = OnFramingHeader(*header); !framed) return framed;
  if (head_.status >= 200) head_.headers.push_back(std::move(*header));
  return {};
}

// RFC 9112 sections 6.1 to 6.3, and 9.6 for Connection.
Result<void> ResponseReader::OnFramingHeader(const Header& header) {
  const bool is_length = IsContentLength(header.name);
  const bool is_encoding = IsTransferEncoding(header.name);
  if (IsConnection(header.name)) framing_.close = framing_.close || SaysClose(header.value);
  if (!is_length && !is_encoding) return {};
  if (head_.status < 200) return Invalid("an interim response with Content-Length or Transfer-Encoding");
  if (framing_.length || framing_.chunked) return Invalid("more than one Content-Length or Transfer-Encoding");
  if (is_length) {
    uint64_t length = 0;
    const char* const end = header.value.data() + header.value.size();
    const auto [last, error] = std::from_chars(header.value.data(), end, length);
    if (error != std::errc() || last != end) return Invalid("its Content-Length is not one number of 64 bits");
    framing_.length = length;
    return {};
  }
  if (!http_1_1_) return Invalid("a Transfer-Encoding in HTTP/1.0");
  if (head_.status == 204) return Invalid("a Transfer-Encoding with status 204");
  if (!EqualsIgnoringCase(header.value, "chunked")) return Invalid("a Transfer-Encoding other than chunked");
  framing_.chunked = true;
  return {};
}

// RFC 9112 section 6.3.
Result<void> ResponseReader::OnHeadersEnd() {
  if (head_.status < 200) {
    head_ = {};
    framing_ = {};
    Expect(Stage::kStatusLine);
    return {};
  }
  reusable_ = http_1_1_ && !framing_.close;
  if (to_head_ || head_.status == 204 || head_.status == 304) {
    // A server that declares a body for 204 (RFC 9110 section 8.6 forbids it) may also send it.
    if (head_.status == 204 && framing_.length.value_or(0) > 0) reusable_ = false;
    Expect(Stage::kComplete);
    return {};
  }
  if (framing_.chunked) {
    Expect(Stage::kChunkSize);
    return {};
  }
  if (!framing_.length) {
    reusable_ = false;
    Expect(Stage::kBodyUntilEnd);
    return {};
  }
  if (auto fits = ExpectBody(*framing_.length); !fits) return fits;
  left_ = *framing_.length;
  body_.reserve(std::min(left_, kMaxReservedBytes));
  Expect(left_ == 0 ? Stage::kComplete : Stage::kSizedBody);
  return {};
}

Result<void> ResponseReader::OnChunkSize(std::string_view line) {
  const std::string_view digits = line.substr(0, line.find_first_not_of("0123456789abcdefABCDEF"));
  if (digits.empty() || digits.size() > kMaxChunkDigits) {
    return Invalid("a chunk's size is not 1 to 16 hexadecimal digits");
  }
  std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
  const std::string_view extensions = line.substr(digits.size());
  if (!AreChunkExtensions(extensions)) {
    return Invalid("what follows a chunk's size is no extension (RFC 9112 section 7.1.1)");
  }
  extension_budget_ -= std::min<uint64_t>(extensions.size(), extension_budget_);
  if (auto fits = ExpectBody(left_); !fits) return fits;
  Expect(left_ == 0 ? Stage::kTrailers : Stage::kChunk);
  return {};
}

Result<void> ResponseReader::OnTrailer(std::string_view line) {
  const auto trailer = ParseHeader(line);
  if (!trailer) return std::unexpected(trailer.error());
  if (IsContentLength(trailer->name) || IsTransferEncoding(trailer->name) || IsConnection(trailer->name)) {
    return Invalid("Content-Length, Transfer-Encoding or Connection in its trailers (RFC 9110 section 6.5.1)");
  }
  return {};
}

// Whether so many bytes more of the body may come.
Result<void> ResponseReader::ExpectBody(uint64_t bytes) const {
  if (bytes <= limits_.body_bytes - body_.size()) return {};
  return TooLong("its body", limits_.body_bytes,
                 "the limit (request.max_response_bytes, else http.response_bytes of the configuration)");
}

}  // namespace fairlead
