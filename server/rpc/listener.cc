#include "rpc/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cstring>

#include "base/log.h"
#include "rpc/adapter_connections.h"

namespace fairlead {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// After an accept that failed for want of descriptors or memory.
constexpr Duration kAcceptPause = std::chrono::milliseconds(100);

std::unexpected<Failure> CannotListen(const std::string& address, const std::string& why) {
  return NotSent(Reason::kConnectFailed, "cannot listen on " + address + ": " + why);
}

// gRPC does not tell when a connection that it was given ends; a copy of the descriptor sees it hang up.
class Watched : public std::enable_shared_from_this<Watched> {
 public:
  Watched(Loop& loop, int copy, std::function<void()> ended)
      : descriptor_(loop.context().get_executor(), copy), ended_(std::move(ended)) {}
  void Begin() {
    descriptor_.async_wait(asio::posix::descriptor_base::wait_error, [self = shared_from_this()](error_code error) {
      // Urgent data wakes it, too.
      if (!error && !self->HungUp()) return self->Begin();
      self->ended_();
    });
  }

 private:
  bool HungUp() {
    pollfd asked = {.fd = descriptor_.native_handle(), .events = 0, .revents = 0};
    return poll(&asked, 1, 0) != 0;
  }

  asio::posix::basic_stream_descriptor<Executor> descriptor_;
  std::function<void()> ended_;
};

std::string PeerName(const asio::ip::tcp::endpoint& endpoint) {
  const auto& address = endpoint.address();
  return PeerOf(address.is_v4() ? IpAddress::V4(address.to_v4().to_bytes()) : IpAddress::V6(address.to_v6().to_bytes()),
                endpoint.port());
}

template <typename Protocol>
class SocketListener final : public Listener {
 public:
  using Acceptor = asio::basic_socket_acceptor<Protocol, Executor>;
  using Peer = asio::basic_stream_socket<Protocol, Executor>;

  SocketListener(Loop& loop, std::string address, std::string remove_path)
      : loop_(loop),
        address_(std::move(address)),
        remove_path_(std::move(remove_path)),
        socket_(loop.context().get_executor()),
        pause_(loop.context().get_executor()) {}

  ~SocketListener() override { Stop(); }

  Acceptor& socket() { return socket_; }
  void set_address(std::string address) { address_ = std::move(address); }
  std::string address() const override { return address_; }
  bool is_unix() const override { return !std::is_same_v<Protocol, asio::ip::tcp>; }

  void Begin(grpc::experimental::ExternalConnectionAcceptor& acceptor, Flusher& door, Admission admission) override {
    acceptor_ = &acceptor;
    door_ = &door;
    admission_ = std::move(admission);
    Accept();
  }

  void Stop() override {
    if (!socket_.is_open()) return;
    error_code ignored;
    socket_.close(ignored);
    pause_.cancel();
    if (!remove_path_.empty()) unlink(remove_path_.c_str());
  }

 private:
  void Accept() {
    socket_.async_accept([this](error_code error, Peer peer) {
      if (error == asio::error::operation_aborted) return;
      if (error) {
        admission_.failed();
        Log(Level::kWarn, "listener.accept", {{"address", address_}, {"message", error.message()}});
        pause_.expires_after(kAcceptPause);
        pause_.async_wait([this](error_code cancelled) {
          if (!cancelled) Accept();
        });
        return;
      }
      Hand(std::move(peer));
      Accept();
    });
  }

  void Hand(Peer peer) {
    error_code error;
    std::string from;
    if constexpr (std::is_same_v<Protocol, asio::ip::tcp>) from = PeerName(peer.remote_endpoint(error));
    const auto ended = admission_.admit(from);
    if (!ended) {
      Log(Level::kWarn, "listener.full",
          {{"address", address_}, {"message", ended.error().message + ": a connection is refused"}});
      return;
    }
    if constexpr (std::is_same_v<Protocol, asio::ip::tcp>) peer.set_option(asio::ip::tcp::no_delay(true), error);
    peer.non_blocking(true, error);
    const int copy = fcntl(peer.native_handle(), F_DUPFD_CLOEXEC, 0);
    const int descriptor = error || copy < 0 ? -1 : peer.release(error);
    if (descriptor < 0 || error) {
      if (copy >= 0) close(copy);
      Log(Level::kWarn, "listener.accept", {{"address", address_}, {"message", "no descriptor for a connection"}});
      admission_.failed();
      return (*ended)();
    }
    std::make_shared<Watched>(loop_, copy, *ended)->Begin();
    door_->Run([acceptor = acceptor_, descriptor, listener = socket_.native_handle()] {
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
      connection.listener_fd = listener;
      connection.fd = descriptor;
      acceptor->HandleNewConnection(&connection);
    });
  }

  Loop& loop_;
  std::string address_;
  std::string remove_path_;  // A Unix socket's; empty: none.
  Acceptor socket_;
  SteadyTimer pause_;
  grpc::experimental::ExternalConnectionAcceptor* acceptor_ = nullptr;
  Flusher* door_ = nullptr;
  Admission admission_;
};

// Whether a Unix socket's file is left over: nobody listens on it any more.
bool IsStale(const std::string& path) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return false;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  const bool refused =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 && errno == ECONNREFUSED;
  close(probe);
  return refused;
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::Tcp(Loop& loop, const std::string& host, uint16_t port) {
  const std::string shown = (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":";
  error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) return CannotListen(shown + std::to_string(port), error.message());
  auto listener = std::make_unique<SocketListener<asio::ip::tcp>>(loop, "", "");
  const asio::ip::tcp::endpoint endpoint(address, port);
  auto& socket = listener->socket();
  socket.open(endpoint.protocol(), error);
  if (!error) socket.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) socket.bind(endpoint, error);
  if (!error) socket.listen(asio::socket_base::max_listen_connections, error);
  if (error) return CannotListen(shown + std::to_string(port), error.message());
  listener->set_address(shown + std::to_string(socket.local_endpoint().port()));
  return listener;
}

Result<std::unique_ptr<Listener>> Listener::Unix(Loop& loop, const std::string& path, unsigned mode) {
  using Protocol = asio::local::stream_protocol;
  if (IsStale(path)) unlink(path.c_str());
  error_code error;
  auto listener = std::make_unique<SocketListener<Protocol>>(loop, path, path);
  auto& socket = listener->socket();
  socket.open(Protocol(), error);
  // No permissions at all until they are set: nobody slips in between.
  const mode_t before = umask(0777);
  if (!error) socket.bind(Protocol::endpoint(path), error);
  umask(before);
  if (error) {
    boost::system::error_code ignored;
    socket.close(ignored);
    return CannotListen(path, error.message());
  }
  if (chmod(path.c_str(), mode) != 0) return CannotListen(path, std::strerror(errno));
  socket.listen(asio::socket_base::max_listen_connections, error);
  if (error) return CannotListen(path, error.message());
  return listener;
}

}  // namespace fairlead
