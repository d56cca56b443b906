#include "exchange/listener.h"

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <stdexcept>
#include <string>

namespace exchange {

namespace {

asio::ip::tcp::endpoint Endpoint(const std::string& address, uint16_t port) {
  error_code error;
  const auto ip = asio::ip::make_address(address, error);
  if (error) throw std::runtime_error(address + " is not an IP address");
  return {ip, port};
}

}  // namespace

Listener::Listener(asio::io_context& loop, const std::string& address, uint16_t port, Accepted accepted)
    : loop_(loop), endpoint_(Endpoint(address, port)), accepted_(std::move(accepted)), retry_(loop.get_executor()) {
  try {
    Bind();
    acceptor_->listen(1024);
  } catch (const boost::system::system_error& error) {
    throw std::runtime_error("cannot listen on " + address + " port " + std::to_string(port) + ": " +
                             error.code().message());
  }
  Accept();
}

void Listener::Bind() {
  acceptor_.emplace(loop_.get_executor());
  acceptor_->open(endpoint_.protocol());
  acceptor_->set_option(asio::socket_base::reuse_address(true));
  acceptor_->bind(endpoint_);
  endpoint_ = acceptor_->local_endpoint();
}

void Listener::SetOpen(bool open) {
  if (open == open_) return;
  open_ = open;
  if (open) {
    acceptor_->listen(1024);
    Accept();
  } else {
    // A socket that is bound but does not listen keeps the port, and the kernel refuses for it.
    acceptor_->close();
    Bind();
  }
}

void Listener::Accept() {
  acceptor_->async_accept(loop_.get_executor(), [this](error_code error, Socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      accepted_(std::move(socket));
      if (open_) Accept();
      return;
    }
    // Out of descriptors, most likely: others will be closed.
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([this](error_code cancelled) {
      if (!cancelled && open_) Accept();
    });
  });
}

}  // namespace exchange
