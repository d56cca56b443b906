#include "policy/http_request.h"

#include <algorithm>
#include <array>

#include "policy/http_headers.h"

namespace fairlead {
namespace {

constexpr size_t kMaxMethodBytes = 32;  // The longest that IANA has registered has 17.

bool IsCapital(char c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// RFC 3986 section 2.3.
bool IsUnreserved(char c) {
  return IsCapital(c) || (c >= 'a' && c <= 'z') || IsDigit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

void AppendEncoded(std::string& target, std::string_view text) {
  static constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    if (IsUnreserved(c)) {
      target += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      target += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
}

void AppendHeader(std::string& head, std::string_view name, std::string_view value) {
  head.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

Result<void> CheckMethod(std::string_view method) {
  const auto invalid = [](std::string_view what) {
    return NotSent(Reason::kInvalidField, "request.method: " + std::string(what));
  };
  if (method.empty()) return invalid("is required");
  if (method.size() > kMaxMethodBytes) return invalid("has more than 32 bytes");
  if (!IsCapital(method.front()) ||
      !std::ranges::all_of(method, [](char c) { return IsCapital(c) || IsDigit(c) || c == '-'; })) {
    return invalid("must be capitals, as in GET; digits and '-' may follow the first");
  }
  if (method == "CONNECT") return invalid("CONNECT asks for a tunnel, not for a response");
  return {};
}

bool IsSafe(std::string_view method) {
  static constexpr std::array<std::string_view, 4> kSafe = {"GET", "HEAD", "OPTIONS", "TRACE"};
  return std::ranges::find(kSafe, method) != kSafe.end();
}

std::string AppendQuery(std::string target, const std::vector<QueryParameter>& query) {
  const size_t mark = target.find('?');
  if (!query.empty() && mark == std::string::npos) {
    target += '?';
  } else if (!query.empty() && mark + 1 != target.size() && target.back() != '&') {
    target += '&';
  }
  for (const QueryParameter& parameter : query) {
    if (&parameter != &query.front()) target += '&';
    AppendEncoded(target, parameter.key);
    target += '=';
    AppendEncoded(target, parameter.value);
  }
  return target;
}

std::string RequestHead(std::string_view method, const TargetUrl& url, const std::vector<RequestHeader>& headers,
                        uint64_t body_bytes) {
  std::string head;
  size_t bytes = method.size() + url.target.size() + url.host.size() + 128;
  for (const RequestHeader& header : headers) bytes += header.name.size() + header.value.size() + 4;
  head.reserve(bytes);

  head.append(method).append(" ").append(url.target.Reveal()).append(" HTTP/1.1\r\n");
  AppendHeader(head, "Host", url.HostHeader());
  bool user_agent = false;
  for (const RequestHeader& header : headers) {
    user_agent = user_agent || EqualsIgnoringCase(header.name, "User-Agent");
    AppendHeader(head, header.name, header.value.Reveal());
  }
  if (!user_agent) AppendHeader(head, "User-Agent", "fairlead");
  if (body_bytes > 0 || method == "POST" || method == "PUT" || method == "PATCH") {
    AppendHeader(head, "Content-Length", std::to_string(body_bytes));
  }
  head += "\r\n";
  return head;
}

}  // namespace fairlead
