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
#include "exchange/listener.h"

namespace exchange {
namespace {

std::string RecordingsDirectory(const Options& options) {
  if (!options.recordings.empty()) return options.recordings;
  const char* environment = std::getenv("FAIRLEAD_RECORDINGS");
  return environment != nullptr && *environment != '\0' ? environment : "../shared/recordings";
}

}  // namespace

struct Exchange::Implementation {
  explicit Implementation(const Options& options)
      : identity(MakeIdentity()),
        tls(identity),
        shared{.records = Records(options.max_records, options.max_received_bytes),
               .feeds = Feeds(RecordingsDirectory(options))},
        ws(loop, options.address, options.ws_port, [this](Socket socket) { Accept(std::move(socket), false); }),
        wss(loop, options.address, options.wss_port, [this](Socket socket) { Accept(std::move(socket), true); }),
        control(shared,
                [this](const AcceptMode& mode) {
                  shared.accept = mode;
                  ws.SetOpen(mode.kind != AcceptMode::Kind::kRefuse);
                  wss.SetOpen(mode.kind != AcceptMode::Kind::kRefuse);
                }),
        control_listener(loop, options.address, options.control_port,
                         [this](Socket socket) { ServeControl(std::move(socket), control); }),
        thread([this] { loop.run(); }) {}

  ~Implementation() {
    asio::post(loop, [this] {
      while (!shared.connections.empty()) shared.connections.begin()->second->Abort("shutdown");
      loop.stop();
    });
    thread.join();
  }

  void Accept(Socket socket, bool is_tls) {
    auto record = shared.records.Add();
    record->tls = is_tls;
    auto connection = std::make_shared<Connection>(
        shared, is_tls ? tls.MakeWire(std::move(socket)) : MakePlainWire(std::move(socket)), record);
    shared.connections.emplace(record->id, connection);
    connection->Start(shared.accept);
  }

  // Pending operations own connections, and die with the loop: what connections use is declared before it.
  const Identity identity;
  TlsContext tls;
  Shared shared;
  asio::io_context loop{1};
  const asio::executor_work_guard<asio::io_context::executor_type> work{loop.get_executor()};
  Listener ws;
  Listener wss;
  class Control control;
  Listener control_listener;
  std::thread thread;
};

Exchange::Exchange(const Options& options) : implementation_(std::make_unique<Implementation>(options)) {}
Exchange::~Exchange() = default;

uint16_t Exchange::ws_port() const { return implementation_->ws.endpoint().port(); }
uint16_t Exchange::wss_port() const { return implementation_->wss.endpoint().port(); }
uint16_t Exchange::control_port() const { return implementation_->control_listener.endpoint().port(); }
const std::string& Exchange::ca_pem() const { return implementation_->identity.ca_pem; }

std::string Exchange::Url(const std::string& target, bool tls) const {
  if (tls) return "wss://localhost:" + std::to_string(wss_port()) + target;
  return "ws://" + implementation_->ws.endpoint().address().to_string() + ":" + std::to_string(ws_port()) + target;
}

ControlReply Exchange::Control(const std::string& method, const std::string& path, const std::string& json) {
  std::promise<ControlReply> promise;
  asio::post(implementation_->loop, [&] { promise.set_value(implementation_->control.Execute(method, path, json)); });
  return promise.get_future().get();
}

}  // namespace exchange
