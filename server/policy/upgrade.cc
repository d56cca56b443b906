#include "policy/upgrade.h"

#include <absl/time/time.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace fairlead {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower;
}

std::optional<Duration> ParseRetryAfter(std::string_view value, WallTime now) {
  uint32_t seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error == std::errc() && end == value.data() + value.size()) return std::chrono::seconds(seconds);
  absl::Time date;
  std::string why;
  if (!absl::ParseTime("%a, %d %b %E4Y %H:%M:%S GMT", std::string(value), &date, &why)) return std::nullopt;
  const Duration wait = absl::ToChronoTime(date) - now;
  return std::max(wait, Duration::zero());
}

}  // namespace

Loss UpgradeRefused(unsigned status, std::string_view retry_after, WallTime now) {
  Loss loss{.cause = {Reason::kUpgradeRefused, Phase::kNotSent,
                      "the exchange answered the upgrade with HTTP status " + std::to_string(status)}};
  if (status >= 300 && status < 400) loss.cause.message += "; redirects are never followed";
  loss.cause.retry_after = ParseRetryAfter(retry_after, now);
  loss.fatal = status == 401 || status == 403;
  return loss;
}

std::optional<Failure> CheckSubprotocol(const std::vector<std::string>& offered, std::string_view chosen) {
  if (offered.empty() && chosen.empty()) return std::nullopt;
  if (std::ranges::find(offered, chosen) != offered.end()) return std::nullopt;
  return Failure{Reason::kUpgradeInvalid, Phase::kNotSent,
                 chosen.empty() ? "the exchange chose none of the offered subprotocols"
                                : "the exchange chose a subprotocol that was not offered"};
}

Result<void> CheckUpgradeHeaders(const std::vector<Header>& headers, uint64_t max_bytes) {
  static constexpr std::array kOurs = {"host",  "upgrade", "connection", "content-length",      "transfer-encoding",
                                       "te",    "trailer", "keep-alive", "proxy-authorization", "proxy-connection",
                                       "expect"};
  uint64_t bytes = 0;
  for (size_t i = 0; i < headers.size(); ++i) {
    const Header& header = headers[i];
    const std::string where = "target.headers[" + std::to_string(i) + "]";
    const std::string name = Lower(header.name);
    if (!IsToken(header.name))
      return NotSent(Reason::kInvalidField, where + ".name: not a token (RFC 9110 section 5.6.2)");
    if (std::ranges::find(kOurs, name) != kOurs.end() || name.starts_with("sec-websocket-")) {
      return NotSent(Reason::kInvalidField, where + ".name: " + header.name + " belongs to Fairlead");
    }
    const auto allowed = [](char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); };
    if (!std::ranges::all_of(header.value, allowed)) {
      return NotSent(Reason::kInvalidField, where + ".value: has a control character (RFC 9110 section 5.5)");
    }
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    if (!header.value.empty() && (blank(header.value.front()) || blank(header.value.back()))) {
      return NotSent(Reason::kInvalidField, where + ".value: begins or ends with white space (RFC 9110 section 5.5)");
    }
    bytes += header.name.size() + header.value.size();
  }
  if (bytes > max_bytes) {
    return NotSent(Reason::kLimitReached, "target.headers: " + std::to_string(bytes) +
                                              " bytes; limits.header_bytes is " + std::to_string(max_bytes));
  }
  return {};
}

bool IsToken(std::string_view text) {
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool IsUtf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = at + text.size();
  while (at != end) {
    const unsigned char lead = *at++;
    if (lead < 0x80) continue;
    // How many bytes follow, and the bounds of the first of them: they exclude overlong forms, surrogates and what is
    // beyond U+10FFFF.
    int follow = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
      follow = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      follow = 2;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      follow = 3;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    for (; follow > 0; --follow, ++at, low = 0x80, high = 0xbf) {
      if (at == end || *at < low || *at > high) return false;
    }
  }
  return true;
}

}  // namespace fairlead
