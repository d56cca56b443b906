#include "exchange/exchange.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <future>
#include <thread>

#include "exchange/certificate.h"
#include "exchange/connection.h"
#include "exchange/control.h"
#include "exchange/control_server.h"
#include "exchange/http_connection.h"
#include "exchange/listener.h"

namespace exchange {
namespace {

std::string RecordingsDirectory(const Options& options) {
  if (!options.recordings.empty()) return options.recordings;
  const char* environment = std::getenv("FAIRLEAD_RECORDINGS");
  return environment != nullptr && *environment != '\0' ? environment : "../shared/recordings";
}

}  // namespace

// A listener for one kind of client, and how it receives them.
struct Door {
  using Accepted = std::function<void(Socket, Door&)>;

  Door(asio::io_context& loop, const std::string& address, uint16_t port, const char* kind, bool with_tls,
       Accepted accepted)
      : name(kind),
        tls(with_tls),
        listener(loop, address, port, [this, accepted](Socket socket) { accepted(std::move(socket), *this); }) {}

  const std::string name;  // as in the ready line
  const bool tls;
  AcceptMode mode{};
  Listener listener;
};

struct Exchange::Implementation {
  explicit Implementation(const Options& options)
      : identity(MakeIdentity()),
        tls_context(identity),
        shared{.records = Records(options.max_records, options.max_received_bytes),
               .feeds = Feeds(RecordingsDirectory(options))},
        http_shared{.records = HttpRecords(options.max_records, options.max_received_bytes),
                    .recordings = RecordedResponses(RecordingsDirectory(options))},
        ws(loop, options.address, options.ws_port, "ws", false,
           [this](Socket socket, Door& door) { Accept(std::move(socket), door); }),
        wss(loop, options.address, options.wss_port, "wss", true,
            [this](Socket socket, Door& door) { Accept(std::move(socket), door); }),
        http(loop, options.address, options.http_port, "http", false,
             [this](Socket socket, Door& door) { AcceptHttp(std::move(socket), door); }),
        https(loop, options.address, options.https_port, "https", true,
              [this](Socket socket, Door& door) { AcceptHttp(std::move(socket), door); }),
        tcp(loop, options.address, options.tcp_port, "tcp", false,
            [this](Socket socket, Door& door) { Accept(std::move(socket), door); }),
        tls(loop, options.address, options.tls_port, "tls", true,
            [this](Socket socket, Door& door) { Accept(std::move(socket), door); }),
        control(shared, http_shared,
                [this](const AcceptMode& mode, const std::string& on) { return SetMode(mode, on); }),
        control_listener(loop, options.address, options.control_port,
                         [this](Socket socket) { ServeControl(std::move(socket), control); }),
        thread([this] { loop.run(); }) {}

  ~Implementation() {
    asio::post(loop, [this] {
      while (!shared.connections.empty()) shared.connections.begin()->second->Abort("shutdown");
      while (!http_shared.connections.empty()) http_shared.connections.begin()->second->Abort("shutdown");
      loop.stop();
    });
    thread.join();
  }

  // A WebSocket or a raw socket.
  void Accept(Socket socket, Door& door) {
    auto record = shared.records.Add();
    record->kind = door.name;
    auto connection = std::make_shared<Connection>(shared, MakeWire(std::move(socket), door), record);
    shared.connections.emplace(record->id, connection);
    connection->Start(door.mode);
  }

  void AcceptHttp(Socket socket, Door& door) {
    auto record = http_shared.records.Open();
    record->kind = door.name;
    auto connection = std::make_shared<HttpConnection>(http_shared, MakeWire(std::move(socket), door), record);
    http_shared.connections.emplace(record->id, connection);
    connection->Start(door.mode);
  }

  std::unique_ptr<Wire> MakeWire(Socket socket, const Door& door) {
    return door.tls ? tls_context.MakeWire(std::move(socket)) : MakePlainWire(std::move(socket));
  }

  // False: no door is called `on`; empty = all doors.
  bool SetMode(const AcceptMode& mode, const std::string& on) {
    bool found = false;
    for (Door* door : {&ws, &wss, &http, &https, &tcp, &tls}) {
      if (!on.empty() && on != door->name) continue;
      found = true;
      door->mode = mode;
      door->listener.SetOpen(mode.kind != AcceptMode::Kind::kRefuse);
    }
    return found;
  }

  std::string Address() const { return ws.listener.endpoint().address().to_string(); }

  // Pending operations own connections, and die with the loop: what connections use is declared before it.
  const Identity identity;
  TlsContext tls_context;
  Shared shared;
  HttpShared http_shared;
  asio::io_context loop{1};
  const asio::executor_work_guard<asio::io_context::executor_type> work{loop.get_executor()};
  Door ws;
  Door wss;
  Door http;
  Door https;
  Door tcp;
  Door tls;
  class Control control;
  Listener control_listener;
  std::thread thread;
};

Exchange::Exchange(const Options& options) : implementation_(std::make_unique<Implementation>(options)) {}
Exchange::~Exchange() = default;

uint16_t Exchange::ws_port() const { return implementation_->ws.listener.endpoint().port(); }
uint16_t Exchange::wss_port() const { return implementation_->wss.listener.endpoint().port(); }
uint16_t Exchange::http_port() const { return implementation_->http.listener.endpoint().port(); }
uint16_t Exchange::https_port() const { return implementation_->https.listener.endpoint().port(); }
uint16_t Exchange::tcp_port() const { return implementation_->tcp.listener.endpoint().port(); }
uint16_t Exchange::tls_port() const { return implementation_->tls.listener.endpoint().port(); }
uint16_t Exchange::control_port() const { return implementation_->control_listener.endpoint().port(); }
const std::string& Exchange::ca_pem() const { return implementation_->identity.ca_pem; }

std::string Exchange::Url(const std::string& target, bool tls) const {
  if (tls) return "wss://localhost:" + std::to_string(wss_port()) + target;
  return "ws://" + implementation_->Address() + ":" + std::to_string(ws_port()) + target;
}
std::string Exchange::HttpUrl(const std::string& target) const {
  return "http://" + implementation_->Address() + ":" + std::to_string(http_port()) + target;
}
std::string Exchange::HttpsUrl(const std::string& target) const {
  return "https://localhost:" + std::to_string(https_port()) + target;
}
std::string Exchange::TcpUrl() const {
  return "tcp://" + implementation_->Address() + ":" + std::to_string(tcp_port());
}
std::string Exchange::TlsUrl() const { return "tls://localhost:" + std::to_string(tls_port()); }

ControlReply Exchange::Control(const std::string& method, const std::string& path, const std::string& json) {
  std::promise<ControlReply> promise;
  asio::post(implementation_->loop, [&] { promise.set_value(implementation_->control.Execute(method, path, json)); });
  return promise.get_future().get();
}

}  // namespace exchange
