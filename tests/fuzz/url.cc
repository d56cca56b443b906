// URLs and hosts: what is accepted means one place and no other, whoever reads it next.
#include <optional>

#include "fuzz/fuzz.h"
#include "policy/egress.h"

namespace fairlead {
namespace {

constexpr size_t kUrlBytes = 1024;
constexpr std::string_view kPattern = "*.example.com";

bool HasOnly(std::string_view text, std::string_view allowed) {
  return text.find_first_not_of(allowed) == std::string_view::npos;
}

void CheckHostText(const std::string& host) {
  static constexpr std::string_view kName = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
  FUZZ_CHECK(!host.empty() && host.size() <= 253);
  const auto address = IpAddress::Parse(host);
  if (!address) {
    FUZZ_CHECK(HasOnly(host, kName));
    // Resolvers take what ends in a number for an address, and there is none that is not in its one spelling.
    FUZZ_CHECK(!HasOnly(host, "0123456789."));
    FUZZ_CHECK(!host.starts_with('.') && !host.ends_with('.') && host.find("..") == std::string::npos);
    return;
  }
  FUZZ_CHECK(address->Text() == host);
  FUZZ_CHECK(HasOnly(host, address->is_v4 ? "0123456789." : "0123456789abcdef:."));
}

void CheckEgress(const TargetUrl& url) {
  const EgressRule any{.name = "any", .schemes = {url.scheme}, .hosts = {"*"}};
  const EgressRule below{.name = "below", .schemes = {url.scheme}, .hosts = {std::string(kPattern)}};
  const EgressRule exact{.name = "exact", .schemes = {url.scheme}, .hosts = {url.host}, .ports = {url.port}};
  const EgressRule other{.name = "other", .schemes = {"none"}, .hosts = {"*"}};
  FUZZ_CHECK(Egress({any}).Allow(url).has_value());
  FUZZ_CHECK(Egress({exact}).Allow(url).has_value());
  FUZZ_CHECK(!Egress({other}).Allow(url).has_value());
  FUZZ_CHECK(!Egress().Allow(url).has_value());
  const std::string_view suffix = kPattern.substr(1);
  FUZZ_CHECK(Egress({below}).Allow(url).has_value() == (url.host.ends_with(suffix) && url.host.size() > suffix.size()));
  if (const auto address = url.Address()) {
    FUZZ_CHECK(address->IsPublic() || !Egress::AllowAddress(any, url.host, *address));
  }
}

void CheckUrl(const TargetUrl& url) {
  CheckHostText(url.host);
  FUZZ_CHECK(url.Address() == IpAddress::Parse(url.host));
  FUZZ_CHECK(url.port != 0);
  const std::string& target = url.target.Reveal();
  FUZZ_CHECK(target.empty() || target.front() == '/');
  for (const char c : target) FUZZ_CHECK(c > ' ' && c < 0x7f && c != '#' && c != '\\' && c != '"');
  FUZZ_CHECK(url.Redacted().find('?') == std::string::npos);

  // As it is sent, and as it is logged, it is the same place.
  const auto again = ParseTarget(url.Origin() + target, kUrlBytes * 2);
  FUZZ_CHECK(again && *again == url);
  const auto by_header = ParseTarget(url.scheme + "://" + url.HostHeader() + target, kUrlBytes * 2);
  FUZZ_CHECK(by_header && *by_header == url);
  CheckEgress(url);
}

}  // namespace
}  // namespace fairlead

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace fairlead;
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto url = ParseTarget(text, kUrlBytes);
  if (url) CheckUrl(*url);
  const auto host = ParseHost(text);
  if (host) {
    CheckHostText(*host);
    FUZZ_CHECK(ParseHost(*host) == *host);
    // Some names are refused in URLs only: Boost.URL 1.81 takes the beginning of "1.2.3.4.example" for an address.
    const auto parsed =
        ParseTarget("wss://" + (host->find(':') == std::string::npos ? *host : "[" + *host + "]"), kUrlBytes);
    FUZZ_CHECK(!parsed || parsed->host == *host);
  }
  if (const auto pattern = ParseHostPattern(text)) FUZZ_CHECK(ParseHostPattern(*pattern) == *pattern);
  if (const auto range = ParseCidr(text)) FUZZ_CHECK(range->Contains(range->base));
  return 0;
}
