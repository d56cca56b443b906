#include "net/resolve.h"

#include <boost/asio/ip/basic_resolver.hpp>

namespace fairlead {

namespace asio = boost::asio;

asio::ip::address ToAsio(const IpAddress& address) {
  if (address.is_v4) {
    return asio::ip::address_v4({address.bytes[0], address.bytes[1], address.bytes[2], address.bytes[3]});
  }
  return asio::ip::address_v6(address.bytes);
}

IpAddress FromAsio(const asio::ip::address& address) {
  return address.is_v4() ? IpAddress::V4(address.to_v4().to_bytes()) : IpAddress::V6(address.to_v6().to_bytes());
}

void Resolve(Loop& loop, const std::string& host, std::function<void(Result<std::vector<IpAddress>>)> done) {
  if (const auto literal = IpAddress::Parse(host)) {
    loop.Post([done = std::move(done), address = *literal] { done(std::vector{address}); });
    return;
  }
  using Resolver = asio::ip::basic_resolver<asio::ip::tcp, Executor>;
  auto resolver = std::make_shared<Resolver>(loop.context().get_executor());
  resolver->async_resolve(
      host, "", [resolver, done = std::move(done)](boost::system::error_code error, const auto& answers) {
        if (error)
          return done(NotSent(Reason::kResolveFailed, "the exchange's host name does not resolve: " + error.message()));
        std::vector<IpAddress> addresses;
        for (const auto& answer : answers) addresses.push_back(FromAsio(answer.endpoint().address()));
        if (addresses.empty()) return done(NotSent(Reason::kResolveFailed, "the exchange's host name has no address"));
        done(std::move(addresses));
      });
}

}  // namespace fairlead
