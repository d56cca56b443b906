// From a host name to addresses. Asio's resolver for now: one background thread, so a slow name holds up the others;
// c-ares will take its place behind this function.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/failure.h"
#include "net/loop.h"
#include "policy/egress.h"

namespace fairlead {

// Loop thread. done comes once, from the loop, in the resolver's order; an address literal resolves to itself. Not
// cancellable: whoever has lost interest ignores the answer.
void Resolve(Loop& loop, const std::string& host, std::function<void(Result<std::vector<IpAddress>>)> done);

// Between our addresses and Asio's.
boost::asio::ip::address ToAsio(const IpAddress& address);
IpAddress FromAsio(const boost::asio::ip::address& address);

}  // namespace fairlead
