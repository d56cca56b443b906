// HTTP/1.1 for probes, Prometheus and people, on a thread of its own: it answers also when the gateway's loop does not
// (docs/adr/0014). GET and HEAD of what is registered, nothing else. It holds no secrets and asks nobody who he is.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/failure.h"
#include "net/loop.h"

namespace fairlead {

class AdminServer {
 public:
  struct Reply {
    unsigned status = 200;
    std::string body = {};
    std::string type = "text/plain; charset=utf-8";
  };
  // Once, on any thread; may be kept, and called, after the server's end.
  using Answer = std::function<void(Reply)>;
  // On the server's thread; must not block. Not answered within 5 s, the client is told so with 503.
  using Page = std::function<void(Answer)>;

  // On an IP address; port 0: any free one. kConnectFailed: it cannot listen there.
  static Result<std::unique_ptr<AdminServer>> Listen(const std::string& host, uint16_t port);
  ~AdminServer() { Stop(); }
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // "127.0.0.1:7071"
  std::string address() const;
  // Of its own thread.
  Timers& timers() { return loop_; }
  // Runs what it is given on the server's thread. Any thread; also after the server's end, when it does nothing.
  std::function<void(std::function<void()>)> poster() const;

  // Before Run. The path has no query.
  void Serve(std::string path, Page page) { pages_.insert_or_assign(std::move(path), std::move(page)); }
  void Run();
  // At once; waits for its thread. Timers stay usable, and do nothing any more.
  void Stop();

  // At most so many clients at once: for another, the oldest that has asked for nothing yet makes room.
  static constexpr size_t kClients = 16;

 private:
  class Client;
  // What answers come in by, from other threads; shut when the server ends.
  struct Entrance;
  using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::ip::tcp, Executor>;

  AdminServer();
  void Accept();
  void MakeRoom();

  // Before the loop: clients that are left end with it.
  std::list<Client*> clients_;  // In the order in which they came.
  Loop loop_;
  Acceptor acceptor_;
  SteadyTimer pause_;
  std::map<std::string, Page> pages_;
  std::shared_ptr<Entrance> entrance_;
  std::thread thread_;
};

}  // namespace fairlead
