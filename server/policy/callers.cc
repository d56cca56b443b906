#include "policy/callers.h"

#include <absl/strings/match.h>

namespace fairlead {
namespace {

constexpr std::string_view kBearer = "bearer ";

std::unexpected<Failure> Unknown(const char* what) {
  return NotSent(Reason::kUnauthenticated, std::string(what) + " of no caller that is known here");
}

}  // namespace

Callers::Callers(const std::vector<Caller>& callers) {
  for (const Caller& caller : callers) {
    for (const std::string& name : caller.certificates) by_name_.emplace(name, caller.identity);
    for (const Sha256& token : caller.tokens) by_token_.emplace(token, caller.identity);
    for (const std::string& subject : caller.jwt_subjects) by_subject_.emplace(subject, caller.identity);
  }
}

Result<std::string> Callers::OfCertificate(std::span<const std::string> names) const {
  const std::string* identity = nullptr;
  for (const std::string& name : names) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) continue;
    if (identity != nullptr && *identity != found->second) return Unknown("the certificate is");
    identity = &found->second;
  }
  if (identity == nullptr) return Unknown("the certificate is");
  return *identity;
}

// By its hash: how long that takes tells nothing of a token.
Result<std::string> Callers::OfToken(const Sha256& hash) const {
  const auto found = by_token_.find(hash);
  if (found == by_token_.end()) return Unknown("the bearer token is");
  return found->second;
}

Result<std::string> Callers::OfSubject(std::string_view subject) const {
  const auto found = by_subject_.find(subject);
  if (found == by_subject_.end()) return Unknown("the token's subject is");
  return found->second;
}

std::string_view BearerToken(std::string_view authorization) {
  if (!absl::StartsWithIgnoreCase({authorization.data(), authorization.size()}, {kBearer.data(), kBearer.size()}))
    return {};
  authorization.remove_prefix(kBearer.size());
  const size_t begin = authorization.find_first_not_of(' ');
  return begin == std::string_view::npos ? std::string_view() : authorization.substr(begin);
}

}  // namespace fairlead
