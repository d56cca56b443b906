#include "policy/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <span>

namespace fairlead {
namespace {

struct Range {
  std::array<std::uint8_t, 4> start;
  unsigned prefix;
};

// IANA IPv4 special-purpose address registry, multicast and reserved.
constexpr Range kSpecialV4[] = {
    {{0, 0, 0, 0}, 8},         // This network; 0.0.0.0 connects to this host.
    {{10, 0, 0, 0}, 8},        // Private, RFC 1918.
    {{100, 64, 0, 0}, 10},     // Carrier-grade NAT, RFC 6598.
    {{127, 0, 0, 0}, 8},       // Loopback.
    {{168, 63, 129, 16}, 32},  // Azure's host agent: a public number, but answered by the machine's own host.
    {{169, 254, 0, 0}, 16},    // Link-local, RFC 3927; cloud metadata.
    {{172, 16, 0, 0}, 12},     // Private.
    {{192, 0, 0, 0}, 24},      // Protocol assignments, RFC 6890.
    {{192, 0, 2, 0}, 24},      // Documentation, RFC 5737.
    {{192, 88, 99, 0}, 24},    // 6to4 relays, RFC 7526.
    {{192, 168, 0, 0}, 16},    // Private.
    {{198, 18, 0, 0}, 15},     // Benchmarking, RFC 2544.
    {{198, 51, 100, 0}, 24},   // Documentation.
    {{203, 0, 113, 0}, 24},    // Documentation.
    {{224, 0, 0, 0}, 4},       // Multicast.
    {{240, 0, 0, 0}, 4},       // Reserved; 255.255.255.255 is broadcast.
};

// What is not public inside 2000::/3; all are told by the first four bytes.
constexpr Range kSpecialV6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23},  // Protocol assignments, RFC 2928: Teredo 2001::/32, benchmarking, ORCHID.
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // Documentation, RFC 3849.
    {{0x20, 0x02, 0x00, 0x00}, 16},  // 6to4.
    {{0x3f, 0xff, 0x00, 0x00}, 20},  // Documentation, RFC 9637.
};

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::array<std::uint8_t, 12> kNat64Prefix = {0x00, 0x64, 0xff, 0x9b};

bool SharePrefix(std::span<const std::uint8_t> left, std::span<const std::uint8_t> right, unsigned bits) {
  const std::size_t whole = bits / 8;
  if (!std::equal(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(whole), right.begin())) return false;
  if (bits % 8 == 0) return true;
  return ((left[whole] ^ right[whole]) >> (8 - bits % 8)) == 0;
}

bool InAny(std::span<const Range> ranges, const IpAddress& address) {
  return std::ranges::any_of(ranges,
                             [&](const Range& range) { return SharePrefix(range.start, address.bytes, range.prefix); });
}

}  // namespace

IpAddress IpAddress::V4(const std::array<std::uint8_t, 4>& bytes) {
  IpAddress address;
  std::ranges::copy(bytes, address.bytes.begin());
  address.is_v4 = true;
  return address;
}

IpAddress IpAddress::V6(const std::array<std::uint8_t, 16>& bytes) { return IpAddress{bytes, false}; }

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  // inet_pton reads up to a NUL.
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string terminated(text);
  IpAddress address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) {
    address.is_v4 = true;
    return address;
  }
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::string IpAddress::Text() const {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(is_v4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof(text));
  return text;
}

bool IpAddress::IsV4Mapped() const { return !is_v4 && SharePrefix(kMappedPrefix, bytes, 96); }

std::optional<IpAddress> IpAddress::EmbeddedV4() const {
  if (is_v4) return std::nullopt;
  if (IsV4Mapped() || SharePrefix(kNat64Prefix, bytes, 96)) return V4({bytes[12], bytes[13], bytes[14], bytes[15]});
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return V4({bytes[2], bytes[3], bytes[4], bytes[5]});
  return std::nullopt;
}

bool IpAddress::IsPublic() const {
  if (is_v4) return !InAny(kSpecialV4, *this);
  const bool global_unicast = (bytes[0] & 0xe0) == 0x20;  // 2000::/3, the only block that IANA has opened.
  return global_unicast && !InAny(kSpecialV6, *this);
}

bool Cidr::Contains(const IpAddress& address) const {
  return base.is_v4 == address.is_v4 && SharePrefix(base.bytes, address.bytes, prefix);
}

Result<Cidr> ParseCidr(std::string_view text) {
  const auto invalid = [](std::string message) { return NotSent(Reason::kInvalidField, std::move(message)); };
  const std::size_t slash = text.find('/');
  const std::string_view digits = slash == std::string_view::npos ? "" : text.substr(slash + 1);
  const auto base = IpAddress::Parse(text.substr(0, slash));
  unsigned prefix = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  const bool is_number = error == std::errc() && end == digits.data() + digits.size() && digits.front() != '-' &&
                         (digits.size() == 1 || digits.front() != '0');
  if (!base || !is_number) return invalid("not a range; expected ADDRESS/PREFIX, as \"10.0.0.0/8\" or \"fd00::/8\"");
  const unsigned width = base->is_v4 ? 32 : 128;
  if (prefix > width) return invalid("prefix is longer than the address; expected at most " + std::to_string(width));

  IpAddress start = *base;
  for (unsigned bit = prefix; bit < width; ++bit)
    start.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> (bit % 8)));
  if (start != *base) {
    return invalid("bits are set behind the prefix; expected \"" + start.Text() + "/" + std::to_string(prefix) + "\"");
  }
  if (base->IsV4Mapped() && prefix >= 96) {
    return invalid("a v4-mapped range; expected the IPv4 range, which covers its mapped form too");
  }
  return Cidr{*base, prefix};
}

}  // namespace fairlead
