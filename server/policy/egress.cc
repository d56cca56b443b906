#include "policy/egress.h"

#include <algorithm>
#include <array>
#include <boost/url.hpp>
#include <charconv>
#include <utility>

namespace fairlead {
namespace {

constexpr std::size_t kMaxHostBytes = 253;  // RFC 1035 section 2.3.4, as text without the final dot.
constexpr std::size_t kMaxLabelBytes = 63;

std::unexpected<Failure> Invalid(std::string message) { return NotSent(Reason::kInvalidField, std::move(message)); }

// A family of URLs: its schemes, and the field that a failure names.
struct UrlFamily {
  const char* field;
  std::array<std::string_view, 4> schemes;
  const char* schemes_rule;
  const char* example;
};
constexpr UrlFamily kSessionUrls = {"target.url",
                                    {"ws", "wss", "tcp", "tls"},
                                    "the scheme must be ws, wss, tcp or tls",
                                    "a host is required, as in wss://stream.example.com/ws"};
constexpr UrlFamily kRequestUrls = {"request.url",
                                    {"http", "https"},
                                    "the scheme must be http or https",
                                    "a host is required, as in https://api.example.com/time"};

bool IsEncrypted(std::string_view scheme) { return scheme == "wss" || scheme == "https" || scheme == "tls"; }

// Locales have no say in protocols.
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return ToLower(c); });
  return lower;
}

std::uint16_t DefaultPort(bool secure) { return secure ? 443 : 80; }

std::string Bracketed(const std::string& host) { return host.find(':') == std::string::npos ? host : "[" + host + "]"; }

// "What ends in a number" by the WHATWG URL standard: inet_aton, which resolvers fall back to, takes such a name for an
// IPv4 address.
bool LooksNumeric(std::string_view last_label) {
  if (std::ranges::all_of(last_label, IsDigit)) return true;
  return last_label.starts_with("0x") &&
         std::ranges::all_of(last_label.substr(2), [](char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); });
}

Result<std::uint16_t> ParsePort(const boost::urls::url_view& url, const TargetUrl& target) {
  if (!url.has_port()) {
    if (target.IsRawSocket()) return Invalid("a raw socket needs a port, as in tls://stream.example.com:443");
    return DefaultPort(target.secure);
  }
  const std::string text(url.port());
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || text.front() == '0') {
    return Invalid("the port must be 1 to 65535");
  }
  return port;
}

Result<std::string> HostOf(const boost::urls::url_view& url, const UrlFamily& family) {
  std::string host(url.encoded_host());
  switch (url.host_type()) {
    case boost::urls::host_type::ipv6: {
      const auto address = IpAddress::Parse(std::string_view(host).substr(1, host.size() - 2));
      if (!address) return Invalid("the host is not a valid IPv6 address");
      return address->Text();
    }
    case boost::urls::host_type::ipvfuture:
      return Invalid("the host is an address of an unknown version");
    case boost::urls::host_type::none:
    case boost::urls::host_type::name:
    case boost::urls::host_type::ipv4:
      break;
  }
  if (host.empty()) return Invalid(family.example);
  return ParseHost(host);
}

bool HostMatches(const std::string& pattern, const TargetUrl& target) {
  if (pattern == "*" || pattern == target.host) return true;
  return pattern.starts_with("*.") && !target.IsIpLiteral() && target.host.size() > pattern.size() - 1 &&
         target.host.ends_with(std::string_view(pattern).substr(1));
}

bool Matches(const EgressRule& rule, const TargetUrl& target) {
  const bool scheme = rule.schemes.empty() ? IsEncrypted(target.scheme)
                                           : std::ranges::find(rule.schemes, target.scheme) != rule.schemes.end();
  const bool port = rule.ports.empty() || std::ranges::find(rule.ports, target.port) != rule.ports.end();
  return scheme && port &&
         std::ranges::any_of(rule.hosts, [&](const std::string& pattern) { return HostMatches(pattern, target); });
}

bool IsLifted(const EgressRule& rule, const IpAddress& address) {
  return std::ranges::any_of(rule.cidrs, [&](const Cidr& cidr) {
    return cidr.Contains(address) || (address.IsV4Mapped() && cidr.Contains(*address.EmbeddedV4()));
  });
}

bool IsPublicOrLifted(const EgressRule& rule, const IpAddress& address) {
  return address.IsPublic() || IsLifted(rule, address);
}

