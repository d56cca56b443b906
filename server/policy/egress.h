// Where sessions and requests may connect: a URL is parsed once, its scheme, host and port are checked against the
// configured rules, and then every address that its host resolves to. The dialler connects to a checked address and
// never to the name again.
//
// Boost.URL splits the URL; egress.cc is the one place in policy/ that includes Boost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/failure.h"
#include "base/secret.h"
#include "policy/ip_address.h"

namespace fairlead {

struct TargetUrl {
  std::string scheme;      // "ws", "wss", "tcp", "tls", "http" or "https".
  bool secure = false;     // TLS.
  std::string host;        // A name in small letters, or an address in its canonical spelling, IPv6 without brackets.
  std::uint16_t port = 0;  // Never 0.
  // Path and query as sent in the request line, RFC 9112 section 3.2.1; empty only for a raw socket. Exchanges expect
  // signatures and tokens in the query.
  Secret target;

  bool IsRawSocket() const { return scheme == "tcp" || scheme == "tls"; }
  std::optional<IpAddress> Address() const;  // Of a host that is an IP literal.
  bool IsIpLiteral() const { return Address().has_value(); }
  // For the Host field, RFC 9110 section 7.2: the port only if it is not the scheme's own (a raw socket's has none),
  // IPv6 in brackets.
  std::string HostHeader() const;
  // scheme://host:port
  std::string Origin() const;
  // scheme://host:port/path: without the query.
  std::string Redacted() const;

  friend bool operator==(const TargetUrl&, const TargetUrl&) = default;
};

// Of a session: ws, wss, tcp or tls. Failures name "target.url" and never quote the URL: kLimitReached when it is
// longer than `max_bytes`, else kInvalidField.
Result<TargetUrl> ParseTarget(std::string_view url, std::size_t max_bytes);
// Of a request: http or https. Failures as above, but they name "request.url".
Result<TargetUrl> ParseRequestUrl(std::string_view url, std::size_t max_bytes);

// A host as TargetUrl holds it. Refused, as kInvalidField with a message that names no field: empty labels (so also a
// trailing dot), other characters than letters, digits, '-' and '_' (a name beyond ASCII must be punycode), and
// whatever a resolver may take for an address without it being one of IpAddress::Parse: "127.1", "0x7f000001",
// "2130706433", "0177.0.0.1".
Result<std::string> ParseHost(std::string_view host);

struct EgressRule {
  std::string name = {};                  // For logs and messages.
  std::vector<std::string> schemes = {};  // As in TargetUrl; empty: the encrypted ones.
  std::vector<std::string> hosts = {};  // As ParseHost returns them; or "*.example.com", every name below; or "*", any.
  std::vector<std::uint16_t> ports = {};  // Empty: any.
  std::vector<Cidr> cidrs = {};  // Lifted: allowed although not public. An IPv4 range lifts its v4-mapped form too.

  friend bool operator==(const EgressRule&, const EgressRule&) = default;
};

// An entry of EgressRule::hosts in its normal form; failures as ParseHost.
Result<std::string> ParseHostPattern(std::string_view pattern);

// Immutable. Without rules it allows nothing.
class Egress {
 public:
  Egress() = default;
  explicit Egress(std::vector<EgressRule> rules) : rules_(std::move(rules)) {}

  // The first rule, in configured order, that matches scheme, host and port; it lives as long as this object.
  // kEgressDenied.
  Result<const EgressRule*> Allow(const TargetUrl& target) const;

  // Whether `rule` lets a connection to `host` go to `address`: it must be public, or lifted. An address that carries
  // an IPv4 address (EmbeddedV4) needs both lifted or public. kEgressDenied; the message does not tell the address, or
  // it would answer those who probe a network by its names.
  static Result<void> AllowAddress(const EgressRule& rule, std::string_view host, const IpAddress& address);

  const std::vector<EgressRule>& rules() const { return rules_; }

 private:
  std::vector<EgressRule> rules_;
};

}  // namespace fairlead
