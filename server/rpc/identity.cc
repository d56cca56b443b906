#include "rpc/identity.h"

#include <grpc/grpc_security_constants.h>
#include <openssl/evp.h>

#include <string_view>
#include <vector>

namespace fairlead {
namespace {

Sha256 Hash(std::string_view text) {
  Sha256 hash{};
  EVP_Digest(text.data(), text.size(), hash.data(), nullptr, EVP_sha256(), nullptr);
  return hash;
}

}  // namespace

Result<std::string> Identity::Of(const grpc::ServerContextBase& context) const {
  if (callers_ == nullptr) return fixed_;
  const auto proved = context.auth_context();
  if (proved != nullptr && proved->IsPeerAuthenticated()) {
    std::vector<std::string> names;
    for (const char* property : {GRPC_PEER_URI_PROPERTY_NAME, GRPC_PEER_DNS_PROPERTY_NAME}) {
      for (const grpc::string_ref& name : proved->FindPropertyValues(property))
        names.emplace_back(name.data(), name.size());
    }
    if (auto identity = callers_->OfCertificate(names)) return identity;
  }
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  const bool is_one = begin != end && std::next(begin) == end;
  const std::string_view token =
      is_one ? BearerToken({begin->second.data(), begin->second.size()}) : std::string_view();
  if (token.empty()) {
    return NotSent(
        Reason::kUnauthenticated,
        "no caller that is known here: send a client certificate of one, or \"authorization: Bearer TOKEN\"");
  }
  return callers_->OfToken(Hash(token));
}

}  // namespace fairlead
