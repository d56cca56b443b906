// IP addresses and ranges as values, without any socket library.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/failure.h"

namespace fairlead {

struct IpAddress {
  // Network order. An IPv4 address is in the first four, the rest is zero.
  std::array<std::uint8_t, 16> bytes = {};
  bool is_v4 = false;

  static IpAddress V4(const std::array<std::uint8_t, 4>& bytes);
  static IpAddress V6(const std::array<std::uint8_t, 16>& bytes);
  // Dotted decimal of four parts without leading zeros, or RFC 4291 section 2.2 without brackets and zone; else
  // nothing.
  static std::optional<IpAddress> Parse(std::string_view text);

  // The canonical spelling (RFC 5952), without brackets.
  std::string Text() const;
  // ::ffff:0:0/96, an IPv4 address in IPv6 clothes (RFC 4291 section 2.5.5.2).
  bool IsV4Mapped() const;
  // The IPv4 address that a v4-mapped, NAT64 (64:ff9b::/96, RFC 6052) or 6to4 (2002::/16, RFC 3056) address carries.
  std::optional<IpAddress> EmbeddedV4() const;
  // Globally reachable by the IANA special-purpose registries (RFC 6890). IPv6 is public only in 2000::/3 and there
  // outside of the special ranges, so a form that carries an IPv4 address never is.
  bool IsPublic() const;

  friend bool operator==(const IpAddress&, const IpAddress&) = default;
};

// A range of addresses: those that share the first `prefix` bits with `base`, in the same family.
struct Cidr {
  IpAddress base;
  unsigned prefix = 0;

  bool Contains(const IpAddress& address) const;

  friend bool operator==(const Cidr&, const Cidr&) = default;
};

// "10.0.0.0/8", "fd00::/8". Refused: no prefix, bits set behind the prefix, and a v4-mapped range (the IPv4 range
// covers it). Failures are kInvalidField; their message names no field.
Result<Cidr> ParseCidr(std::string_view text);

}  // namespace fairlead
