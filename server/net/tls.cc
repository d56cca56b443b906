#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <array>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>

#include "net/resolve.h"
#include "net/tcp_progress.h"

namespace fairlead {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;

constexpr size_t kMaxKeptSessions = 4096;
constexpr std::array<unsigned char, 9> kAlpn = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

int OwnerIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

void FreeOrigin(void* /*parent*/, void* origin, CRYPTO_EX_DATA* /*ad*/, int /*index*/, long /*argl*/, void* /*argp*/) {
  delete static_cast<std::string*>(origin);
}

int OriginIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, FreeOrigin);
  return index;
}

// Reads and drops what still comes, until the peer ends or a second has passed.
struct Lingering : std::enable_shared_from_this<Lingering> {
  explicit Lingering(std::shared_ptr<Socket> s) : socket(std::move(s)), timer(socket->get_executor()) {}
  void Run() {
    timer.expires_after(std::chrono::seconds(1));
    timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
      boost::system::error_code ignored;
      if (!error) self->socket->close(ignored);
    });
    Read();
  }
  void Read() {
    socket->async_read_some(asio::buffer(dropped),
                            [self = shared_from_this()](boost::system::error_code error, size_t) {
                              if (!error) return self->Read();
                              boost::system::error_code ignored;
                              self->socket->close(ignored);
                              self->timer.cancel();
                            });
  }
  std::shared_ptr<Socket> socket;
  SteadyTimer timer;
  std::array<char, 4096> dropped;
};

}  // namespace

TlsClient::TlsClient() {
  SSL_CTX* context = context_.native_handle();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // Idle sessions are many; their buffers need not be.
  context_.set_verify_mode(ssl::verify_peer);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_set_ex_data(context, OwnerIndex(), this);
  SSL_CTX_sess_set_new_cb(context, &TlsClient::KeepSession);
}

TlsClient::~TlsClient() {
  for (const auto& [origin, session] : sessions_) SSL_SESSION_free(session);
}

Result<std::unique_ptr<TlsClient>> TlsClient::Make(const std::vector<std::string>& ca_files, bool system_authorities) {
  std::unique_ptr<TlsClient> client(new TlsClient);
  boost::system::error_code error;
  if (system_authorities) {
    client->context_.set_default_verify_paths(error);
    if (error) return NotSent(Reason::kTlsFailed, "tls.system_authorities: " + error.message());
  }
  for (const std::string& file : ca_files) {
    client->context_.load_verify_file(file, error);
    if (error) return NotSent(Reason::kTlsFailed, "tls.ca_files: " + file + ": " + error.message());
  }
  return client;
}

int TlsClient::KeepSession(SSL* stream, SSL_SESSION* session) {
  auto* client = static_cast<TlsClient*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(stream), OwnerIndex()));
  const auto* origin = static_cast<std::string*>(SSL_get_ex_data(stream, OriginIndex()));
  if (origin == nullptr) return 0;
  auto kept = client->sessions_.find(*origin);
  if (kept == client->sessions_.end()) {
    if (client->sessions_.size() >= kMaxKeptSessions) return 0;
    kept = client->sessions_.emplace(*origin, nullptr).first;
  }
  // A copy: OpenSSL spoils the session of a stream that ends without close_notify, as most do.
  SSL_SESSION_free(std::exchange(kept->second, SSL_SESSION_dup(session)));
  return 0;  // The reference stays OpenSSL's.
}

std::unique_ptr<TlsClient::Stream> TlsClient::MakeStream(Socket& socket, const TargetUrl& url) {
  auto stream = std::make_unique<Stream>(socket, context_);
  SSL* handle = stream->native_handle();
  stream->set_verify_callback(ssl::host_name_verification(url.host));
  if (!url.IsIpLiteral()) SSL_set_tlsext_host_name(handle, url.host.c_str());
  if (!url.IsRawSocket()) SSL_set_alpn_protos(handle, kAlpn.data(), kAlpn.size());
  auto origin = std::make_unique<std::string>(url.host + ":" + std::to_string(url.port));
  if (const auto kept = sessions_.find(*origin); kept != sessions_.end() && kept->second != nullptr) {
    SSL_SESSION* copy = SSL_SESSION_dup(kept->second);
    SSL_set_session(handle, copy);
    SSL_SESSION_free(copy);
  }
  SSL_set_ex_data(handle, OriginIndex(), origin.release());
  return stream;
}

Failure TlsFailure(TlsClient::Stream& stream, const boost::system::error_code& error) {
  const long verified = SSL_get_verify_result(stream.native_handle());
  const bool rejected = error.category() == asio::error::get_ssl_category() &&
                        ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  if (!rejected) return Failure{Reason::kTlsFailed, Phase::kNotSent, "TLS handshake: " + error.message()};
  const char* why = verified == X509_V_OK ? "it is not for this host" : X509_verify_cert_error_string(verified);
  return Failure{Reason::kCertificateRejected, Phase::kNotSent,
                 std::string("the exchange's certificate is rejected: ") + why + "; tls.ca_files can add an authority"};
}

void Wire::Abort() {
  boost::system::error_code ignored;
  socket_->close(ignored);
}

void Wire::Linger() {
  boost::system::error_code error;
  socket_->shutdown(Socket::shutdown_send, error);
  if (error) return Abort();
  std::make_shared<Lingering>(socket_)->Run();
}

void Wire::EndWriting() {
  if (tls_) {
    // The second half of OpenSSL's shutdown waits for the peer's close_notify, and takes frames that still come for an
    // error. We read them: so for the moment of the call, in which OpenSSL writes ours, the peer is said to have ended.
    SSL* handle = tls_->native_handle();
    const int before = SSL_get_shutdown(handle);
    SSL_set_shutdown(handle, before | SSL_RECEIVED_SHUTDOWN);
    tls_->async_shutdown([socket = socket_, tls = tls_](boost::system::error_code) {});
    SSL_set_shutdown(handle, before | SSL_SENT_SHUTDOWN);
    return;
  }
  boost::system::error_code ignored;
  socket_->shutdown(Socket::shutdown_send, ignored);
}

bool Wire::Quiet() const {
  pollfd poll_for = {.fd = socket_->native_handle(), .events = POLLIN | POLLRDHUP, .revents = 0};
  return poll(&poll_for, 1, 0) == 0;
}

std::optional<IpAddress> Wire::address() const {
  boost::system::error_code error;
  const auto endpoint = socket_->remote_endpoint(error);
  return error ? std::nullopt : std::optional(FromAsio(endpoint.address()));
}

uint64_t Wire::BytesAcknowledged() const { return fairlead::BytesAcknowledged(socket_->native_handle()); }

}  // namespace fairlead
