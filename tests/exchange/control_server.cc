#include "exchange/control_server.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <charconv>

#include "exchange/upgrade.h"

namespace exchange {
namespace {

using Task = asio::awaitable<void, asio::io_context::executor_type>;
constexpr asio::use_awaitable_t<asio::io_context::executor_type> kAwait;
constexpr size_t kMaxBodyBytes = 128 << 20;

Task Serve(Socket socket, Control& control) {
  std::string input;
  error_code error;
  while (true) {
    const size_t head = co_await asio::async_read_until(socket, asio::dynamic_buffer(input, 64 << 10), "\r\n\r\n",
                                                        asio::redirect_error(kAwait, error));
    if (error) co_return;
    const auto request = ParseHttpRequest(std::string_view(input).substr(0, head));
    input.erase(0, head);
    ControlReply reply{.status = 400, .json = R"({"error":"the request is malformed"})"};
    size_t length = 0;
    bool keep = false;
    if (request) {
      const std::string text = request->Find("Content-Length").value_or("0");
      const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), length);
      keep = wrong == std::errc() && end == text.data() + text.size() && length <= kMaxBodyBytes &&
             !request->Find("Transfer-Encoding");
    }
    if (keep) {
      if (input.size() < length) {
        co_await asio::async_read(socket, asio::dynamic_buffer(input), asio::transfer_exactly(length - input.size()),
                                  asio::redirect_error(kAwait, error));
        if (error) co_return;
      }
      const std::string body = input.substr(0, length);
      input.erase(0, length);
      reply = control.Execute(request->method, request->target, body);
      keep = !EqualIgnoringCase(request->Find("Connection").value_or(""), "close");
    }
    const std::string response =
        "HTTP/1.1 " + std::to_string(reply.status) + (reply.status < 400 ? " OK" : " Error") +
        "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(reply.json.size()) +
        (keep ? "\r\n\r\n" : "\r\nConnection: close\r\n\r\n") + reply.json;
    co_await asio::async_write(socket, asio::buffer(response), asio::redirect_error(kAwait, error));
    if (error || !keep) co_return;
  }
}

}  // namespace

void ServeControl(Socket socket, Control& control) {
  const auto executor = socket.get_executor();
  asio::co_spawn(executor, Serve(std::move(socket), control), asio::detached);
}

}  // namespace exchange
