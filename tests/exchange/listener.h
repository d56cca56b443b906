// One listening port of the exchange.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <optional>
#include <string>

#include "exchange/wire.h"

namespace exchange {

// Loop thread. Keeps its port while it refuses.
class Listener {
 public:
  using Accepted = std::function<void(Socket)>;

  // Listens at once; port 0 = any free one. Throws std::runtime_error when the port cannot be had.
  Listener(asio::io_context& loop, const std::string& address, uint16_t port, Accepted accepted);

  // Off: connecting to the port is refused, until it is on again.
  void SetOpen(bool open);
  const asio::ip::tcp::endpoint& endpoint() const { return endpoint_; }

 private:
  using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, asio::io_context::executor_type>;

  void Bind();
  void Accept();

  asio::io_context& loop_;
  asio::ip::tcp::endpoint endpoint_;
  const Accepted accepted_;
  std::optional<Acceptor> acceptor_;
  bool open_ = true;
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                             asio::io_context::executor_type>
      retry_;
};

}  // namespace exchange
