// Wires the house together and runs it: configuration -> loop -> dialler -> sessions -> streams -> listeners -> run ->
// drain. Decides nothing.
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <array>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/current.h"
#include "base/log.h"
#include "config.h"
#include "http/engine.h"
#include "net/byte_stream.h"
#include "net/dial.h"
#include "net/loop.h"
#include "net/tls.h"
#include "ops/admin.h"
#include "policy/access.h"
#include "reload.h"
#include "rpc/gateway.h"
#include "rpc/jwt_issuer.h"
#include "session/journal_directory.h"
#include "session/registry.h"

namespace fairlead {
namespace {

constexpr int kUsageError = 2;
// Beside sessions and adapters: logs, libraries, resolvers.
constexpr rlim_t kSpareDescriptors = 64;

// For what gRPC still has to write when all streams have ended.
constexpr Duration kLastWords = std::chrono::milliseconds(500);

constexpr auto kHelp = R"(fairlead: owns a firm's connections to exchanges and serves its adapters over gRPC

usage: fairlead --config FILE            run; prints one line on standard output when ready, logs on standard error
       fairlead --check-config FILE      tell every error of a configuration file and exit
       fairlead --version
       fairlead --help

SIGTERM and SIGINT close all sessions and exit 0; a second one exits at once. SIGHUP, or a change of FILE, has it read
again; docs/configuration.md describes it.
)";

// 128 random bits in hexadecimal digits.
std::string Unique() {
  std::array<unsigned char, 16> bits;
  if (getrandom(bits.data(), bits.size(), 0) != static_cast<ssize_t>(bits.size()))
    std::abort();  // Linux never does this.
  std::string text;
  for (const unsigned char byte : bits) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// Each session and HTTP connection may need a descriptor, each adapter two.
void RaiseDescriptorLimit(const Limits& limits) {
  const rlim_t wanted = limits.sessions + limits.http_connections + 2 * rlim_t{limits.connections} + kSpareDescriptors;
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(limit.rlim_max, wanted);
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted) {
    Log(Level::kWarn, "descriptors",
        {{"limit", uint64_t{limit.rlim_cur}},
         {"wanted", uint64_t{wanted}},
         {"message", "limits.sessions, limits.http_connections and limits.connections may not be reachable"}});
  }
}

Result<std::unique_ptr<Listener>> Listen(Loop& loop, const Config::Listener& listener) {
  if (const auto* address = std::get_if<UnixAddress>(&listener.address))
    return Listener::Unix(loop, address->path, address->mode);
  const auto& address = std::get<TcpAddress>(listener.address);
  return Listener::Tcp(loop, address.host, address.port);
}

std::optional<ListenerTls> TlsOf(const Config::Listener& listener) {
  const auto* address = std::get_if<TcpAddress>(&listener.address);
  return address == nullptr ? std::nullopt : address->tls;
}

// Listeners are those that were there at the start.
AccessRules RulesOf(const Config& config, const std::vector<Config::Listener>& listeners) {
  AccessRules rules{
      .callers = config.callers, .policies = config.policies, .egress = config.egress, .grants = config.grants};
  for (const Config::Listener& listener : listeners) {
    if (!listener.identity.empty()) rules.listeners.insert(listener.identity);
  }
  return rules;
}

int Run(const Config& config, const std::string& file) {
  SetLogLevel(config.log_level);
  RaiseDescriptorLimit(config.limits);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // A file beyond the process's limit is an error like others.

  const auto fail = [](const Failure& failure) {
    std::cerr << "fairlead: " << failure.message << "\n";
    return EXIT_FAILURE;
  };
  Loop loop;
  auto tls = TlsClient::Make(config.tls.ca_files, config.tls.system_authorities);
  if (!tls) return fail(tls.error());
  Current<Access> access{Access(RulesOf(config, config.listeners))};
  const auto dialler = MakeDialler(loop, access, **tls);
  Random random = [engine = std::mt19937_64(std::random_device()())]() mutable {
    return std::uniform_real_distribution<double>(0, 1)(engine);
  };
  std::unique_ptr<JournalDirectory> directory;
  if (!config.journal_directory.path.empty()) {
    auto opened = JournalDirectory::Open(config.journal_directory, loop);
    if (!opened) return fail(opened.error());
    directory = std::move(*opened);
  }
  Registry registry(*dialler, loop, std::move(random), config.limits, Unique, access, directory.get());
  const auto connector = MakeConnector(loop, access, **tls);
  HttpEngine http(*connector, loop, config.limits, config.http, access);
  Streams streams(registry, loop, config.limits, config.flush, access);
  const Gateway::Options options{.reflection = config.reflection, .channelz = config.channelz};
  Gateway::Prepare(options);
  Gateway gateway(loop, streams, http, config.limits, options);
  std::unique_ptr<JwtIssuer> issuer;
  if (config.jwt) {
    auto opened = JwtIssuer::Open(*config.jwt, loop);
    if (!opened) return fail(opened.error());
    issuer = std::move(*opened);
  }
  for (const Config::Listener& each : config.listeners) {
    auto listener = Listen(loop, each);
    if (!listener) return fail(listener.error());
    auto served = gateway.Serve(std::move(*listener), Identity(each.identity, access, issuer.get()), TlsOf(each));
    if (!served) return fail(served.error());
  }

  const Reload reload(loop, file, config, [&](const Config& next, bool reach_changed) {
    access.Set(Access(RulesOf(next, config.listeners)));
    SetLogLevel(next.log_level);
    if (reach_changed) http.Renew();
    // Sessions first: their own ends tell why.
    const size_t sessions = registry.Recheck();
    return Reload::Ended{.sessions = sessions, .streams = streams.Recheck()};
  });

  std::unique_ptr<Admin> admin;
  if (config.admin) {
    auto server = AdminServer::Listen(config.admin->host, config.admin->port);
    if (!server) return fail(server.error());
    Admin::Facts facts{.version = FAIRLEAD_VERSION, .certificate_files = {}, .check_serving = [&gateway](auto told) {
                         gateway.CheckServing(std::move(told));
                       }};
    for (const Config::Listener& each : config.listeners) {
      if (const auto listener_tls = TlsOf(each)) facts.certificate_files.push_back(listener_tls->certificate_file);
    }
    const Shown shown{registry, http, streams.measures(), streams.rpcs(), config.limits};
    admin = std::make_unique<Admin>(std::move(*server), loop, shown, std::move(facts));
  }

  // Down: tell adapters, close sessions, let the last events be read, then end what is left.
  std::thread ending;
  boost::asio::signal_set signals(loop.context(), SIGTERM, SIGINT);
  const auto timeout = loop.MakeTimer();
  const auto end = [&](WallTime deadline) {
    if (ending.joinable()) return;
    timeout->Cancel();
    ending = std::thread([&loop, &gateway, deadline] {
      gateway.Shutdown(std::chrono::time_point_cast<std::chrono::system_clock::duration>(deadline));
      loop.Stop();
    });
  };
  signals.async_wait([&](boost::system::error_code error, int signal) {
    if (error) return;
    signals.async_wait([](boost::system::error_code again, int) {
      if (!again) std::_Exit(EXIT_FAILURE);
    });
    Log(Level::kInfo, "gateway.drain",
        {{"signal", signal},
         {"sessions", registry.size()},
         {"requests", http.totals().requests},
         {"timeout", config.shutdown_timeout}});
    const WallTime deadline = loop.WallNow() + config.shutdown_timeout;
    if (admin) admin->Drain();
    gateway.StopAccepting();
    const SteadyTime gone_by = loop.Now() + config.shutdown_timeout;
    streams.Drain(gone_by);
    // Every stream has its last events and its status, every request its answer; what else is open (a Watch of health)
    // need not hold us up.
    const auto drained = [&, deadline, left = std::make_shared<int>(2)] {
      if (--*left == 0) end(std::min(deadline, loop.WallNow() + kLastWords));
    };
    http.Drain(gone_by, drained);
    registry.Drain(gone_by, [&, drained] { streams.WhenEmpty(drained); });
    timeout->At(gone_by, [&end, deadline] { end(deadline); });
  });

  if (admin) admin->Run();
  std::cout << "fairlead ready " << gateway.addresses() << (admin ? " admin=" + admin->address() : "") << std::endl;
  loop.Run();
  ending.join();
  Log(Level::kInfo, "gateway.stopped");
  return EXIT_SUCCESS;
}

int Main(const std::vector<std::string>& arguments) {
  const auto usage = [](const std::string& what) {
    std::cerr << "fairlead: " << what << "; fairlead --help tells the usage\n";
    return kUsageError;
  };
  std::string file;
  bool check_only = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool has_value = i + 1 < arguments.size() && !arguments[i + 1].starts_with("--");
    if (argument == "--help" || argument == "-h") {
      std::cout << kHelp;
      return EXIT_SUCCESS;
    }
    if (argument == "--version") {
      std::cout << "fairlead " FAIRLEAD_VERSION "\n";
      return EXIT_SUCCESS;
    }
    if (argument == "--config") {
      if (!has_value) return usage("--config takes a FILE");
      file = arguments[++i];
    } else if (argument == "--check-config") {
      check_only = true;
      if (has_value) file = arguments[++i];
    } else {
      return usage("unknown argument " + argument);
    }
  }
  if (file.empty()) return usage("--config FILE is missing");
  const auto config = LoadConfig(file);
  if (!config) {
    for (const std::string& error : config.error()) std::cerr << error << "\n";
    return kUsageError;
  }
  if (!check_only) return Run(*config, file);
  std::cout << file << ": no errors\n";
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) { return fairlead::Main({argv + 1, argv + argc}); }
