#include "ops/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <future>

#include "support/held_loop.h"
#include "support/http_testbed.h"
#include "support/testbed.h"

namespace fairlead {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
namespace asio = boost::asio;

// A connection of its own.
std::string Fetch(const std::string& address, const std::string& path) {
  asio::io_context context;
  asio::ip::tcp::socket socket(context);
  const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  socket.connect({asio::ip::make_address("127.0.0.1"), port});
  asio::write(socket, asio::buffer("GET " + path + " HTTP/1.1\r\nConnection: close\r\n\r\n"));
  std::string reply;
  boost::system::error_code error;
  asio::read(socket, asio::dynamic_buffer(reply), error);
  return reply;
}

using Told = std::function<void(std::string)>;

// An admin port beside a loop that turns when a test says so.
struct Port : Testbed {
  explicit Port(std::function<void(Told)> check)
      : admin(std::move(*AdminServer::Listen("127.0.0.1", 0)), loop, {registry, http.engine(), adapters, rpcs, limits},
              {.version = "1.2.3", .certificate_files = {}, .check_serving = std::move(check)}) {
    admin.Run();
  }
  std::string Get(const std::string& path) const { return Fetch(admin.address(), path); }
  // The loop turns while it is asked.
  std::string GetWithTurns(const std::string& path) {
    auto reply = std::async(std::launch::async, [this, path] { return Get(path); });
    while (reply.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) loop.Turn();
    return reply.get();
  }
  HttpTestbed http;
  HeldLoop loop{time};
  AdapterMeasures adapters;
  RpcMeasures rpcs;
  Admin admin;
};

TEST(Admin, IsStartingUntilTheLoopTurns) {
  Port port([](const Told& told) { told(""); });
  EXPECT_THAT(port.Get("/readyz"), AllOf(StartsWith("HTTP/1.1 503 "), EndsWith("\r\n\r\nstarting\n")));
  EXPECT_THAT(port.Get("/healthz"), AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("\r\n\r\nok\n")));
  port.loop.Turn();
  EXPECT_THAT(port.Get("/readyz"), AllOf(StartsWith("HTTP/1.1 200 "), EndsWith("\r\n\r\nok\n")));
}

TEST(Admin, TellsWhyItIsNotReady) {
  Port port([](const Told& told) { told("127.0.0.1:1: health says NOT_SERVING"); });
  port.loop.Turn();
  EXPECT_THAT(port.Get("/readyz"),
              AllOf(StartsWith("HTTP/1.1 503 "), EndsWith("\r\n\r\n127.0.0.1:1: health says NOT_SERVING\n")));
}

TEST(Admin, ChecksAtMostOnceASecond) {
  std::atomic<int> checks = 0;
  Port port([&](const Told& told) {
    ++checks;
    told("");
  });
  port.loop.Turn();
  const auto real = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) EXPECT_THAT(port.Get("/readyz"), StartsWith("HTTP/1.1 200 "));
  const auto took = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - real).count();
  EXPECT_LE(checks, took + 2);
}

TEST(Admin, IsNotReadyWhileDraining) {
  Port port([](const Told& told) { told(""); });
  port.loop.Turn();
  port.admin.Drain();
  EXPECT_THAT(port.Get("/readyz"), EndsWith("\r\n\r\ndraining\n"));
  EXPECT_THAT(port.Get("/healthz"), StartsWith("HTTP/1.1 200 "));
}

TEST(Admin, AnAnswerThatComesTooLateHarmsNobody) {
  std::function<void(std::string)> late;
  {
    std::atomic<bool> asked = false;
    Port port([&](Told told) {
      late = std::move(told);
      asked = true;
    });
    port.loop.Turn();
    asio::io_context context;
    asio::ip::tcp::socket socket(context);
    const std::string address = port.admin.address();
    socket.connect({asio::ip::make_address("127.0.0.1"),
                    static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)))});
    asio::write(socket, asio::buffer(std::string("GET /readyz HTTP/1.1\r\n\r\n")));
    while (!asked) std::this_thread::yield();
  }
  late("");
}

TEST(Admin, MetricsAreThoseOfTheLoop) {
  Port port([](const Told& told) { told(""); });
  port.Open();
  const std::string reply = port.GetWithTurns("/metrics");
  EXPECT_THAT(reply, AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("Content-Type: text/plain; version=0.0.4"),
                           HasSubstr("\nfairlead_build_info{version=\"1.2.3\"} 1\n"),
                           HasSubstr("\nfairlead_sessions{state=\"CONNECTING\"} 1\n")));
}

TEST(Admin, AStuckLoopIsTold) {
  Port port([](const Told& told) { told(""); });
  EXPECT_THAT(port.Get("/metrics"),
              AllOf(StartsWith("HTTP/1.1 503 "), EndsWith("\r\n\r\nthe gateway's loop does not answer\n")));
  EXPECT_THAT(port.Get("/healthz"),
              AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("\r\n\r\nthe loop has not turned for ")));
  port.loop.Turn();
  EXPECT_THAT(port.Get("/healthz"), StartsWith("HTTP/1.1 200 "));
}

TEST(AdminServer, RefusesAnAddressThatIsTaken) {
  const auto first = AdminServer::Listen("127.0.0.1", 0);
  ASSERT_TRUE(first);
  const std::string port = (*first)->address().substr(10);
  const auto second = AdminServer::Listen("127.0.0.1", static_cast<uint16_t>(std::stoi(port)));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("admin.address: cannot listen on 127.0.0.1 port " + port));
}

}  // namespace
}  // namespace fairlead
