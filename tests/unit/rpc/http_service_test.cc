// HttpService over gRPC itself, in process: what runs on which thread.
#include "rpc/http_service.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "base/log.h"
#include "support/network.h"

namespace fairlead {
namespace {

// The loop's timers; tells how many were destroyed by another thread than the one that made them.
class WatchedTimers final : public Timers {
 public:
  explicit WatchedTimers(Loop& loop) : loop_(loop) {}
  SteadyTime Now() const override { return loop_.Now(); }
  WallTime WallNow() const override { return loop_.WallNow(); }
  std::unique_ptr<Timer> MakeTimer() override { return std::make_unique<Watched>(loop_.MakeTimer(), elsewhere_); }
  void Post(std::function<void()> callback) override { loop_.Post(std::move(callback)); }
  int elsewhere() const { return elsewhere_; }

 private:
  class Watched final : public Timer {
   public:
    Watched(std::unique_ptr<Timer> timer, std::atomic<int>& elsewhere)
        : timer_(std::move(timer)), elsewhere_(elsewhere) {}
    ~Watched() override {
      if (std::this_thread::get_id() != made_by_) ++elsewhere_;
    }
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;
    void At(SteadyTime deadline, std::function<void()> callback) override { timer_->At(deadline, std::move(callback)); }
    void Cancel() override { timer_->Cancel(); }

   private:
    std::unique_ptr<Timer> timer_;
    std::atomic<int>& elsewhere_;
    const std::thread::id made_by_ = std::this_thread::get_id();
  };

  Loop& loop_;
  std::atomic<int> elsewhere_ = 0;
};

class Refuses final : public Connector {
 public:
  explicit Refuses(Timers& timers) : timers_(timers) {}
  std::unique_ptr<Dialling> Open(const std::string& /*identity*/, const TargetUrl& /*url*/, Duration /*timeout*/,
                                 Done done) override {
    timers_.Post([done = std::move(done)] { done(NotSent(Reason::kConnectFailed, "as the test wants")); });
    return nullptr;
  }

 private:
  Timers& timers_;
};

struct InProcess {
  LoopThread thread;
  WatchedTimers timers{thread.loop()};
  Refuses connector{timers};
  const Limits limits;
  Current<Access> access{Access({.egress = {{.name = "all", .hosts = {"*"}}}})};
  HttpEngine engine{connector, timers, limits, HttpOptions{}, access};
  Flusher flusher;
  RpcMeasures rpcs;
  HttpServiceImpl service{Identity("dev", access),
                          {.engine = engine, .timers = timers, .limits = limits, .flusher = flusher, .rpcs = rpcs}};
  std::unique_ptr<grpc::Server> server = grpc::ServerBuilder().RegisterService(&service).BuildAndStart();
  std::unique_ptr<v1::HttpService::Stub> stub =
      v1::HttpService::NewStub(server->InProcessChannel(grpc::ChannelArguments()));
  ScopedLogSink quiet{[](std::string_view) {}};

  grpc::StatusCode Ask() {
    grpc::ClientContext context;
    v1::SendRequest request;
    request.mutable_request()->set_method("GET");
    request.mutable_request()->set_url("https://api.example.com/");
    v1::SendResponse response;
    return stub->Send(&context, request, &response).error_code();
  }
};

// Its counts are the loop's: a request that another thread counts out at the same time is lost to them, and with it
// its bytes, for as long as the gateway runs.
TEST(HttpService, ARequestIsForgottenByTheLoopAlone) {
  InProcess gateway;
  std::vector<std::future<void>> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.push_back(std::async(std::launch::async, [&] {
      for (int i = 0; i < 250; ++i) EXPECT_EQ(gateway.Ask(), grpc::StatusCode::UNAVAILABLE);
    }));
  }
  for (auto& caller : callers) caller.get();
  gateway.server->Shutdown();
  gateway.server->Wait();
  gateway.thread.Settle();
  EXPECT_EQ(gateway.timers.elsewhere(), 0);
  EXPECT_EQ(gateway.thread.Do([&] { return gateway.engine.totals().requests; }), 0u);
  gateway.thread.Do([&] { gateway.engine.Drain(gateway.timers.Now(), [] {}); });
  gateway.thread.Settle();
}

}  // namespace
}  // namespace fairlead
