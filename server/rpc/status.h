// From what went wrong to the status of an RPC.
#pragma once

#include <fairlead/v1/types.pb.h>
#include <grpcpp/support/status.h>

#include "base/failure.h"

namespace fairlead {

v1::Failure ToProto(const Failure& failure);

// The canonical code of a reason; docs/errors.md is the same table for people, and a test compares them.
grpc::StatusCode CodeOf(const Failure& failure);

// With the failure in "grpc-status-details-bin", as google.rpc.Status.
grpc::Status ToStatus(const Failure& failure);

}  // namespace fairlead
