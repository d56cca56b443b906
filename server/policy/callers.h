// Who a call comes from, by what it has proved. Nobody that is not configured.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/failure.h"

namespace fairlead {

using Sha256 = std::array<uint8_t, 32>;

// Of fairlead.config.v1.Caller, which documents each.
struct Caller {
  std::string identity;
  std::vector<std::string> certificates;
  std::vector<Sha256> tokens;
  std::vector<std::string> jwt_subjects = {};

  friend bool operator==(const Caller&, const Caller&) = default;
};

// Of fairlead.config.v1.ListenerTls, which documents each: PEM files, read again when they change.
struct ListenerTls {
  std::string certificate_file;
  std::string key_file;
  std::string client_ca_file;  // Empty: no certificates are asked for.
  friend bool operator==(const ListenerTls&, const ListenerTls&) = default;
};

// Of fairlead.config.v1.Jwt, which documents each.
struct JwtOptions {
  std::string issuer;
  std::string audience;
  std::string keys_file;
  friend bool operator==(const JwtOptions&, const JwtOptions&) = default;
};

class Callers {
 public:
  Callers() = default;
  explicit Callers(const std::vector<Caller>& callers);

  // The names are of a certificate that has been verified. kUnauthenticated: of none, or of several. It does not tell
  // more: who asks may be anybody.
  Result<std::string> OfCertificate(std::span<const std::string> names) const;
  Result<std::string> OfToken(const Sha256& hash) const;
  // Of a JWT that has been verified.
  Result<std::string> OfSubject(std::string_view subject) const;

 private:
  std::map<std::string, std::string, std::less<>> by_name_;
  std::map<Sha256, std::string> by_token_;
  std::map<std::string, std::string, std::less<>> by_subject_;
};

// "Bearer TOKEN" (RFC 6750 section 2.1): the token; empty if it is nothing of the kind.
std::string_view BearerToken(std::string_view authorization);

}  // namespace fairlead
