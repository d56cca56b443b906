#include "policy/upgrade.h"

#include <absl/time/time.h>

#include <algorithm>
#include <charconv>

#include "policy/http_headers.h"

namespace fairlead {
namespace {

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

Result<void> CheckUpgradeHeaders(const std::vector<RequestHeader>& headers, uint64_t max_bytes) {
  static constexpr std::string_view kWebSocket = "sec-websocket-";
  const auto checked = CheckHeaders(headers, max_bytes, "target.headers");
  if (!checked) return checked;
  for (size_t i = 0; i < headers.size(); ++i) {
    const std::string& name = headers[i].name;
    if (EqualsIgnoringCase(std::string_view(name).substr(0, kWebSocket.size()), kWebSocket)) {
      return NotSent(Reason::kInvalidField,
                     "target.headers[" + std::to_string(i) + "].name: " + name + " belongs to Fairlead");
    }
  }
  return {};
}

}  // namespace fairlead
