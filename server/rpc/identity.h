// Whose call it is: the listener's identity, or the one that the call proves.
#pragma once

#include <grpcpp/server_context.h>

#include <string>
#include <utility>

#include "base/failure.h"
#include "policy/callers.h"

namespace fairlead {

// Of one listener. Any thread.
class Identity {
 public:
  // All who come by it are one.
  explicit Identity(std::string fixed) : fixed_(std::move(fixed)) {}
  // The callers outlive it.
  explicit Identity(const Callers& callers) : callers_(&callers) {}

  // By the connection's certificate if one of its names is known, else by the call's token. kUnauthenticated: by
  // neither.
  Result<std::string> Of(const grpc::ServerContextBase& context) const;
  // For logs.
  std::string name() const { return callers_ == nullptr ? fixed_ : "of the caller"; }

 private:
  std::string fixed_;
  const Callers* callers_ = nullptr;
};

}  // namespace fairlead
