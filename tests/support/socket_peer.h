// The far end of one connection in the hands of a test, byte by byte: plain or TLS, on loopback. Calls block the test's
// thread; each gives up after kPatience and fails the test.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "exchange/certificate.h"
#include "support/network.h"

namespace fairlead {

class SocketPeer {
 public:
  explicit SocketPeer(bool tls = false, int backlog = 16) : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    std::signal(SIGPIPE, SIG_IGN);
    const int small = 16 << 10;
    EXPECT_EQ(setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, backlog), 0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    if (!tls) return;
    identity_.emplace(exchange::MakeIdentity());
    context_.reset(SSL_CTX_new(TLS_server_method()));
    EXPECT_EQ(SSL_CTX_use_certificate(context_.get(), identity_->certificate.get()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.get(), identity_->key.get()), 1);
  }
  ~SocketPeer() {
    Close();
    StopListening();
  }
  SocketPeer(const SocketPeer&) = delete;
  SocketPeer& operator=(const SocketPeer&) = delete;

  uint16_t port() const { return port_; }
  // What a client must trust; empty without TLS.
  std::string ca_pem() const { return identity_ ? identity_->ca_pem : ""; }
  // "tcp" becomes "tcp://127.0.0.1:PORT"; with TLS the host is "localhost", as the certificate has it.
  std::string Url(const std::string& scheme) const {
    return scheme + "://" + (identity_ ? "localhost" : "127.0.0.1") + ":" + std::to_string(port_);
  }

  void Accept() {
    AcceptTcp();
    EXPECT_TRUE(!context_ || Handshake()) << "the TLS handshake failed";
  }
  bool Handshake() {
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), socket_);
    return SSL_accept(ssl_.get()) == 1;
  }
  // Without TLS, whatever was wanted.
  void AcceptTcp() {
    pollfd wait = {.fd = listener_, .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&wait, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())), 1) << "nobody came";
    socket_ = accept(listener_, nullptr, nullptr);
    ASSERT_GE(socket_, 0);
    const timeval patience = {.tv_sec = kPatience.count(), .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  }
  void StopListening() {
    if (listener_ >= 0) close(std::exchange(listener_, -1));
  }

  // So many bytes, or fewer if the other side has ended in order.
  std::string Read(size_t bytes) {
    std::string read(bytes, '\0');
    size_t got = 0;
    while (got < bytes) {
      const ssize_t more = ssl_ ? SSL_read(ssl_.get(), read.data() + got, static_cast<int>(bytes - got))
                                : recv(socket_, read.data() + got, bytes - got, 0);
      if (more <= 0) {
        const bool in_order =
            ssl_ ? SSL_get_error(ssl_.get(), static_cast<int>(more)) == SSL_ERROR_ZERO_RETURN : more == 0;
        EXPECT_TRUE(in_order) << "the connection broke, or nothing came";
        break;
      }
      got += static_cast<size_t>(more);
    }
    read.resize(got);
    return read;
  }
  // The other side has ended, in order and after nothing else.
  void ExpectEnd() { EXPECT_EQ(Read(1), "") << "more came"; }
  void Write(std::string_view bytes) {
    const ssize_t written = ssl_ ? SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()))
                                 : send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    EXPECT_EQ(written, static_cast<ssize_t>(bytes.size()));
  }

  // Ends our side in order, with TLS by close_notify; the other side can still be read.
  void End() {
    if (ssl_) SSL_shutdown(ssl_.get());
    shutdown(socket_, SHUT_WR);
  }
  // Without TLS's close_notify.
  void EndTcp() { shutdown(socket_, SHUT_WR); }
  // RST: the other side's unread bytes are gone, too.
  void Reset() {
    const linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    Close();
  }
  void Close() {
    ssl_.reset();
    if (socket_ >= 0) close(std::exchange(socket_, -1));
  }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };

  int listener_;
  int socket_ = -1;
  uint16_t port_ = 0;
  std::optional<exchange::Identity> identity_;
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> ssl_;
};

}  // namespace fairlead
