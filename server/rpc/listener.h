// Where adapters connect: our own accept loop, because gRPC's stays deaf for ever after one EMFILE (CVE-2023-4785).
// Accepted connections are handed to gRPC.
#pragma once

#include <grpcpp/server_builder.h>

#include <functional>
#include <memory>
#include <string>

#include "base/failure.h"
#include "net/loop.h"
#include "rpc/flusher.h"

namespace fairlead {

// Loop thread.
class Listener {
 public:
  struct Admission {
    // A connection has come from this peer (as of rpc/adapter_connections; a Unix socket's has none): what to call once
    // when it has ended, or why it is not kept.
    std::function<Result<std::function<void()>>(const std::string& peer)> admit;
    // One has come, and there is no descriptor or memory for it.
    std::function<void()> failed;
  };

  // On an IP address; port 0: any free one.
  static Result<std::unique_ptr<Listener>> Tcp(Loop& loop, const std::string& host, uint16_t port);
  // On a Unix socket of these permissions. A stale socket is removed; one that answers is an error. Removed at the end.
  static Result<std::unique_ptr<Listener>> Unix(Loop& loop, const std::string& path, unsigned mode);

  virtual ~Listener() = default;

  // Accepts from now on. `door` hands what is accepted to gRPC, which makes a transport of it at once, 200
  // microseconds: too long for the loop when many come. It ends before the acceptor does.
  virtual void Begin(grpc::experimental::ExternalConnectionAcceptor& acceptor, Flusher& door, Admission admission) = 0;
  virtual void Stop() = 0;
  // "127.0.0.1:7070", or the path.
  virtual std::string address() const = 0;
  virtual bool is_unix() const = 0;
};

}  // namespace fairlead
