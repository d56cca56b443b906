#include "rpc/serving_check.h"

#include <grpc/health/v1/health.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

namespace fairlead {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr auto kCheckTime = std::chrono::seconds(2);
constexpr timeval kConnectTime = {.tv_sec = 1, .tv_usec = 0};

// All listeners of one check.
class Round {
 public:
  Round(size_t listeners, std::function<void(std::string)> told) : left_(listeners), told_(std::move(told)) {}
  void Tell(const std::string& why_not) {
    {
      const std::lock_guard lock(mutex_);
      if (why_not_.empty()) why_not_ = why_not;
      if (--left_ > 0) return;
    }
    told_(why_not_);
  }

 private:
  std::mutex mutex_;
  size_t left_;
  std::string why_not_;
  const std::function<void(std::string)> told_;
};

// Kept by its call.
struct Question {
  ServedAt listener;
  std::shared_ptr<Round> round;
  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  HealthCheckRequest request;
  HealthCheckResponse response;
};

// "0.0.0.0:7070": where it is reached from here.
std::string Reachable(const std::string& address) {
  if (address.starts_with("0.0.0.0:")) return "127.0.0.1" + address.substr(7);
  if (address.starts_with("[::]:")) return "[::1]" + address.substr(4);
  return address;
}

// Empty: it takes connections. To an address of this machine: it is accepted or refused at once.
std::string Connects(const sockaddr* address, socklen_t bytes) {
  const int probe = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = probe >= 0 &&
                         setsockopt(probe, SOL_SOCKET, SO_SNDTIMEO, &kConnectTime, sizeof(kConnectTime)) == 0 &&
                         connect(probe, address, bytes) == 0;
  const std::string why_not = connected ? "" : std::strerror(errno);
  if (probe >= 0) close(probe);
  return why_not;
}

std::string ConnectsUnix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return Connects(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

std::string ConnectsTcp(const std::string& address) {
  const std::string reachable = Reachable(address);
  const size_t colon = reachable.rfind(':');
  std::string host = reachable.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), reachable.c_str() + colon + 1, &hints, &found) != 0) return "not an address";
  const std::string why_not = Connects(found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return why_not;
}

std::shared_ptr<grpc::Channel> ChannelTo(const ServedAt& listener) {
  if (listener.inside) return listener.inside;
  grpc::ChannelArguments arguments;
  // A connection that another check has left would prove nothing.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const std::string scheme = listener.is_unix ? "unix:" : listener.address.starts_with('[') ? "ipv6:" : "ipv4:";
  return grpc::CreateCustomChannel(scheme + listener.address, grpc::InsecureChannelCredentials(), arguments);
}

std::string WhyNot(const Question& asked, const grpc::Status& status) {
  if (!status.ok()) return "health does not answer: " + status.error_message();
  if (asked.response.status() != HealthCheckResponse::SERVING) return "health says NOT_SERVING";
  if (!asked.listener.inside) return "";
  return asked.listener.is_unix ? ConnectsUnix(asked.listener.address) : ConnectsTcp(asked.listener.address);
}

}  // namespace

void CheckServing(const std::vector<ServedAt>& listeners, std::function<void(std::string)> told) {
  if (listeners.empty()) return told("no listener");
  const auto round = std::make_shared<Round>(listeners.size(), std::move(told));
  for (const ServedAt& listener : listeners) {
    auto asked = std::make_shared<Question>();
    asked->listener = listener;
    asked->round = round;
    asked->channel = ChannelTo(listener);
    asked->context.set_deadline(std::chrono::system_clock::now() + kCheckTime);
    grpc::TemplatedGenericStub<HealthCheckRequest, HealthCheckResponse> stub(asked->channel);
    stub.UnaryCall(&asked->context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &asked->request,
                   &asked->response, [asked](const grpc::Status& status) {
                     const std::string why_not = WhyNot(*asked, status);
                     asked->round->Tell(why_not.empty() ? "" : asked->listener.address + ": " + why_not);
                   });
  }
}

}  // namespace fairlead
