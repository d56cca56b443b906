// The line of an RPC that has ended.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <string_view>

#include "base/measures.h"
#include "base/time.h"

namespace fairlead {

// "rpc.end", at kInfo if it failed, else, or if its client cancelled it, at kDebug. `identity` empty: it was refused at
// its beginning, and that has been told. Before gRPC is told of the end. Any thread.
void LogEnd(const grpc::ServerContextBase& context, Rpc rpc, std::string_view identity, const grpc::Status& status,
            Duration took);

}  // namespace fairlead
