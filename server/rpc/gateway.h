// The gRPC face: one server a listener, all on the same streams and sessions.
#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rpc/adapter_connections.h"
#include "rpc/http_service.h"
#include "rpc/identity.h"
#include "rpc/listener.h"
#include "rpc/services.h"
#include "rpc/streams.h"

namespace fairlead {

class Gateway {
 public:
  struct Options {
    bool reflection = false;
    bool channelz = false;  // On listeners with an identity of their own.
  };
  // Before any server is built. Process-wide: gRPC keeps these switches in global state.
  static void Prepare(const Options& options);

  Gateway(Loop& loop, Streams& streams, HttpEngine& http, const Limits& limits, const Options& options)
      : streams_(streams),
        http_{.engine = http, .timers = loop, .limits = limits, .flusher = streams.flusher(), .rpcs = streams.rpcs()},
        limits_(limits),
        options_(options) {}

  // Serves the listener, from the loop's next turn on. kTlsFailed: certificate and key do not belong together.
  Result<void> Serve(std::unique_ptr<Listener> listener, Identity identity,
                     const std::optional<ListenerTls>& tls = std::nullopt);
  // "grpc=127.0.0.1:7070 unix=/run/fairlead.sock"
  std::string addresses() const;
  // Whether adapters would be served now: as rpc/serving_check. Once all listeners are served. Any thread.
  void CheckServing(std::function<void(std::string why_not)> told) const;
  // Health says NOT_SERVING and nobody new is accepted. Loop thread.
  void StopAccepting();
  // Ends what still runs at the deadline, and waits for the end. Not the loop thread, which must be running.
  void Shutdown(std::chrono::system_clock::time_point deadline);

 private:
  // Whether a connection of the listener may be kept; what to call when it has ended.
  Result<std::function<void()>> Admit(uint64_t listener, const Identity& identity, const std::string& peer);

  struct Served {
    Served(bool has_tls, Identity its_identity) : tls(has_tls), identity(std::move(its_identity)) {}

    bool tls;
    Identity identity;
    std::unique_ptr<Listener> listener;
    std::shared_ptr<grpc::ServerCredentials> credentials;
    std::unique_ptr<SessionServiceImpl> sessions;
    std::unique_ptr<HttpServiceImpl> http;
    std::unique_ptr<QuotaServiceImpl> quotas;
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
    std::unique_ptr<grpc::Server> server;
    std::shared_ptr<grpc::Channel> inside;  // To this server, without a connection.
  };

  Streams& streams_;
  const HttpFace http_;
  const Limits& limits_;
  const Options options_;
  AdapterConnections connections_;
  std::vector<Served> served_;
  Flusher door_;  // Before what is served goes.
};

}  // namespace fairlead
