#include "policy/http_headers.h"

#include <algorithm>
#include <array>
#include <string>

namespace fairlead {
namespace {

constexpr std::array<bool, 256> TokenCharacters() {
  std::array<bool, 256> is_one = {};
  for (unsigned c = '0'; c <= '9'; ++c) is_one[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) is_one[c] = is_one[c - 'a' + 'A'] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) is_one[static_cast<unsigned char>(c)] = true;
  return is_one;
}

char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

bool BelongsToFairlead(std::string_view name) {
  static constexpr std::string_view kOurs[] = {"host",    "connection", "content-length", "transfer-encoding", "te",
                                               "trailer", "upgrade",    "expect",         "keep-alive"};
  static constexpr std::string_view kProxy = "proxy-";
  return std::ranges::any_of(kOurs, [&](std::string_view ours) { return EqualsIgnoringCase(name, ours); }) ||
         EqualsIgnoringCase(name.substr(0, kProxy.size()), kProxy);
}

}  // namespace

bool IsToken(std::string_view text) {
  static constexpr auto kIsOne = TokenCharacters();
  return !text.empty() && std::ranges::all_of(text, [](char c) { return kIsOne[static_cast<unsigned char>(c)]; });
}

bool IsFieldValue(std::string_view text) {
  return std::ranges::all_of(text,
                             [](char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); });
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

bool EqualsIgnoringCase(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right, {}, ToLower, ToLower);
}

Result<void> CheckHeaders(const std::vector<RequestHeader>& headers, uint64_t max_bytes, std::string_view field) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < headers.size(); ++i) {
    const RequestHeader& header = headers[i];
    const std::string& value = header.value.Reveal();
    const auto invalid = [&](const std::string& what) {
      return NotSent(Reason::kInvalidField, std::string(field) + "[" + std::to_string(i) + "]" + what);
    };
    if (!IsToken(header.name)) return invalid(".name: not a token (RFC 9110 section 5.6.2)");
    if (BelongsToFairlead(header.name)) return invalid(".name: " + header.name + " belongs to Fairlead");
    if (!IsFieldValue(value)) return invalid(".value: has a control character (RFC 9110 section 5.5)");
    if (Trimmed(value).size() != value.size()) {
      return invalid(".value: begins or ends with white space (RFC 9110 section 5.5)");
    }
    bytes += header.name.size() + value.size();
  }
  if (bytes > max_bytes) {
    return NotSent(Reason::kLimitReached, std::string(field) + ": " + std::to_string(bytes) +
                                              " bytes; limits.header_bytes is " + std::to_string(max_bytes));
  }
  return {};
}

}  // namespace fairlead