// Failures name no field.
Result<TargetUrl> ParseUrl(std::string_view text, const UrlFamily& family) {
  // Boost.URL holds to RFC 3986: control characters, spaces, backslashes and bytes beyond ASCII end here.
  const auto parsed = boost::urls::parse_uri(boost::core::string_view(text.data(), text.size()));
  if (!parsed) return Invalid("is not a URL by RFC 3986; other characters must be percent-encoded");
  const boost::urls::url_view& url = *parsed;

  TargetUrl target;
  target.scheme = ToLower(std::string(url.scheme()));
  if (target.scheme.empty() || std::ranges::find(family.schemes, target.scheme) == family.schemes.end())
    return Invalid(family.schemes_rule);
  target.secure = IsEncrypted(target.scheme);
  if (url.has_userinfo()) return Invalid("a user name or password is not allowed");
  if (url.has_fragment()) return Invalid("a fragment is not allowed");

  auto host = HostOf(url, family);
  if (!host) return std::unexpected(host.error());
  target.host = std::move(*host);
  const auto port = ParsePort(url, target);
  if (!port) return std::unexpected(port.error());
  target.port = *port;

  std::string path = std::string(url.encoded_path());
  // Boost.URL 1.81 ends an authority where its host or port rule ends, and so reads "h:443x/" as port 443 and path
  // "x/", and "1.2.3.4.example" as an address. RFC 3986 section 3.3: behind an authority a path begins with "/".
  if (!path.empty() && path.front() != '/') return Invalid("the host or the port is malformed");
  if (target.IsRawSocket()) {
    if (path.size() > 1 || url.has_query()) return Invalid("a raw socket has no path and no query");
    return target;
  }
  if (path.empty()) path = "/";
  if (url.has_query()) path += "?" + std::string(url.encoded_query());
  target.target = Secret(std::move(path));
  return target;
}

Result<TargetUrl> ParseUrl(std::string_view text, std::size_t max_bytes, const UrlFamily& family) {
  const std::string field = std::string(family.field) + ": ";
  if (text.empty()) return Invalid(field + "is required");
  if (text.size() > max_bytes) {
    return NotSent(Reason::kLimitReached, field + "has " + std::to_string(text.size()) +
                                              " bytes; limits.url_bytes is " + std::to_string(max_bytes));
  }
  auto url = ParseUrl(text, family);
  if (!url) url.error().message.insert(0, field);
  return url;
}

}  // namespace

Result<TargetUrl> ParseTarget(std::string_view url, std::size_t max_bytes) {
  return ParseUrl(url, max_bytes, kSessionUrls);
}

Result<TargetUrl> ParseRequestUrl(std::string_view url, std::size_t max_bytes) {
  return ParseUrl(url, max_bytes, kRequestUrls);
}

std::optional<IpAddress> TargetUrl::Address() const { return IpAddress::Parse(host); }

std::string TargetUrl::HostHeader() const {
  return port == DefaultPort(secure) && !IsRawSocket() ? Bracketed(host) : Bracketed(host) + ":" + std::to_string(port);
}

std::string TargetUrl::Origin() const { return scheme + "://" + Bracketed(host) + ":" + std::to_string(port); }

std::string TargetUrl::Redacted() const {
  const std::string& text = target.Reveal();
  return Origin() + text.substr(0, text.find('?'));
}

Result<std::string> ParseHost(std::string_view host) {
  if (const auto address = IpAddress::Parse(host)) return address->Text();
  if (host.empty()) return Invalid("the host is empty");
  if (host.size() > kMaxHostBytes) return Invalid("the host is longer than 253 bytes");
  std::string name = ToLower(host);
  std::string_view rest = name;
  for (;;) {
    const std::size_t dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (label.empty()) return Invalid("the host has an empty label (two dots, or one at its beginning or end)");
    if (label.size() > kMaxLabelBytes) return Invalid("the host has a label longer than 63 bytes");
    if (!std::ranges::all_of(label, [](char c) { return IsLower(c) || IsDigit(c) || c == '-' || c == '_'; })) {
      return Invalid("the host may have letters, digits, '-', '_' and dots; a name beyond ASCII must be punycode");
    }
    if (label.front() == '-' || label.back() == '-') return Invalid("a label of the host begins or ends with '-'");
    if (dot == std::string_view::npos) {
      if (LooksNumeric(label)) return Invalid("the host looks like an odd spelling of an IPv4 address");
      return name;
    }
    rest.remove_prefix(dot + 1);
  }
}

Result<std::string> ParseHostPattern(std::string_view pattern) {
  if (pattern == "*") return std::string(pattern);
  if (!pattern.starts_with("*.")) return ParseHost(pattern);
  const auto parent = ParseHost(pattern.substr(2));
  if (!parent) return parent;
  if (IpAddress::Parse(*parent)) return Invalid("\"*.\" needs a name behind it, not an address");
  return "*." + *parent;
}

Result<const EgressRule*> Egress::Allow(const TargetUrl& target) const {
  const auto rule = std::ranges::find_if(rules_, [&](const EgressRule& each) { return Matches(each, target); });
  if (rule != rules_.end()) return &*rule;
  return NotSent(Reason::kEgressDenied,
                 "no rule allows " + target.Origin() + "; egress.rules of the configuration list what may be reached");
}

Result<void> Egress::AllowAddress(const EgressRule& rule, std::string_view host, const IpAddress& address) {
  const auto embedded = address.EmbeddedV4();
  if (IsPublicOrLifted(rule, address) && (!embedded || IsPublicOrLifted(rule, *embedded))) return {};
  return NotSent(Reason::kEgressDenied, "an address of " + std::string(host) + " is not public; the egress rule " +
                                            rule.name + " can lift ranges with cidrs");
}

}  // namespace fairlead
