// The one thread on which sessions, dials and transports run.
#pragma once

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "base/time.h"

namespace fairlead {

// Typed on the executor, not on any_io_executor: measured, a third less CPU a frame.
using Executor = boost::asio::io_context::executor_type;
using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Executor>;
using SteadyTimer = boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                                      boost::asio::wait_traits<std::chrono::steady_clock>, Executor>;

// The real clock and the real timers. Timers are for the loop thread; Post, Now and WallNow for any.
class Loop final : public Timers {
 public:
  SteadyTime Now() const override { return std::chrono::steady_clock::now(); }
  WallTime WallNow() const override { return std::chrono::system_clock::now(); }
  std::unique_ptr<Timer> MakeTimer() override;
  void Post(std::function<void()> callback) override;

  // Runs until Stop, also when nothing is left to do.
  void Run();
  // Any thread.
  void Stop() { context_.stop(); }

  boost::asio::io_context& context() { return context_; }

 private:
  boost::asio::io_context context_{1};
};

}  // namespace fairlead
