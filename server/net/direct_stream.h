// A connected socket, plain or TLS, that is read and written without waiting: whoever uses it waits for the socket to
// be ready, and takes as much as there is. Measured against Asio's composed operations: one wake-up for what lies in
// the kernel, not one for each TLS record, and no buffer while nothing comes.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "net/tls.h"

namespace fairlead {

// Loop thread.
class DirectStream {
 public:
  // With TLS, the handshake is done. From here on the wire's own reads and writes are not to be used.
  explicit DirectStream(Wire wire);

  // How many bytes; zero with error: would_block if it is the socket that must be waited for, else the end.
  size_t Read(char* buffer, size_t size, boost::system::error_code& error);
  size_t Write(const char* bytes, size_t size, boost::system::error_code& error);

  // A read that did not fill its buffer took all there was: waiting is as good as trying. TLS reads record by record.
  bool EmptiedByShortRead() const { return ssl_ == nullptr; }

  // After would_block: calls back with no error when it is worth trying again. One of each at a time. Abort ends both.
  template <typename Handler>
  void WaitToRead(Handler&& handler) {
    wire_.socket().async_wait(read_wants_write_ ? Socket::wait_write : Socket::wait_read,
                              std::forward<Handler>(handler));
  }
  template <typename Handler>
  void WaitToWrite(Handler&& handler) {
    wire_.socket().async_wait(write_wants_read_ ? Socket::wait_read : Socket::wait_write,
                              std::forward<Handler>(handler));
  }

  Wire& wire() { return wire_; }
  const Wire& wire() const { return wire_; }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  Wire wire_;
  std::unique_ptr<SSL, Free> ssl_;  // Without Asio's stream, whose buffers take 50 KiB; null if plain.
  // TLS may have to read in order to write, and the other way round (key updates, RFC 8446 section 4.6.3).
  bool read_wants_write_ = false;
  bool write_wants_read_ = false;
};

}  // namespace fairlead
