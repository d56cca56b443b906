// The bytes under a connection: a socket, plain or with TLS.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>
#include <functional>
#include <memory>
#include <string>

#include "exchange/certificate.h"

namespace exchange {

namespace asio = boost::asio;
using boost::system::error_code;
using Socket = asio::basic_stream_socket<asio::ip::tcp, asio::io_context::executor_type>;

// At most one read and one write at a time. Loop thread. Destruction ends both with operation_aborted.
class Wire {
 public:
  using Done = std::move_only_function<void(error_code)>;
  using Transferred = std::move_only_function<void(error_code, size_t)>;

  virtual ~Wire() = default;
  // TLS: the server's handshake. Plain: succeeds at once.
  virtual void Handshake(Done done) = 0;
  virtual void Read(asio::mutable_buffer buffer, Transferred done) = 0;
  virtual void Write(asio::const_buffer buffer, Done done) = 0;
  // TLS: sends close_notify. Plain: nothing. Neither touches the socket's own state.
  virtual void SayGoodbye(Done done) = 0;
  virtual std::string ServerName() const = 0;
  virtual Socket& socket() = 0;
};

std::unique_ptr<Wire> MakePlainWire(Socket socket);

// What all TLS wires of an exchange have in common.
class TlsContext {
 public:
  explicit TlsContext(const Identity& identity);
  ~TlsContext();
  std::unique_ptr<Wire> MakeWire(Socket socket);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace exchange
