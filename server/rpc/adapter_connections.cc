#include "rpc/adapter_connections.h"

#include <charconv>
#include <optional>
#include <system_error>

namespace fairlead {

Result<AdapterConnections::Over> AdapterConnections::OpenOf(const std::string& identity, const Access& access) {
  const std::lock_guard lock(mutex_);
  if (auto room = Add(identity, access); !room) return std::unexpected(std::move(room.error()));
  return [this, identity] {
    const std::lock_guard relock(mutex_);
    Remove(identity);
  };
}

AdapterConnections::Over AdapterConnections::Open(uint64_t listener, const std::string& peer) {
  const std::lock_guard lock(mutex_);
  const auto opened = connections_.emplace(Key{listener, peer}, std::set<std::string>());
  return [this, opened] {
    const std::lock_guard relock(mutex_);
    for (const std::string& identity : opened->second) Remove(identity);
    connections_.erase(opened);
  };
}

Result<void> AdapterConnections::Claim(uint64_t listener, const std::string& peer, const std::string& identity,
                                       const Access& access) {
  const std::lock_guard lock(mutex_);
  const auto [begin, end] = connections_.equal_range({listener, peer});
  if (begin == end) return NotSent(Reason::kConnectionLost, "the connection that the call came by is over");
  for (auto each = begin; each != end; ++each) {
    if (each->second.contains(identity)) continue;
    if (auto room = Add(identity, access); !room) return room;
    each->second.insert(identity);
  }
  return {};
}

Result<void> AdapterConnections::Add(const std::string& identity, const Access& access) {
  const auto has = count_.find(identity);
  const uint64_t wanted = (has == count_.end() ? 0 : has->second) + 1;
  if (auto room = access.CheckCap(identity, Cap::kConnections, wanted); !room) return room;
  count_[identity] = wanted;
  return {};
}

void AdapterConnections::Remove(const std::string& identity) {
  const auto has = count_.find(identity);
  if (--has->second == 0) count_.erase(has);
}

std::string PeerOf(std::string_view peer) {
  const bool is_v4 = peer.starts_with("ipv4:");
  if (!is_v4 && !peer.starts_with("ipv6:")) return "";
  peer.remove_prefix(5);
  const size_t colon = peer.rfind(':');
  if (colon == std::string_view::npos) return "";
  std::string_view host = peer.substr(0, colon);
  const std::string_view digits = peer.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), port);
  if (error != std::errc() || end != digits.end()) return "";
  for (const std::string_view open : {"[", "%5B"}) {
    if (host.starts_with(open)) host.remove_prefix(open.size());
  }
  host = host.substr(0, host.find_first_of("%]"));  // Before a zone, or the end of the brackets.
  const auto address = IpAddress::Parse(host);
  return address ? PeerOf(*address, port) : "";
}

std::string PeerOf(const IpAddress& address, uint16_t port) {
  const auto plain = address.IsV4Mapped() ? address.EmbeddedV4() : std::nullopt;
  return plain.value_or(address).Text() + " " + std::to_string(port);
}

}  // namespace fairlead
