// The real network below a session, for tests on loopback: a loop on a thread of its own, a dialler, and lines (dialled
// transports) whose events a test waits for.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/dial.h"
#include "net/loop.h"
#include "net/tls.h"

namespace fairlead {

// How long a test waits for what must come. Never waited for when all is well.
constexpr std::chrono::seconds kPatience{20};

class LoopThread {
 public:
  LoopThread() : thread_([this] { loop_.Run(); }) {}
  ~LoopThread() {
    loop_.Stop();
    thread_.join();
  }
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  Loop& loop() { return loop_; }
  // Runs it on the loop and waits for what it returns.
  template <typename Action>
  auto Do(Action action) {
    std::packaged_task<decltype(action())()> task(std::move(action));
    auto result = task.get_future();
    loop_.Post([&task] { task(); });
    return result.get();
  }
  // What was posted before is done, and what it posted.
  void Settle() {
    for (int i = 0; i < 10; ++i) Do([] {});
  }

 private:
  Loop loop_;
  std::thread thread_;
};

// A file that is gone with this object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    std::string path = (std::filesystem::temp_directory_path() / "fairlead-test-XXXXXX").string();
    const int descriptor = mkstemp(path.data());
    EXPECT_GE(descriptor, 0);
    close(descriptor);
    path_ = path;
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::vector<EgressRule> LoopbackEgress() {
  const auto v4 = ParseCidr("127.0.0.0/8");
  const auto v6 = ParseCidr("::1/128");
  return {{.name = "loopback",
           .schemes = {"ws", "wss", "http", "https", "tcp", "tls"},
           .hosts = {"*"},
           .cidrs = {*v4, *v6}}};
}

// A loop and a dialler that trusts one authority.
class Network {
 public:
  explicit Network(const std::string& ca_pem = "", std::vector<EgressRule> egress = LoopbackEgress())
      : access_(Access({.egress = std::move(egress)})) {
    std::optional<TemporaryFile> file;
    std::vector<std::string> files;
    if (!ca_pem.empty()) files.push_back(file.emplace(ca_pem).path());
    auto tls = TlsClient::Make(files, /*system_authorities=*/false);
    EXPECT_TRUE(tls) << (tls ? "" : tls.error().message);
    tls_ = std::move(*tls);
    dialler_ = MakeDialler(thread_.loop(), access_, *tls_);
  }
  ~Network() { thread_.Settle(); }
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  Dialler& dialler() { return *dialler_; }
  TlsClient& tls() { return *tls_; }
  Loop& loop() { return thread_.loop(); }
  template <typename Action>
  auto Do(Action action) {
    return thread_.Do(std::move(action));
  }
  void Settle() { thread_.Settle(); }

 private:
  // Streams must go before the context, and both before the rules: the thread ends first, the loop goes last.
  Current<Access> access_;
  std::unique_ptr<TlsClient> tls_;
  std::unique_ptr<Dialler> dialler_;
  LoopThread thread_;
};

inline DialRequest RequestFor(const std::string& url) {
  auto target = ParseTarget(url, 8192);
  EXPECT_TRUE(target) << url;
  return {.identity = "dev",
          .url = target.value_or(TargetUrl{}),
          .headers = {},
          .websocket = {},
          .socket = {},
          .timeout = kPatience};
}

// One dial and what comes of it. Public functions are for the test's thread.
class Line final : private Transport::Listener {
 public:
  struct Frame {
    FrameKind kind;
    std::string payload;
    friend bool operator==(const Frame&, const Frame&) = default;
  };

  explicit Line(Network& network) : network_(network) {}
  ~Line() { Abandon(); }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  // Waits for the outcome; what went wrong, if anything did.
  std::optional<Loss> Dial(DialRequest request) {
    Begin(std::move(request));
    return WaitDialled();
  }
  std::optional<Loss> WaitDialled() {
    Wait([this] { return dialled_; }, "the outcome of a dial");
    const std::lock_guard lock(mutex_);
    return refusal_;
  }
  void Begin(DialRequest request) {
    network_.Do([&] {
      dialling_ = network_.dialler().Dial(std::move(request), [this](auto outcome) { Dialled(std::move(outcome)); });
    });
  }
  // Drops the dial, or the transport.
  void Abandon() {
    network_.Do([this] {
      dialling_.reset();
      transport_.reset();
      const std::lock_guard lock(mutex_);
      abandoned_ = true;
    });
  }

