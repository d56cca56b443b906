// The one factory of outbound TLS, and the byte stream that a transport runs on: plain or TLS.
//
// Asio's TLS verifies nothing and sends no server name unless told; here every stream is told.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/failure.h"
#include "net/loop.h"
#include "policy/egress.h"

namespace fairlead {

// Loop thread. Outlives its streams.
class TlsClient {
 public:
  // TLS 1.2 at least, the peer verified against the given authorities (PEM files) and, if wanted, the system's.
  static Result<std::unique_ptr<TlsClient>> Make(const std::vector<std::string>& ca_files, bool system_authorities);

  using Stream = boost::asio::ssl::stream<Socket&>;
  // A stream that verifies the URL's host, names it (SNI, RFC 6066; not for addresses), offers http/1.1 (ALPN, RFC
  // 7301; not for a raw socket, which speaks what nobody knows) and resumes an earlier session with the same origin.
  std::unique_ptr<Stream> MakeStream(Socket& socket, const TargetUrl& url);

  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

 private:
  TlsClient();
  static int KeepSession(SSL* ssl, SSL_SESSION* session);

  boost::asio::ssl::context context_{boost::asio::ssl::context::tls_client};
  // By "host:port"; what a stream's handshake left to resume from. Bounded.
  std::map<std::string, SSL_SESSION*, std::less<>> sessions_;
};

// Why a handshake failed, and whether the certificate was at fault.
Failure TlsFailure(TlsClient::Stream& stream, const boost::system::error_code& error);

// A connected byte stream, plain or TLS, as Asio reads and writes it.
class Wire {
 public:
  using executor_type = Executor;

  explicit Wire(std::shared_ptr<Socket> socket, std::shared_ptr<TlsClient::Stream> tls = nullptr)
      : socket_(std::move(socket)), tls_(std::move(tls)) {}

  executor_type get_executor() { return socket_->get_executor(); }

  template <typename Buffers, typename Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return tls_ ? tls_->async_read_some(buffers, std::forward<Token>(token))
                : socket_->async_read_some(buffers, std::forward<Token>(token));
  }
  template <typename Buffers, typename Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return tls_ ? tls_->async_write_some(buffers, std::forward<Token>(token))
                : socket_->async_write_some(buffers, std::forward<Token>(token));
  }

  Socket& socket() { return *socket_; }
  const std::shared_ptr<Socket>& shared_socket() const { return socket_; }
  // Null if plain.
  TlsClient::Stream* tls() const { return tls_.get(); }
  void ForgetTls() { tls_.reset(); }
  // Closes at once.
  void Abort();
  // Ends our side and closes when the peer has ended its own, or after a second: closing with unread bytes would reset
  // the connection and could take the close frame that we have just sent with it.
  void Linger();
  // Ends our side in order, a TLS stream with its close_notify; the peer's side can still be read. Nothing is being
  // written.
  void EndWriting();
  // Nothing has come that was not read: neither bytes nor the peer's end.
  bool Quiet() const;
  uint64_t BytesAcknowledged() const;
  // Of the peer; absent: it is closed.
  std::optional<IpAddress> address() const;

 private:
  std::shared_ptr<Socket> socket_;
  std::shared_ptr<TlsClient::Stream> tls_;
};

}  // namespace fairlead
