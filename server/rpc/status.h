// From what went wrong to the status of an RPC.
#pragma once

#include <fairlead/v1/types.pb.h>
#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "base/failure.h"

namespace fairlead {

v1::Failure ToProto(const Failure& failure);

// The canonical code of a reason; docs/errors.md is the same table for people, and a test compares them.
grpc::StatusCode CodeOf(const Failure& failure);

// What every call of a method comes to that is for later.
inline Failure NotPossibleYet(std::string_view method) {
  return {Reason::kNotImplemented, Phase::kNotSent, std::string(method) + ": is not possible in this version"};
}

// With the failure in "grpc-status-details-bin", as google.rpc.Status.
grpc::Status ToStatus(const Failure& failure);
// Of such a status; kUnspecified: it is none of ToStatus.
Reason ReasonOf(const grpc::Status& status);

}  // namespace fairlead
