// The exchange's own certificate authority and the server certificate that it signs. Made anew, in memory, at each
// start.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace exchange {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

struct Identity {
  std::string ca_pem;       // what a client must trust
  Key key;                  // ECDSA P-256
  Certificate certificate;  // for localhost, 127.0.0.1 and ::1; valid from an hour ago for 30 days
};

// Throws std::runtime_error when OpenSSL fails.
Identity MakeIdentity();

}  // namespace exchange
