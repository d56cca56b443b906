#include "net/direct_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <cerrno>
#include <climits>
#include <cstring>

namespace fairlead {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// What OpenSSL takes from the socket at a time: one call for many small records. Freed while nothing comes
// (SSL_MODE_RELEASE_BUFFERS).
constexpr size_t kReadAhead = 32 << 10;

error_code LastError() {
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return asio::error::would_block;
  return {errno, boost::system::system_category()};
}

size_t Receive(Socket& socket, char* buffer, size_t size, error_code& error) {
  const ssize_t received = recv(socket.native_handle(), buffer, size, MSG_DONTWAIT);
  if (received > 0) return static_cast<size_t>(received);
  error = received == 0 ? error_code(asio::error::eof) : LastError();
  return 0;
}

size_t Send(Socket& socket, const char* bytes, size_t size, error_code& error) {
  const ssize_t sent = send(socket.native_handle(), bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<size_t>(sent);
  error = LastError();
  return 0;
}

// OpenSSL's side of the socket, in place of Asio's pair of buffers. Its own would raise SIGPIPE.
struct Below {
  std::shared_ptr<Socket> socket;
  std::string ahead;  // What Asio had read.
  size_t taken = 0;
  error_code error;  // Of the socket, if that is why OpenSSL has failed.
};

Below& BelowOf(BIO* bio) { return *static_cast<Below*>(BIO_get_data(bio)); }

int BioRead(BIO* bio, char* buffer, int size) {
  Below& below = BelowOf(bio);
  BIO_clear_retry_flags(bio);
  if (const size_t left = below.ahead.size() - below.taken; left > 0) {
    const size_t bytes = std::min(left, static_cast<size_t>(size));
    std::memcpy(buffer, below.ahead.data() + below.taken, bytes);
    below.taken += bytes;
    if (bytes == left) {
      below.ahead = {};
      below.taken = 0;
    }
    return static_cast<int>(bytes);
  }
  error_code error;
  const size_t bytes = Receive(*below.socket, buffer, static_cast<size_t>(size), error);
  if (bytes > 0) return static_cast<int>(bytes);
  if (error == asio::error::would_block) {
    BIO_set_retry_read(bio);
  } else {
    below.error = error;
  }
  return error == asio::error::eof ? 0 : -1;
}

int BioWrite(BIO* bio, const char* bytes, int size) {
  Below& below = BelowOf(bio);
  BIO_clear_retry_flags(bio);
  error_code error;
  const size_t sent = Send(*below.socket, bytes, static_cast<size_t>(size), error);
  if (!error) return static_cast<int>(sent);
  if (error == asio::error::would_block) {
    BIO_set_retry_write(bio);
  } else {
    below.error = error;
  }
  return -1;
}

long BioControl(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  if (command == BIO_CTRL_EOF) return BelowOf(bio).error == asio::error::eof ? 1 : 0;
  return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0;
}

int BioDestroy(BIO* bio) {
  delete static_cast<Below*>(BIO_get_data(bio));
  return 1;
}

const BIO_METHOD* Method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fairlead socket");
    BIO_meth_set_read(made, BioRead);
    BIO_meth_set_write(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    BIO_meth_set_destroy(made, BioDestroy);
    return made;
  }();
  return method;
}

// After a call that took nothing. Says what to wait for; which of the two flags is the caller's own.
error_code FailureOf(SSL* ssl, int result, bool& wants_other, int other) {
  const int why = SSL_get_error(ssl, result);
  wants_other = why == other;
  switch (why) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return asio::error::would_block;
    case SSL_ERROR_ZERO_RETURN:
      return asio::error::eof;
    default:
      break;
  }
  const error_code below = BelowOf(SSL_get_rbio(ssl)).error;
  if (below == asio::error::eof) return asio::ssl::error::stream_truncated;
  if (below) return below;
  const unsigned long code = ERR_get_error();
  return code != 0 ? error_code(static_cast<int>(code), asio::error::get_ssl_category())
                   : error_code(asio::ssl::error::unspecified_system_error);
}

}  // namespace

DirectStream::DirectStream(Wire wire) : wire_(std::move(wire)) {
  if (wire_.tls() == nullptr) return;
  SSL* ssl = wire_.tls()->native_handle();
  SSL_up_ref(ssl);
  ssl_.reset(ssl);
  auto below = std::make_unique<Below>();
  below->socket = wire_.shared_socket();
  // What came with the end of the handshake: session tickets, perhaps more.
  BIO* const pair = SSL_get_rbio(ssl);
  below->ahead.resize(BIO_ctrl_pending(pair));
  if (!below->ahead.empty()) BIO_read(pair, below->ahead.data(), static_cast<int>(below->ahead.size()));
  BIO* const bio = BIO_new(Method());
  BIO_set_data(bio, below.release());
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_read_ahead(ssl, 1);
  SSL_set_default_read_buffer_len(ssl, kReadAhead);
  // With it goes what verified the peer: another handshake on this connection fails.
  wire_.ForgetTls();
}

size_t DirectStream::Read(char* buffer, size_t size, error_code& error) {
  error = {};
  SSL* ssl = ssl_.get();
  if (ssl == nullptr) return Receive(wire_.socket(), buffer, size, error);
  ERR_clear_error();
  const int got = SSL_read(ssl, buffer, static_cast<int>(std::min<size_t>(size, INT_MAX)));
  if (got > 0) return static_cast<size_t>(got);
  error = FailureOf(ssl, got, read_wants_write_, SSL_ERROR_WANT_WRITE);
  return 0;
}

size_t DirectStream::Write(const char* bytes, size_t size, error_code& error) {
  error = {};
  SSL* ssl = ssl_.get();
  if (ssl == nullptr) return Send(wire_.socket(), bytes, size, error);
  ERR_clear_error();
  const int put = SSL_write(ssl, bytes, static_cast<int>(std::min<size_t>(size, INT_MAX)));
  if (put > 0) return static_cast<size_t>(put);
  error = FailureOf(ssl, put, write_wants_read_, SSL_ERROR_WANT_READ);
  return 0;
}

}  // namespace fairlead
