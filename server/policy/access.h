// Who may do what: whose a call is, and what the policy of that identity grants. Nothing that is not granted.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/failure.h"
#include "base/measures.h"
#include "policy/callers.h"
#include "policy/egress.h"
#include "policy/grants.h"

namespace fairlead {

// Every RPC that a policy can grant, in the order of Rpc; a test compares them with the services.
inline constexpr std::array<std::string_view, 11> kMethods = {
    "SessionService.Attach",     "SessionService.Tail",         "SessionService.ListSessions",
    "SessionService.GetSession", "SessionService.CloseSession", "HttpService.Send",
    "HttpService.Pipeline",      "HttpService.Download",        "QuotaService.Acquire",
    "QuotaService.ListQuotas",   "QuotaService.ReportUsage"};
static_assert(kMethods.size() == kRpcs);
constexpr std::string_view MethodOf(Rpc rpc) { return kMethods[static_cast<size_t>(rpc)]; }

// Of fairlead.config.v1.Policy, which documents each.
struct Policy {
  std::string identity;
  std::vector<std::string> methods = {};
  std::vector<std::string> egress = {};
  std::vector<std::string> http_methods = {};
  std::optional<uint32_t> max_sessions = std::nullopt;
  std::optional<uint32_t> max_streams = std::nullopt;
  std::optional<uint32_t> max_requests = std::nullopt;
  std::optional<uint64_t> max_send_queue_bytes = std::nullopt;
  std::optional<uint32_t> max_connections = std::nullopt;
  std::optional<uint32_t> max_new_streams_per_second = std::nullopt;
  std::optional<uint64_t> max_body_bytes = std::nullopt;

  friend bool operator==(const Policy&, const Policy&) = default;
};

// Of what was granted once, and is not any more.
Failure Revoked(const Failure& why);

// All that the configuration says of it.
struct AccessRules {
  std::set<std::string> listeners = {};  // Identities that listeners name.
  std::vector<Caller> callers = {};
  std::vector<Policy> policies = {};  // Empty: everybody may do what egress allows.
  std::vector<EgressRule> egress = {};
  std::vector<Grant> grants = {};

  friend bool operator==(const AccessRules&, const AccessRules&) = default;
};

// What a call has shown. Kept by what outlives the call's beginning: the rules may change.
struct Proof {
  std::string listener = {};            // The identity of its listener; empty: that names none.
  std::vector<std::string> names = {};  // Of a certificate that has been verified.
  std::optional<Sha256> token = {};     // Hash of its bearer token.
  std::string subject = {};             // Of a JWT that has been verified.
  std::optional<Failure> refused = {};  // Why its JWT was not good.
};

// What a policy may cap; the value is of all that the identity has together.
enum class Cap { kSessions, kStreams, kRequests, kSendQueueBytes, kConnections, kNewStreamsPerSecond, kBodyBytes };

// Immutable.
class Access {
 public:
  explicit Access(AccessRules rules = {});
  Access(Access&&) = default;
  Access& operator=(Access&&) = default;

  // By the listener, else by one of the certificate's names, else by the token, a JWT or not. kUnauthenticated: by
  // none.
  Result<std::string> IdentityOf(const Proof& proof) const;
  // An RPC, "SessionService.Attach". kNotGranted.
  Result<void> MayCall(std::string_view identity, std::string_view method) const;
  // Both, as each RPC begins.
  Result<std::string> Admit(const Proof& proof, std::string_view method) const;
  // An HTTP request: its method, and its target without the address. kNotGranted, kEgressDenied.
  Result<void> MayRequest(std::string_view identity, std::string_view http_method, const TargetUrl& url) const;
  bool MayRead(std::string_view reader, std::string_view identity, std::string_view session) const {
    return grants_.MayRead(reader, identity, session);
  }
  // Whether what the identity has may go on, by the rules of this object: it is still somebody's, may Attach, and may
  // be connected there; absent: there is no connection. kRevoked.
  Result<void> MayKeep(std::string_view identity, const TargetUrl& url, std::optional<IpAddress> address) const;
  // The rules that the identity may use, in their order: the others are for it as if they were not there. Lives as long
  // as this object.
  const Egress& EgressOf(std::string_view identity) const;
  std::optional<uint64_t> CapOf(std::string_view identity, Cap cap) const;
  // Whether the identity may have so much. kLimitReached, with the field and its value.
  Result<void> CheckCap(std::string_view identity, Cap cap, uint64_t value) const;
  static Failure CapReached(std::string_view identity, Cap cap, uint64_t most);

  const AccessRules& rules() const { return rules_; }

 private:
  const Policy* PolicyOf(std::string_view identity) const;
  std::unexpected<Failure> Denied(std::string_view identity, std::string_view field, std::string_view what) const;

  AccessRules rules_;
  Callers callers_;
  Grants grants_;
  std::map<std::string, Policy, std::less<>> policies_;
  Egress all_;
  std::map<std::string, Egress, std::less<>> egress_;
};

}  // namespace fairlead