  std::vector<Frame> WaitForFrames(size_t count) {
    Wait([=, this] { return frames_.size() >= count || loss_; }, "frames");
    const std::lock_guard lock(mutex_);
    return frames_;
  }
  Loss WaitForEnd() {
    Wait([this] { return loss_.has_value(); }, "the end");
    const std::lock_guard lock(mutex_);
    return loss_.value_or(Loss{});
  }
  std::vector<std::string> WaitForPongs(size_t count) {
    Wait([=, this] { return pongs_.size() >= count || loss_; }, "pongs");
    const std::lock_guard lock(mutex_);
    return pongs_;
  }
  // Waits until it is written; false: the transport has ended.
  bool Write(FrameKind kind, const std::string& payload) {
    BeginWrite(kind, payload);
    return WaitUntilWritten();
  }
  bool WaitUntilWritten() {
    Wait([this] { return written_ == begun_ || loss_; }, "a write");
    return written();
  }
  // All that was begun.
  bool written() {
    const std::lock_guard lock(mutex_);
    return written_ == begun_;
  }
  void BeginWrite(FrameKind kind, const std::string& payload) {
    network_.Do([&] {
      Begun();
      if (transport_) transport_->Write(kind, payload);
    });
  }
  bool Ping(const std::string& payload) {
    network_.Do([&] {
      Begun();
      if (transport_) transport_->Ping(payload);
    });
    Wait([this] { return written_ == begun_ || loss_; }, "a ping");
    const std::lock_guard lock(mutex_);
    return written_ == begun_;
  }
  void Close(uint16_t code, const std::string& reason) {
    network_.Do([&] {
      if (transport_) transport_->Close(code, reason);
    });
  }
  uint64_t BytesAcknowledged() {
    return network_.Do([this] { return transport_ ? transport_->BytesAcknowledged() : 0; });
  }
  // The transport is dropped from within the callback of this frame.
  void DropAtFrame(size_t number) {
    const std::lock_guard lock(mutex_);
    drop_at_frame_ = number;
  }
  bool dropped() {
    const std::lock_guard lock(mutex_);
    return abandoned_;
  }
  void WaitUntilDropped() {
    Wait([this] { return abandoned_; }, "the drop");
  }

 private:
  template <typename Condition>
  void Wait(Condition condition, const char* what) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, condition)) << "waited in vain for " << what;
  }
  void Begun() {
    const std::lock_guard lock(mutex_);
    ++begun_;
  }

  // The loop's thread.
  void Dialled(std::expected<std::unique_ptr<Transport>, Loss> outcome) {
    {
      const std::lock_guard lock(mutex_);
      EXPECT_FALSE(abandoned_) << "an outcome after the dial was abandoned";
      EXPECT_FALSE(dialled_) << "a second outcome";
      dialled_ = true;
      if (!outcome) loss_ = refusal_ = outcome.error();
    }
    if (outcome) {
      transport_ = std::move(*outcome);
      Transport::Listener& listener = *this;
      transport_->Start(listener);
    }
    changed_.notify_all();
  }
  void ReadBegins() override { EXPECT_FALSE(std::exchange(reading_, true)) << "a read within a read"; }
  void ReadEnds() override { EXPECT_TRUE(std::exchange(reading_, false)) << "no read to end"; }
  void Received(FrameKind kind, std::string_view payload) override {
    bool drop = false;
    {
      const std::lock_guard lock(mutex_);
      EXPECT_FALSE(abandoned_) << "a frame after the transport was dropped";
      frames_.push_back({kind, std::string(payload)});
      drop = frames_.size() == drop_at_frame_;
      abandoned_ = abandoned_ || drop;
    }
    if (drop) transport_.reset();
    changed_.notify_all();
  }
  void Ponged(std::string_view payload) override {
    const std::lock_guard lock(mutex_);
    pongs_.emplace_back(payload);
    changed_.notify_all();
  }
  void Written() override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(abandoned_);
    ++written_;
    changed_.notify_all();
  }
  void Ended(const Loss& loss) override {
    EXPECT_FALSE(reading_) << "an end in the middle of a read";
    {
      const std::lock_guard lock(mutex_);
      EXPECT_FALSE(abandoned_) << "an end after the transport was dropped";
      EXPECT_FALSE(loss_) << "a second end";
      loss_ = loss;
    }
    transport_.reset();  // As a session does.
    changed_.notify_all();
  }

  Network& network_;
  std::unique_ptr<Dialling> dialling_;    // Loop only.
  std::unique_ptr<Transport> transport_;  // Loop only.
  bool reading_ = false;                  // Loop only.

  std::mutex mutex_;  // Guards what follows.
  std::condition_variable changed_;
  bool dialled_ = false;
  bool abandoned_ = false;
  std::optional<Loss> refusal_;  // Of the dial.
  std::optional<Loss> loss_;     // Of the dial, or the transport's end.
  std::vector<Frame> frames_;
  std::vector<std::string> pongs_;
  size_t drop_at_frame_ = 0;
  size_t begun_ = 0;
  size_t written_ = 0;
};

}  // namespace fairlead
