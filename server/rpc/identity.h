// Whose call it is: the listener's identity, or the one that the call proves; and whether it may make that call.
#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/current.h"
#include "base/failure.h"
#include "policy/access.h"
#include "policy/trace_context.h"
#include "rpc/adapter_connections.h"

namespace fairlead {

// A call that has been let in, and by what.
struct Admission {
  Proof proof;
  std::string identity;
  std::string_view method;  // One of kMethods.
  TraceId trace = {};
};

inline std::optional<Failure> RefusalOf(const Result<Admission>& admission) {
  return admission ? std::nullopt : std::optional(admission.error());
}

Sha256 HashOf(std::string_view text);

// The value of a call's one header of this name; empty: there is none, or several.
std::string_view HeaderOf(const grpc::ServerContextBase& context, const char* name);
// By its metadata.
TraceId TraceOf(const grpc::ServerContextBase& context);

class JwtIssuer;

// Of one listener. Any thread.
class Identity {
 public:
  // All who come by it are `fixed`; empty: it is the caller's. No issuer: JWTs are tokens like others. Both outlive it.
  Identity(std::string fixed, const Current<Access>& access, JwtIssuer* issuer = nullptr)
      : fixed_(std::move(fixed)), access_(&access), issuer_(issuer) {}
  // Where its callers' connections are counted, which are opened there as of this listener. They outlive it.
  Identity CountedIn(AdapterConnections& connections, uint64_t listener) const;

  // By the connection's certificate if one of its names is known, else by the call's token. kUnauthenticated: by
  // neither. kNotGranted: its policy does not grant the method, one of kMethods. Logs who is refused.
  Result<Admission> Admit(const grpc::ServerContextBase& context, std::string_view method) const;
  const Current<Access>& access() const { return *access_; }
  // Of all who come by it; empty: the caller's.
  const std::string& fixed() const { return fixed_; }
  // For logs.
  std::string name() const { return fixed_.empty() ? "of the caller" : fixed_; }

 private:
  std::unexpected<Failure> Refused(const grpc::ServerContextBase& context, const Admission& admission,
                                   Failure why) const;

  std::string fixed_;
  const Current<Access>* access_;
  JwtIssuer* issuer_;
  AdapterConnections* connections_ = nullptr;
  uint64_t listener_ = 0;
};

}  // namespace fairlead
