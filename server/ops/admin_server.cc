#include "ops/admin_server.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <mutex>
#include <optional>
#include <utility>

#include "base/limits.h"
#include "base/log.h"

namespace fairlead {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using Stream = beast::basic_stream<asio::ip::tcp, Executor>;
template <typename T>
using Awaitable = asio::awaitable<T, Executor>;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable_t<Executor>());

// Request line and headers.
constexpr uint32_t kRequestBytes = 8 * 1024;
// For a request to come whole, and for a reply to be taken; between requests a connection may rest as long.
constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kAnswerTime = std::chrono::seconds(5);
constexpr auto kFarewell = std::chrono::seconds(1);
constexpr size_t kFarewellBytes = 64 * kKiB;
// After an accept that failed for want of descriptors or memory.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

// Nothing but the page's own files, from here.
constexpr auto kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

// A page that has been asked for an answer.
struct Waiting {
  explicit Waiting(const Executor& executor) : timer(executor) {}
  SteadyTimer timer;
  std::optional<AdminServer::Reply> reply;
};

}  // namespace

struct AdminServer::Entrance {
  std::mutex mutex;
  Loop* loop = nullptr;  // Null: the server has ended.

  void Post(std::function<void()> callback) {
    const std::lock_guard lock(mutex);
    if (loop != nullptr) loop->Post(std::move(callback));
  }
};

