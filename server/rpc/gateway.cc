#include "rpc/gateway.h"

#include <absl/synchronization/mutex.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/grpc.h>
#include <grpc/health/v1/health.pb.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "base/log.h"
#include "rpc/listener_credentials.h"
#include "rpc/serving_check.h"

namespace fairlead {
namespace {

// Reflection adds itself to every server of a program that is linked with it, channelz once it is asked for; this takes
// one out again.
class Without final : public grpc::ServerBuilderOption {
 public:
  explicit Without(const char* plugin) : plugin_(plugin) {}

 private:
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [this](const auto& plugin) { return plugin->name() == plugin_; });
  }

  const char* const plugin_;
};

}  // namespace

void Gateway::Prepare(const Options& options) {
  // Its complaints of unreadable requests, which name fields and hold no values, as lines like all others.
  google::protobuf::SetLogHandler([](google::protobuf::LogLevel, const char*, int, const std::string& message) {
    Log(Level::kInfo, "protobuf", {{"message", message}});
  });
  // And gRPC's own: what it calls an error is mostly a peer's, such as a handshake that failed.
  gpr_set_log_function([](gpr_log_func_args* line) {
    Log(line->severity == GPR_LOG_SEVERITY_ERROR ? Level::kWarn : Level::kInfo, "grpc", {{"message", line->message}});
  });
  // And no grpc_shutdown: it would wait up to 10 s for gRPC's backup poller, which sits in epoll_wait after any write
  // that had to wait for its peer.
  grpc_init();
  // Debian builds abseil with its detection of deadlocks, which takes a lock of the whole process for each lock of
  // gRPC's, and would abort for what it takes to be one.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  if (options.channelz) grpc::channelz::experimental::InitChannelzService();
  grpc::health::v1::HealthCheckRequest::descriptor();  // Links it in: reflection finds it in the pool of descriptors.
}

Result<void> Gateway::Serve(std::unique_ptr<Listener> listener, Identity identity,
                            const std::optional<ListenerTls>& tls) {
  const uint64_t number = served_.size();
  if (identity.fixed().empty()) identity = identity.CountedIn(connections_, number);
  Served served(tls.has_value(), identity);
  served.credentials = grpc::InsecureServerCredentials();
  if (tls) {
    auto credentials = ListenerCredentials(*tls);
    if (!credentials) return std::unexpected(std::move(credentials.error()));
    served.credentials = std::move(*credentials);
  }
  served.sessions = std::make_unique<SessionServiceImpl>(identity, streams_);
  served.http = std::make_unique<HttpServiceImpl>(identity, http_);
  served.quotas = std::make_unique<QuotaServiceImpl>(identity, streams_.rpcs());
  grpc::ServerBuilder builder;
  served.acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, served.credentials);
  if (!options_.reflection) builder.SetOption(std::make_unique<Without>("proto_server_reflection"));
  // It knows nothing of callers: where they prove themselves it would answer who has not.
  if (identity.fixed().empty()) builder.SetOption(std::make_unique<Without>("channelz_service"));
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, options_.channelz ? 1 : 0);  // On by default; costs each call.
  builder.RegisterService(served.sessions.get());
  builder.RegisterService(served.http.get());
  builder.RegisterService(served.quotas.get());
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits_.message_bytes));
  builder.SetMaxSendMessageSize(static_cast<int>(limits_.message_bytes));
  // Clients ping every 30 s to notice a dead link; the default would refuse that as a flood.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5'000);
  served.server = builder.BuildAndStart();
  if (!served.server) return NotSent(Reason::kTlsFailed, "gRPC does not take the listener; its log says why");
  for (const char* service : {v1::SessionService::service_full_name(), v1::HttpService::service_full_name()})
    served.server->GetHealthCheckService()->SetServingStatus(service, true);
  served.inside = served.server->InProcessChannel({});
  served.listener = std::move(listener);
  Log(Level::kInfo, "listener.open",
      {{"address", served.listener->address()}, {"identity", identity.name()}, {"tls", tls ? "yes" : "no"}});
  served.listener->Begin(
      *served.acceptor, door_,
      {.admit = [this, number, identity](const std::string& peer) { return Admit(number, identity, peer); },
       .failed = [&measures = streams_.measures()] { ++measures.refused_failure; }});
  served_.push_back(std::move(served));
  return {};
}

Result<std::function<void()>> Gateway::Admit(uint64_t listener, const Identity& identity, const std::string& peer) {
  AdapterMeasures& measures = streams_.measures();
  if (measures.connections >= limits_.connections) {
    ++measures.refused_limit;
    return NotSent(Reason::kLimitReached, "limits.connections, " + std::to_string(limits_.connections) + ", are open");
  }
  AdapterConnections::Over over;
  if (identity.fixed().empty()) {
    over = connections_.Open(listener, peer);
  } else {
    auto opened = connections_.OpenOf(identity.fixed(), *identity.access().Get());
    if (!opened) {
      ++measures.refused_cap;
      return std::unexpected(std::move(opened.error()));
    }
    over = std::move(*opened);
  }
  ++measures.connections;
  return [&measures, over = std::move(over)] {
    --measures.connections;
    over();
  };
}

std::string Gateway::addresses() const {
  std::string text;
  for (const bool is_unix : {false, true}) {
    for (const Served& served : served_) {
      if (served.listener->is_unix() != is_unix) continue;
      text += (text.empty() ? "" : " ") + std::string(is_unix ? "unix=" : "grpc=") + served.listener->address();
    }
  }
  return text;
}

void Gateway::CheckServing(std::function<void(std::string)> told) const {
  std::vector<ServedAt> listeners;
  for (const Served& served : served_) {
    // An identity's cap is no reason not to be ready, and a call would take one of its connections.
    const bool capped = served.identity.access().Get()->CapOf(served.identity.fixed(), Cap::kConnections).has_value();
    listeners.push_back({.address = served.listener->address(),
                         .is_unix = served.listener->is_unix(),
                         .inside = served.tls || capped ? served.inside : nullptr});
  }
  fairlead::CheckServing(listeners, std::move(told));
}

void Gateway::StopAccepting() {
  for (Served& served : served_) {
    served.server->GetHealthCheckService()->SetServingStatus(false);
    served.listener->Stop();
  }
}

void Gateway::Shutdown(std::chrono::system_clock::time_point deadline) {
  for (Served& served : served_) served.server->Shutdown(deadline);
  for (Served& served : served_) served.server->Wait();
}

}  // namespace fairlead
