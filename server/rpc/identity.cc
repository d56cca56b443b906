#include "rpc/identity.h"

#include <grpc/grpc_security_constants.h>
#include <openssl/evp.h>

#include <iterator>
#include <string_view>

#include "rpc/jwt_issuer.h"

namespace fairlead {
namespace {

Proof ProofOf(const grpc::ServerContextBase& context, JwtIssuer* issuer) {
  Proof proof;
  const auto proved = context.auth_context();
  if (proved != nullptr && proved->IsPeerAuthenticated()) {
    for (const char* property : {GRPC_PEER_URI_PROPERTY_NAME, GRPC_PEER_DNS_PROPERTY_NAME}) {
      for (const grpc::string_ref& name : proved->FindPropertyValues(property))
        proof.names.emplace_back(name.data(), name.size());
    }
  }
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  const bool is_one = begin != end && std::next(begin) == end;
  const std::string_view token =
      is_one ? BearerToken({begin->second.data(), begin->second.size()}) : std::string_view();
  if (issuer != nullptr && LooksLikeJwt(token)) {
    auto claims = issuer->Verify(token);
    if (claims) {
      proof.subject = std::move(claims->subject);
    } else {
      proof.refused = std::move(claims.error());
    }
  } else if (!token.empty()) {
    proof.token = HashOf(token);
  }
  return proof;
}

}  // namespace

Sha256 HashOf(std::string_view text) {
  Sha256 hash{};
  EVP_Digest(text.data(), text.size(), hash.data(), nullptr, EVP_sha256(), nullptr);
  return hash;
}

Result<Admission> Identity::Admit(const grpc::ServerContextBase& context, std::string_view method) const {
  Admission admission{.proof = fixed_.empty() ? ProofOf(context, issuer_) : Proof{.listener = fixed_},
                      .identity = {},
                      .method = method};
  const auto access = access_->Get();
  auto identity = access->Admit(admission.proof, method);
  if (!identity) return std::unexpected(std::move(identity.error()));
  admission.identity = std::move(*identity);
  if (connections_ != nullptr && access->CapOf(admission.identity, Cap::kConnections)) {
    auto claimed = connections_->Claim(listener_, PeerOf(context.peer()), admission.identity, *access);
    if (!claimed) return std::unexpected(std::move(claimed.error()));
  }
  return admission;
}

Identity Identity::CountedIn(AdapterConnections& connections, uint64_t listener) const {
  Identity counted = *this;
  counted.connections_ = &connections;
  counted.listener_ = listener;
  return counted;
}

}  // namespace fairlead
