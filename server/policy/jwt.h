// JSON Web Tokens (RFC 7519) of callers: signed by a key of the issuer's set (RFC 7517), for us, and in time.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/failure.h"
#include "base/time.h"

namespace fairlead {

// What the issuer signs with. RSA of 2048 bits at least, and the NIST curves; what is for something else than signing
// is left out. Any thread.
class JwtKeys {
 public:
  // A JWK Set. kInvalidField: it is none, has no usable key, or a symmetric or a private one, which is nobody's to
  // have.
  static Result<JwtKeys> Parse(std::string_view json);
  ~JwtKeys();
  JwtKeys(JwtKeys&&) noexcept;
  JwtKeys& operator=(JwtKeys&&) noexcept;

 private:
  friend class JwtRules;
  struct Key;
  JwtKeys();
  std::vector<Key> keys_;
};

struct JwtClaims {
  std::string subject;
  WallTime expires;  // The token's own word; who accepts it adds kJwtLeeway.
};

// Clocks differ: of both sides of exp and nbf.
inline constexpr Duration kJwtLeeway = std::chrono::seconds(30);
inline constexpr size_t kMostJwtBytes = size_t{16} << 10;
inline constexpr size_t kMostJwtKeyBytes = size_t{1} << 20;  // Of a file with keys.

// Of one issuer. Any thread.
class JwtRules {
 public:
  JwtRules(std::string issuer, std::string audience) : issuer_(std::move(issuer)), audience_(std::move(audience)) {}

  // Compact serialization, signed by RS, PS or ES with SHA-2; with iss, aud, exp and sub, and nothing critical that is
  // not known here. kUnauthenticated: it says what is wrong only to who shows a good signature.
  Result<JwtClaims> Verify(std::string_view token, const JwtKeys& keys, WallTime now) const;

 private:
  std::string issuer_;
  std::string audience_;
};

// Three parts: a token that is nothing of the kind is looked for by its hash.
bool LooksLikeJwt(std::string_view token);

}  // namespace fairlead
