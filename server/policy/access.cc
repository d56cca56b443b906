#include "policy/access.h"

#include <algorithm>

namespace fairlead {
namespace {

// Names, or "*" for all.
bool Holds(const std::vector<std::string>& granted, std::string_view name) {
  return std::ranges::any_of(granted, [name](const std::string& each) { return each == "*" || each == name; });
}

struct CapField {
  const char* name;
  const char* what;
};
CapField FieldOf(Cap cap) {
  switch (cap) {
    case Cap::kSessions:
      return {"max_sessions", ", are open"};
    case Cap::kStreams:
      return {"max_streams", ", are open"};
    case Cap::kRequests:
      return {"max_requests", ", are under way"};
    case Cap::kSendQueueBytes:
      return {"max_send_queue_bytes", ": sends of this identity are waiting to be written"};
    case Cap::kConnections:
      return {"max_connections", ", are open"};
    case Cap::kNewStreamsPerSecond:
      return {"max_new_streams_per_second", ", have begun"};
    case Cap::kBodyBytes:
      return {"max_body_bytes", ": the bodies of its requests under way fill it"};
  }
  return {"", ""};
}

std::optional<uint64_t> ValueOf(const Policy& policy, Cap cap) {
  switch (cap) {
    case Cap::kSessions:
      return policy.max_sessions;
    case Cap::kStreams:
      return policy.max_streams;
    case Cap::kRequests:
      return policy.max_requests;
    case Cap::kSendQueueBytes:
      return policy.max_send_queue_bytes;
    case Cap::kConnections:
      return policy.max_connections;
    case Cap::kNewStreamsPerSecond:
      return policy.max_new_streams_per_second;
    case Cap::kBodyBytes:
      return policy.max_body_bytes;
  }
  return std::nullopt;
}

const Egress kNowhere;

}  // namespace

Failure Revoked(const Failure& why) {
  return {Reason::kRevoked, Phase::kUnspecified, "the configuration has changed: " + why.message};
}

Access::Access(AccessRules rules)
    : rules_(std::move(rules)), callers_(rules_.callers), grants_(rules_.grants), all_(rules_.egress) {
  for (const Policy& policy : rules_.policies) {
    std::vector<EgressRule> granted;
    std::ranges::copy_if(rules_.egress, std::back_inserter(granted),
                         [&policy](const EgressRule& rule) { return Holds(policy.egress, rule.name); });
    egress_.emplace(policy.identity, Egress(std::move(granted)));
    policies_.emplace(policy.identity, policy);
  }
}

Result<std::string> Access::IdentityOf(const Proof& proof) const {
  if (!proof.listener.empty()) return proof.listener;
  if (!proof.names.empty()) {
    if (auto identity = callers_.OfCertificate(proof.names)) return identity;
  }
  if (proof.token) return callers_.OfToken(*proof.token);
  if (!proof.subject.empty()) return callers_.OfSubject(proof.subject);
  if (proof.refused) return std::unexpected(*proof.refused);
  return NotSent(Reason::kUnauthenticated,
                 "no caller that is known here: send a client certificate of one, or \"authorization: Bearer TOKEN\"");
}

Result<void> Access::MayCall(std::string_view identity, std::string_view method) const {
  if (rules_.policies.empty()) return {};
  const Policy* policy = PolicyOf(identity);
  if (policy != nullptr && Holds(policy->methods, method)) return {};
  return Denied(identity, "methods", method);
}

Result<std::string> Access::Admit(const Proof& proof, std::string_view method) const {
  auto identity = IdentityOf(proof);
  if (!identity) return identity;
  if (auto granted = MayCall(*identity, method); !granted) return std::unexpected(granted.error());
  return identity;
}

Result<void> Access::MayRequest(std::string_view identity, std::string_view http_method, const TargetUrl& url) const {
  if (!rules_.policies.empty()) {
    const Policy* policy = PolicyOf(identity);
    if (policy == nullptr || !Holds(policy->http_methods, http_method))
      return Denied(identity, "http_methods", http_method);
  }
  if (const auto rule = EgressOf(identity).Allow(url); !rule) return std::unexpected(rule.error());
  return {};
}

Result<void> Access::MayKeep(std::string_view identity, const TargetUrl& url, std::optional<IpAddress> address) const {
  const bool known = rules_.listeners.contains(std::string(identity)) ||
                     std::ranges::any_of(rules_.callers, [&](const Caller& each) { return each.identity == identity; });
  Result<void> may = known ? MayCall(identity, MethodOf(Rpc::kAttach))
                           : NotSent(Reason::kUnauthenticated, "no caller is " + std::string(identity));
  if (may) {
    const auto rule = EgressOf(identity).Allow(url);
    if (!rule) {
      may = std::unexpected(rule.error());
    } else if (address) {
      may = Egress::AllowAddress(**rule, url.host, *address);
    }
  }
  return may ? may : std::unexpected(Revoked(may.error()));
}

const Egress& Access::EgressOf(std::string_view identity) const {
  if (rules_.policies.empty()) return all_;
  const auto found = egress_.find(identity);
  return found == egress_.end() ? kNowhere : found->second;
}

std::optional<uint64_t> Access::CapOf(std::string_view identity, Cap cap) const {
  const Policy* policy = PolicyOf(identity);
  return policy == nullptr ? std::nullopt : ValueOf(*policy, cap);
}

Result<void> Access::CheckCap(std::string_view identity, Cap cap, uint64_t value) const {
  const auto most = CapOf(identity, cap);
  if (!most || value <= *most) return {};
  return std::unexpected(CapReached(identity, cap, *most));
}

Failure Access::CapReached(std::string_view identity, Cap cap, uint64_t most) {
  const CapField field = FieldOf(cap);
  return {Reason::kLimitReached, Phase::kNotSent,
          "policies[" + std::string(identity) + "]." + field.name + ", " + std::to_string(most) + field.what};
}

const Policy* Access::PolicyOf(std::string_view identity) const {
  const auto found = policies_.find(identity);
  return found == policies_.end() ? nullptr : &found->second;
}

std::unexpected<Failure> Access::Denied(std::string_view identity, std::string_view field,
                                        std::string_view what) const {
  const std::string policy = "policies[" + std::string(identity) + "]";
  return NotSent(Reason::kNotGranted, PolicyOf(identity) == nullptr
                                          ? "no " + policy + ", which could grant " + std::string(what)
                                          : policy + "." + std::string(field) + " does not grant " + std::string(what));
}

}  // namespace fairlead
