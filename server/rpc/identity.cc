#include "rpc/identity.h"

#include <grpc/grpc_security_constants.h>
#include <openssl/evp.h>

#include <iterator>
#include <string_view>

#include "base/log.h"
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
  const std::string_view token = BearerToken(HeaderOf(context, "authorization"));
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

std::string_view HeaderOf(const grpc::ServerContextBase& context, const char* name) {
  const auto [begin, end] = context.client_metadata().equal_range(name);
  if (begin == end || std::next(begin) != end) return {};
  return {begin->second.data(), begin->second.size()};
}

Sha256 HashOf(std::string_view text) {
  Sha256 hash{};
  EVP_Digest(text.data(), text.size(), hash.data(), nullptr, EVP_sha256(), nullptr);
  return hash;
}

TraceId TraceOf(const grpc::ServerContextBase& context) { return ParseTraceparent(HeaderOf(context, "traceparent")); }

std::unexpected<Failure> Identity::Refused(const grpc::ServerContextBase& context, const Admission& admission,
                                           Failure why) const {
  Log(Level::kInfo, "rpc.refused",
      {{"method", admission.method},
       {"identity", access_->Get()->IdentityOf(admission.proof).value_or("")},
       {"reason", Name(why.reason)},
       LogField::Detail("peer", context.peer()),
       LogField::Detail("message", why.message),
       LogField::Detail("trace_id", admission.trace.text())});
  return std::unexpected(std::move(why));
}

Result<Admission> Identity::Admit(const grpc::ServerContextBase& context, std::string_view method) const {
  Admission admission{.proof = fixed_.empty() ? ProofOf(context, issuer_) : Proof{.listener = fixed_},
                      .identity = {},
                      .method = method,
                      .trace = TraceOf(context)};
  const auto access = access_->Get();
  auto identity = access->Admit(admission.proof, method);
  if (!identity) return Refused(context, admission, std::move(identity.error()));
  admission.identity = std::move(*identity);
  if (connections_ != nullptr && access->CapOf(admission.identity, Cap::kConnections)) {
    auto claimed = connections_->Claim(listener_, PeerOf(context.peer()), admission.identity, *access);
    if (!claimed) return Refused(context, admission, std::move(claimed.error()));
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
