#include "exchange/wire.h"

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <string_view>

namespace exchange {
namespace {

class PlainWire : public Wire {
 public:
  explicit PlainWire(Socket socket) : socket_(std::move(socket)) {}
  void Handshake(Done done) override {
    asio::post(socket_.get_executor(), [done = std::move(done)]() mutable { done({}); });
  }
  void Read(asio::mutable_buffer buffer, Transferred done) override {
    socket_.async_read_some(buffer, std::move(done));
  }
  void Write(asio::const_buffer buffer, Done done) override {
    asio::async_write(socket_, buffer, [done = std::move(done)](error_code error, size_t) mutable { done(error); });
  }
  void SayGoodbye(Done done) override { Handshake(std::move(done)); }
  std::string ServerName() const override { return ""; }
  Socket& socket() override { return socket_; }

 private:
  Socket socket_;
};

class TlsWire : public Wire {
 public:
  TlsWire(Socket socket, asio::ssl::context& context) : stream_(std::move(socket), context) {}
  void Handshake(Done done) override { stream_.async_handshake(asio::ssl::stream_base::server, std::move(done)); }
  void Read(asio::mutable_buffer buffer, Transferred done) override {
    stream_.async_read_some(buffer, std::move(done));
  }
  void Write(asio::const_buffer buffer, Done done) override {
    asio::async_write(stream_, buffer, [done = std::move(done)](error_code error, size_t) mutable { done(error); });
  }
  void SayGoodbye(Done done) override { stream_.async_shutdown(std::move(done)); }
  std::string ServerName() const override {
    const char* name =
        SSL_get_servername(const_cast<TlsWire*>(this)->stream_.native_handle(), TLSEXT_NAMETYPE_host_name);
    return name == nullptr ? "" : name;
  }
  Socket& socket() override { return stream_.next_layer(); }

 private:
  asio::ssl::stream<Socket> stream_;
};

// Chooses http/1.1 of what the client offers (RFC 7301); another offer gets none.
int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offer, unsigned size,
                   void*) {
  constexpr std::string_view kHttp = "http/1.1";
  for (unsigned at = 0; at < size; at += 1 + offer[at]) {
    if (at + 1 + offer[at] > size) break;
    if (std::string_view(reinterpret_cast<const char*>(offer + at + 1), offer[at]) != kHttp) continue;
    *out = offer + at + 1;
    *out_size = offer[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

std::unique_ptr<Wire> MakePlainWire(Socket socket) { return std::make_unique<PlainWire>(std::move(socket)); }

struct TlsContext::Implementation {
  asio::ssl::context context{asio::ssl::context::tls_server};
};

TlsContext::TlsContext(const Identity& identity) : implementation_(std::make_unique<Implementation>()) {
  SSL_CTX* context = implementation_->context.native_handle();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_use_certificate(context, identity.certificate.get());
  SSL_CTX_use_PrivateKey(context, identity.key.get());
  SSL_CTX_set_alpn_select_cb(context, ChooseProtocol, nullptr);
}

TlsContext::~TlsContext() = default;

std::unique_ptr<Wire> TlsContext::MakeWire(Socket socket) {
  return std::make_unique<TlsWire>(std::move(socket), implementation_->context);
}

}  // namespace exchange
