#include "exchange/http_message.h"

#include <algorithm>
#include <charconv>

namespace exchange {
namespace {

constexpr size_t kMaxLineBytes = 8 << 10;  // of chunk sizes and trailers

// RFC 9110 section 5.6.2.
bool IsTokenCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").contains(c));
}
bool IsToken(std::string_view text) { return !text.empty() && std::ranges::all_of(text, IsTokenCharacter); }
bool IsVisible(char c) { return c > ' ' && c < 0x7F; }
// RFC 9110 section 5.5: visible, spaces, tabs, and bytes above ASCII.
bool IsValueCharacter(char c) { return IsVisible(c) || c == ' ' || c == '\t' || static_cast<uint8_t>(c) >= 0x80; }

std::string_view TrimBlanks(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::expected<std::pair<std::string, std::string>, std::string> ParseField(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return std::unexpected("a header line has no colon");
  if (!IsToken(line.substr(0, colon))) return std::unexpected("a header name is no token");
  const std::string_view value = TrimBlanks(line.substr(colon + 1));
  if (!std::ranges::all_of(value, IsValueCharacter)) return std::unexpected("a header value has a forbidden byte");
  return std::pair(std::string(line.substr(0, colon)), std::string(value));
}

}  // namespace

std::string_view TargetOf(std::string_view line) {
  const size_t first = line.find(' ');
  if (first == std::string_view::npos) return {};
  line.remove_prefix(first + 1);
  return line.substr(0, line.find(' '));
}

std::expected<HttpRequest, std::string> ParseStrictly(std::string_view head) {
  HttpRequest request;
  const size_t first_end = head.find("\r\n");
  const std::string_view line = head.substr(0, first_end);
  const size_t one = line.find(' ');
  const size_t two = line.rfind(' ');
  if (one == std::string_view::npos || one == two) return std::unexpected("the request line has not three words");
  request.method = line.substr(0, one);
  request.target = line.substr(one + 1, two - one - 1);
  if (!IsToken(request.method)) return std::unexpected("the method is no token");
  if (!std::ranges::all_of(request.target, IsVisible)) return std::unexpected("the target has a forbidden byte");
  if (!request.target.starts_with('/') && request.target != "*") return std::unexpected("the target is no path");
  if (line.substr(two + 1) != "HTTP/1.1") return std::unexpected("the version is not HTTP/1.1");
  head.remove_prefix(first_end + 2);
  size_t hosts = 0;
  while (head != "\r\n") {
    const size_t end = head.find("\r\n");
    auto field = ParseField(head.substr(0, end));
    if (!field) return std::unexpected(field.error());
    if (EqualIgnoringCase(field->first, "Host")) ++hosts;
    request.headers.push_back(std::move(*field));
    head.remove_prefix(end + 2);
  }
  if (hosts != 1) return std::unexpected("there is not one Host");
  return request;
}

std::expected<void, std::string> BodyReader::Begin(const HttpRequest& request) {
  *this = {};
  const auto coding = request.Find("Transfer-Encoding");
  const auto length = request.Find("Content-Length");
  if (coding && length) return std::unexpected("both Transfer-Encoding and Content-Length");
  if (coding) {
    if (!EqualIgnoringCase(*coding, "chunked")) return std::unexpected("a transfer coding other than chunked");
    chunked_ = true;
    phase_ = Phase::kSize;
  } else if (length) {  // two of them are joined by a comma, and no number
    const auto [end, error] = std::from_chars(length->data(), length->data() + length->size(), left_);
    if (error != std::errc() || end != length->data() + length->size())
      return std::unexpected("Content-Length is not one number");
    if (left_ > 0) phase_ = Phase::kData;
  }
  return {};
}

std::expected<size_t, std::string> BodyReader::Take(std::string_view input, std::string& body) {
  size_t taken = 0;
  while (taken < input.size() && phase_ != Phase::kDone) {
    const std::string_view rest = input.substr(taken);
    if (phase_ == Phase::kData) {
      const size_t size = std::min<uint64_t>(left_, rest.size());
      body.append(rest, 0, size);
      taken += size;
      left_ -= size;
      if (left_ == 0) phase_ = chunked_ ? Phase::kDataEnd : Phase::kDone;
      continue;
    }
    const size_t end = rest.find('\n');
    const size_t size = end == std::string_view::npos ? rest.size() : end + 1;
    line_.append(rest, 0, size);
    taken += size;
    if (line_.size() > kMaxLineBytes) return std::unexpected("a line of the chunked body is too long");
    if (end == std::string_view::npos) break;
    if (!line_.ends_with("\r\n")) return std::unexpected("a line of the chunked body does not end in CRLF");
    if (auto wrong = TakeLine(std::string_view(line_).substr(0, line_.size() - 2)); !wrong)
      return std::unexpected(wrong.error());
    line_.clear();
  }
  return taken;
}

std::expected<void, std::string> BodyReader::TakeLine(std::string_view line) {
  if (phase_ == Phase::kSize) {
    const std::string_view digits = TrimBlanks(line.substr(0, line.find(';')));
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::unexpected("a chunk has no size");
    phase_ = left_ == 0 ? Phase::kTrailer : Phase::kData;
  } else if (phase_ == Phase::kDataEnd) {
    if (!line.empty()) return std::unexpected("a chunk is longer than its size");
    phase_ = Phase::kSize;
  } else if (line.empty()) {
    phase_ = Phase::kDone;
  } else if (const auto field = ParseField(line); !field) {
    return std::unexpected(field.error());
  }
  return {};
}

}  // namespace exchange
