#include "net/loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

namespace fairlead {
namespace {

namespace asio = boost::asio;

class LoopTimer final : public Timer {
 public:
  explicit LoopTimer(asio::io_context& context) : armed_(std::make_shared<Armed>(context)) {}
  ~LoopTimer() override { Cancel(); }

  void At(SteadyTime deadline, std::function<void()> callback) override {
    armed_->callback = std::move(callback);
    armed_->timer.expires_at(std::chrono::time_point_cast<std::chrono::steady_clock::duration>(deadline));
    armed_->timer.async_wait([armed = armed_, turn = ++armed_->turn](boost::system::error_code) {
      // A wait that had already expired runs even after a cancel or a new deadline; the turn tells it apart.
      if (turn != armed->turn) return;
      const auto due = std::exchange(armed->callback, nullptr);
      if (due) due();
    });
  }

  void Cancel() override {
    ++armed_->turn;
    armed_->callback = nullptr;
    armed_->timer.cancel();
  }

 private:
  // Shared with the wait that is under way, which outlives this object by a moment.
  struct Armed {
    explicit Armed(asio::io_context& context) : timer(context.get_executor()) {}
    SteadyTimer timer;
    std::function<void()> callback;
    uint64_t turn = 0;
  };
  std::shared_ptr<Armed> armed_;
};

}  // namespace

std::unique_ptr<Timer> Loop::MakeTimer() { return std::make_unique<LoopTimer>(context_); }

void Loop::Post(std::function<void()> callback) { asio::post(context_, std::move(callback)); }

void Loop::Run() {
  const auto guard = asio::make_work_guard(context_);
  context_.run();
}

}  // namespace fairlead
