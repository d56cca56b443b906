// TLS of a listener whose files may be replaced while it serves.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "base/failure.h"
#include "policy/callers.h"

namespace fairlead {

// The files are looked at when a peer connects, once a second at most. What they hold is taken if the key is the
// certificate's and there are authorities where a file is named for them; else the log says why not, once, and what was
// there before goes on. kTlsFailed: they do not at the start. The credentials outlive the server.
Result<std::shared_ptr<grpc::ServerCredentials>> ListenerCredentials(const ListenerTls& tls);

}  // namespace fairlead
