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
        http(loop, options.address, options.http_port, [](Socket) {}),
        https(loop, options.address, options.https_port, [](Socket) {}),
        tcp(loop, options.address, options.tcp_port, [](Socket) {}),
        raw_tls(loop, options.address, options.tls_port, [](Socket) {}),
        control(shared,
                [this](const AcceptMode& mode) {
                  shared.accept = mode;
                  for (Listener* listener : {&ws, &wss, &http, &https, &tcp, &raw_tls}) {
                    listener->SetOpen(mode.kind != AcceptMode::Kind::kRefuse);
                  }
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

  std::string Address() const { return ws.endpoint().address().to_string(); }

  // Pending operations own connections, and die with the loop: what connections use is declared before it.
  const Identity identity;
  TlsContext tls;
  Shared shared;
  asio::io_context loop{1};
  const asio::executor_work_guard<asio::io_context::executor_type> work{loop.get_executor()};
  Listener ws;
  Listener wss;
  Listener http;
  Listener https;
  Listener tcp;
  Listener raw_tls;
  class Control control;
  Listener control_listener;
  std::thread thread;
};

Exchange::Exchange(const Options& options) : implementation_(std::make_unique<Implementation>(options)) {}
Exchange::~Exchange() = default;

uint16_t Exchange::ws_port() const { return implementation_->ws.endpoint().port(); }
uint16_t Exchange::wss_port() const { return implementation_->wss.endpoint().port(); }
uint16_t Exchange::http_port() const { return implementation_->http.endpoint().port(); }
uint16_t Exchange::https_port() const { return implementation_->https.endpoint().port(); }
uint16_t Exchange::tcp_port() const { return implementation_->tcp.endpoint().port(); }
uint16_t Exchange::tls_port() const { return implementation_->raw_tls.endpoint().port(); }
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