// One connection. Kept by its coroutine.
class AdminServer::Client : public std::enable_shared_from_this<Client> {
 public:
  Client(AdminServer& server, Socket socket)
      : server_(server), stream_(std::move(socket)), place_(server.clients_.insert(server.clients_.end(), this)) {}
  ~Client() { server_.clients_.erase(place_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool asking() const { return asking_; }
  void Close() { stream_.close(); }

  static Awaitable<void> Run(std::shared_ptr<Client> self) {
    while (co_await self->ServeNext()) {
    }
    // What it still sends is read for a moment: else the kernel would answer it with a reset, and our last words could
    // be lost on it.
    error_code ignored;
    self->stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    self->stream_.expires_after(kFarewell);
    for (size_t left = kFarewellBytes;;) {
      self->buffer_.clear();
      const auto [error, bytes] = co_await self->stream_.async_read_some(self->buffer_.prepare(kRequestBytes), kAwait);
      if (error || bytes > left) co_return;
      left -= bytes;
    }
  }

 private:
  // False: that was the last.
  Awaitable<bool> ServeNext() {
    http::request_parser<http::empty_body> parser;
    parser.header_limit(kRequestBytes);
    stream_.expires_after(kPatience);
    const auto [error, bytes] = co_await http::async_read_header(stream_, buffer_, parser, kAwait);
    const auto& request = parser.get();
    const bool head = request.method() == http::verb::head;
    if (error) {
      const bool malformed = error.category() == http::make_error_code(http::error::end_of_stream).category() &&
                             error != http::error::end_of_stream && error != http::error::partial_message;
      if (!malformed) co_return false;
      const bool too_long = error == http::error::header_limit || error == http::error::buffer_overflow;
      co_await Write({.status = too_long ? 431u : 400u,
                      .body = too_long ? "the request's headers exceed 8 KiB\n" : "not an HTTP/1.1 request\n"},
                     /*head=*/false, /*keep_alive=*/false);
      co_return false;
    }
    asking_ = true;
    // A body is not read: the connection ends behind it.
    const bool keep_alive = request.keep_alive() && !parser.chunked() && parser.content_length().value_or(0) == 0;
    Reply reply;
    const std::string path(request.target().substr(0, request.target().find('?')));
    const auto page = server_.pages_.find(path);
    if (!head && request.method() != http::verb::get) {
      reply = {.status = 405, .body = "only GET and HEAD\n"};
    } else if (page == server_.pages_.end()) {
      reply = {.status = 404, .body = "there is no such page; / is one\n"};
    } else {
      reply = co_await Ask(page->second);
    }
    const bool goes_on = co_await Write(std::move(reply), head, keep_alive);
    asking_ = false;
    co_return goes_on;
  }

  Awaitable<Reply> Ask(const Page& page) {
    const auto waiting = std::make_shared<Waiting>(stream_.get_executor());
    // Weak: an answer that never comes holds nothing of a server that has ended.
    page([entrance = server_.entrance_, weak = std::weak_ptr(waiting)](Reply reply) {
      entrance->Post([weak, reply = std::move(reply)]() mutable {
        const auto asked = weak.lock();
        if (!asked || asked->reply) return;
        asked->reply = std::move(reply);
        asked->timer.cancel();
      });
    });
    waiting->timer.expires_after(kAnswerTime);
    co_await waiting->timer.async_wait(kAwait);
    co_return waiting->reply ? std::move(*waiting->reply)
                             : Reply{.status = 503, .body = "the gateway's loop does not answer\n"};
  }

  Awaitable<bool> Write(Reply reply, bool head, bool keep_alive) {
    http::response<http::string_body> response(http::int_to_status(reply.status), 11);
    response.set(http::field::content_type, reply.type);
    response.set(http::field::cache_control, "no-store");
    response.set("Content-Security-Policy", kPolicy);
    response.set("X-Content-Type-Options", "nosniff");
    response.set("Referrer-Policy", "no-referrer");
    if (reply.status == 405) response.set(http::field::allow, "GET, HEAD");
    response.keep_alive(keep_alive);
    response.content_length(reply.body.size());
    if (!head) response.body() = std::move(reply.body);
    stream_.expires_after(kPatience);
    const auto [error, bytes] = co_await http::async_write(stream_, response, kAwait);
    co_return !error && keep_alive;
  }

  AdminServer& server_;
  Stream stream_;
  beast::flat_buffer buffer_{kRequestBytes + 1024};
  std::list<Client*>::iterator place_;
  bool asking_ = false;
};

AdminServer::AdminServer()
    : acceptor_(loop_.context().get_executor()),
      pause_(loop_.context().get_executor()),
      entrance_(std::make_shared<Entrance>()) {
  entrance_->loop = &loop_;
}

void AdminServer::Stop() {
  {
    const std::lock_guard lock(entrance_->mutex);
    entrance_->loop = nullptr;
  }
  if (!thread_.joinable()) return;
  // Coroutines end on their own thread, while what they use is there.
  loop_.Post([this] {
    error_code ignored;
    acceptor_.close(ignored);
    for (Client* client : clients_) client->Close();
    loop_.Stop();
  });
  thread_.join();
}

Result<std::unique_ptr<AdminServer>> AdminServer::Listen(const std::string& host, uint16_t port) {
  error_code error;
  std::unique_ptr<AdminServer> server(new AdminServer);
  const auto address = asio::ip::make_address(host, error);
  const asio::ip::tcp::endpoint endpoint(address, port);
  Acceptor& acceptor = server->acceptor_;
  if (!error) acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return NotSent(Reason::kConnectFailed, "admin.address: cannot listen on " + host + " port " + std::to_string(port) +
                                               ": " + error.message());
  }
  return server;
}

std::string AdminServer::address() const {
  error_code error;
  const auto endpoint = acceptor_.local_endpoint(error);
  const std::string host = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(endpoint.port());
}

std::function<void(std::function<void()>)> AdminServer::poster() const {
  return [entrance = entrance_](std::function<void()> callback) { entrance->Post(std::move(callback)); };
}

void AdminServer::Run() {
  Accept();
  thread_ = std::thread([this] { loop_.Run(); });
}

void AdminServer::Accept() {
  acceptor_.async_accept([this](error_code error, auto socket) {
    if (error == asio::error::operation_aborted) return;
    if (error) {
      Log(Level::kWarn, "admin.accept", {{"message", error.message()}});
      pause_.expires_after(kAcceptPause);
      return pause_.async_wait([this](error_code cancelled) {
        if (!cancelled) Accept();
      });
    }
    MakeRoom();
    asio::co_spawn(acceptor_.get_executor(), Client::Run(std::make_shared<Client>(*this, std::move(socket))),
                   asio::detached);
    Accept();
  });
}

void AdminServer::MakeRoom() {
  if (clients_.size() < kClients) return;
  const auto resting = std::ranges::find_if(clients_, [](const Client* client) { return !client->asking(); });
  (resting == clients_.end() ? clients_.front() : *resting)->Close();
}

}  // namespace fairlead
