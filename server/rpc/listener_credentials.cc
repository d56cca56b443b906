#include "rpc/listener_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <chrono>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/read_file.h"

namespace fairlead {
namespace {

constexpr std::chrono::seconds kLookAgain{1};
constexpr size_t kMostBytes = size_t{4} << 20;  // Of a file. All authorities of Debian are a twentieth of it.

struct Pem {
  std::string certificate;  // And those between it and its authority.
  std::string key;
  std::string client_authorities;  // Empty: no certificates are asked for.
  friend bool operator==(const Pem&, const Pem&) = default;
};

Result<Pem> Read(const ListenerTls& tls) {
  Pem pem;
  const std::pair<const std::string&, std::string&> files[] = {
      {tls.certificate_file, pem.certificate}, {tls.key_file, pem.key}, {tls.client_ca_file, pem.client_authorities}};
  for (const auto& [path, into] : files) {
    if (path.empty()) continue;
    auto text = ReadFile(path, kMostBytes);
    if (!text) return NotSent(Reason::kTlsFailed, "\"" + path + "\" cannot be read: " + text.error());
    into = std::move(*text);
  }
  return pem;
}

template <typename T, auto Free>
using Owned = std::unique_ptr<T, decltype([](T* each) { Free(each); })>;
using Certificate = Owned<X509, X509_free>;
using Key = Owned<EVP_PKEY, EVP_PKEY_free>;
using Bio = Owned<BIO, BIO_free>;

Bio Over(const std::string& text) { return Bio(BIO_new_mem_buf(text.c_str(), static_cast<int>(text.size()))); }

// An encrypted key is no key: nobody is there to be asked for its password.
int NoPassword(char* /*buffer*/, int /*size*/, int /*for_writing*/, void* /*data*/) { return -1; }

Result<void> Check(const ListenerTls& tls, const Pem& pem) {
  ERR_clear_error();
  const Certificate certificate(PEM_read_bio_X509(Over(pem.certificate).get(), nullptr, NoPassword, nullptr));
  const Key key(PEM_read_bio_PrivateKey(Over(pem.key).get(), nullptr, NoPassword, nullptr));
  if (!certificate || !key || X509_check_private_key(certificate.get(), key.get()) != 1) {
    const char* why = ERR_reason_error_string(ERR_get_error());
    return NotSent(Reason::kTlsFailed,
                   "\"" + tls.certificate_file + "\" and \"" + tls.key_file +
                       "\" are no certificate and its key: " + (why == nullptr ? "unreadable" : why));
  }
  const bool asks = !tls.client_ca_file.empty();
  if (asks && !Certificate(PEM_read_bio_X509(Over(pem.client_authorities).get(), nullptr, NoPassword, nullptr)))
    return NotSent(Reason::kTlsFailed, "\"" + tls.client_ca_file + "\" has no certificate");
  return {};
}

class FileCredentials final : public grpc::ServerCredentials {
 public:
  FileCredentials(ListenerTls tls, Pem pem) : tls_(std::move(tls)), pem_(std::move(pem)), seen_(pem_) {}

  // No listener has one.
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>& /*processor*/) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    auto* options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
        tls_.client_ca_file.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
        [](void* self, grpc_ssl_server_certificate_config** config) {
          return static_cast<FileCredentials*>(self)->Fetch(config);
        },
        this);
    grpc_server_credentials* credentials = grpc_ssl_server_credentials_create_with_options(options);
    const int port = grpc_server_add_http2_port(server, address.c_str(), credentials);
    grpc_server_credentials_release(credentials);
    return port;
  }

  // Before each handshake, one at a time: gRPC's threads, and it holds a lock of its own.
  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config) {
    const bool first = !looked_at_;
    if (!first && !TakeNew()) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    looked_at_ = std::chrono::steady_clock::now();
    const grpc_ssl_pem_key_cert_pair pair{.private_key = pem_.key.c_str(), .cert_chain = pem_.certificate.c_str()};
    // gRPC insists on authorities, also where it asks nobody for a certificate; then they are of no consequence.
    const std::string& authorities = tls_.client_ca_file.empty() ? pem_.certificate : pem_.client_authorities;
    *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  // Whether the files hold something else now, and it is good.
  bool TakeNew() {
    const auto now = std::chrono::steady_clock::now();
    if (now - *looked_at_ < kLookAgain) return false;
    looked_at_ = now;
    auto pem = Read(tls_);
    if (pem && *pem == seen_) return false;
    const Result<void> good = pem ? Check(tls_, *pem) : std::unexpected(pem.error());
    seen_ = pem ? *pem : Pem{};
    if (good) {
      told_.clear();
      if (*pem == pem_) return false;
      pem_ = std::move(*pem);
      Log(Level::kInfo, "listener.certificate", {{"message", "\"" + tls_.certificate_file + "\" is taken anew"}});
      return true;
    }
    if (std::exchange(told_, good.error().message) != told_)
      Log(Level::kWarn, "listener.certificate", {{"message", "what was there goes on: " + told_}});
    return false;
  }

  const ListenerTls tls_;
  Pem pem_;   // What is served.
  Pem seen_;  // What the files held last.
  std::string told_;
  std::optional<std::chrono::steady_clock::time_point> looked_at_;
};

}  // namespace

Result<std::shared_ptr<grpc::ServerCredentials>> ListenerCredentials(const ListenerTls& tls) {
  auto pem = Read(tls);
  if (!pem) return std::unexpected(std::move(pem.error()));
  if (auto good = Check(tls, *pem); !good) return std::unexpected(std::move(good.error()));
  return std::make_shared<FileCredentials>(tls, std::move(*pem));
}

}  // namespace fairlead
