// Whose the connections of adapters are. gRPC tells neither which connection a call came by nor when one ends; the
// listener knows the latter, and the peer's address ties the two together.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "policy/access.h"

namespace fairlead {

// Any thread. Outlives the connections.
class AdapterConnections {
 public:
  // To be called once, when the connection is over.
  using Over = std::function<void()>;

  // A connection that is this identity's from its beginning. kLimitReached: it has as many as it may.
  Result<Over> OpenOf(const std::string& identity, const Access& access);
  // One whose calls will tell. `listener` is a number of the caller's; `peer` as PeerOf gives it.
  Over Open(uint64_t listener, const std::string& peer);
  // A call of the identity came by this connection, which counts as one of its own from now on, to its end. One may be
  // several identities'. Of connections that cannot be told apart (one peer's address and port, to several addresses of
  // one listener) each counts. kLimitReached: it has as many as it may, and this is not one of them.
  Result<void> Claim(uint64_t listener, const std::string& peer, const std::string& identity, const Access& access);

 private:
  using Key = std::pair<uint64_t, std::string>;
  Result<void> Add(const std::string& identity, const Access& access);
  void Remove(const std::string& identity);

  std::mutex mutex_;
  std::multimap<Key, std::set<std::string>> connections_;  // And whose each is.
  std::map<std::string, uint64_t> count_;
};

// "192.0.2.1 4711" of what gRPC calls a peer, "ipv4:192.0.2.1:4711" or "ipv6:%5B2001:db8::1%5D:4711": one spelling of
// each address, an IPv4 one in IPv6 clothes undressed, without a zone. Empty: it is none of these.
std::string PeerOf(std::string_view peer);
std::string PeerOf(const IpAddress& address, uint16_t port);

}  // namespace fairlead
