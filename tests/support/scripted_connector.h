// A connector and byte streams in the hands of a test: it decides when a dial succeeds, how far a write gets, what the
// exchange answers and when a connection ends. No sockets, no time of their own.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/byte_stream.h"

namespace fairlead {

// The exchange's end of one connection. Checks that the connection keeps to the stream's contract.
class HttpPeer : public std::enable_shared_from_this<HttpPeer> {
 public:
  // All writes to all peers are put into the log, too, in order.
  HttpPeer(Timers& timers, std::shared_ptr<std::vector<std::string>> log) : timers_(timers), log_(std::move(log)) {}

  struct Request {
    std::string text;                           // Head and body.
    std::optional<Phase> taken = std::nullopt;  // When the write has ended: how far it came.
  };
  std::vector<Request> requests;              // Writes begun, in order.
  bool takes_writes = true;                   // By itself; else Take is the test's to call.
  Phase taken_at_abort = Phase::kPartlySent;  // Of a write under way when the connection is aborted.

  // Our side still has it open.
  bool open() const { return stream_ && !aborted_; }
  bool writing() const { return write_done_ != nullptr; }
  bool reading() const { return read_done_ != nullptr; }

  // The kernel has taken the write under way, or not; told in the loop's next turn.
  void Take(Phase taken = Phase::kSentNoReply) {
    if (!writing()) return;
    timers_.Post([self = shared_from_this(), taken, write = requests.size()] {
      if (self->writing() && self->requests.size() == write) self->TellWrite(taken);
    });
  }
  void Answer(std::string bytes) { Arrive(std::move(bytes)); }
  // In order.
  void End() { Arrive(std::string()); }
  // A write under way fails having come so far.
  void Reset(Phase taken = Phase::kPartlySent) {
    Take(taken);
    Arrive(std::unexpected(Failure{Reason::kConnectionLost, Phase::kUnspecified, "reset, as the test wants"}));
  }
  // What TLS says for itself comes and is read without a word.
  void Murmur() {
    ++murmurs_;
    timers_.Post([self = shared_from_this()] { --self->murmurs_; });
  }

 private:
  friend class ScriptedConnector;

  class Stream final : public ByteStream {
   public:
    explicit Stream(std::shared_ptr<HttpPeer> peer) : peer_(std::move(peer)) { peer_->stream_ = true; }
    ~Stream() override {
      peer_->stream_ = false;
      peer_->read_done_ = nullptr;
      peer_->TellWrite(peer_->taken_at_abort);
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    void Read(ReadDone done) override {
      EXPECT_FALSE(peer_->reading()) << "a second read";
      EXPECT_FALSE(peer_->aborted_) << "a read after the end";
      peer_->read_done_ = std::move(done);
      peer_->Deliver();
    }
    void Write(std::string head, std::string body, WriteDone done) override {
      EXPECT_FALSE(peer_->writing()) << "a second write before the first has ended";
      EXPECT_FALSE(peer_->aborted_) << "written after the end";
      EXPECT_TRUE(peer_->reading()) << "nobody would see the answer";
      EXPECT_TRUE(Quiet()) << "written although something has come";
      peer_->requests.push_back({std::move(head) + body});
      peer_->log_->push_back(peer_->requests.back().text);
      peer_->write_done_ = std::move(done);
      if (peer_->takes_writes) peer_->Take();
    }
    void Abort() override { peer_->Abort(); }
    bool Quiet() const override { return peer_->incoming_.empty() && peer_->murmurs_ == 0; }

   private:
    std::shared_ptr<HttpPeer> peer_;
  };

  void Arrive(Result<std::string> bytes) {
    incoming_.push_back(std::move(bytes));
    if (reading()) Deliver();
  }
  // What has come is read in the loop's next turn.
  void Deliver() {
    if (incoming_.empty() || std::exchange(delivering_, true)) return;
    timers_.Post([self = shared_from_this()] {
      self->delivering_ = false;
      if (!self->reading() || self->incoming_.empty()) return;
      const auto bytes = std::move(self->incoming_.front());
      self->incoming_.pop_front();
      const auto done = std::exchange(self->read_done_, nullptr);
      if (!bytes) return done(std::unexpected(bytes.error()));
      done(std::string_view(*bytes));
    });
  }
  void TellWrite(Phase taken) {
    if (!writing()) return;
    requests.back().taken = taken;
    const auto done = std::exchange(write_done_, nullptr);
    if (stream_) done(taken);
  }
  void Abort() {
    if (std::exchange(aborted_, true)) return;
    incoming_.clear();
    incoming_.emplace_back(std::unexpected(Failure{Reason::kConnectionLost, Phase::kUnspecified, "aborted"}));
    if (reading()) Deliver();
    Take(taken_at_abort);
  }

  Timers& timers_;
  std::shared_ptr<std::vector<std::string>> log_;
  bool stream_ = false;  // It is there.
  bool aborted_ = false;
  bool delivering_ = false;
  int murmurs_ = 0;
  std::deque<Result<std::string>> incoming_;
  ByteStream::ReadDone read_done_;
  ByteStream::WriteDone write_done_;
};

class ScriptedConnector final : public Connector {
 public:
  explicit ScriptedConnector(Timers& timers) : timers_(timers) {}

  std::unique_ptr<Dialling> Open(const std::string& /*identity*/, const TargetUrl& url, Duration timeout,
                                 Done done) override {
    origins.push_back(url.Origin());
    timeouts.push_back(timeout);
    auto dial = std::make_shared<UnderWay>(UnderWay{std::move(done)});
    under_way_.push_back(dial);
    if (accepts) timers_.Post([this, dial] { AcceptIf(dial); });
    return std::make_unique<Abandons>(dial);
  }

  std::vector<std::string> origins;  // Of all dials so far.
  std::vector<Duration> timeouts;
  std::vector<std::shared_ptr<HttpPeer>> peers;  // Of all connections so far.
  std::function<void(HttpPeer&)> prepare = {};   // Applied to each new one.
  bool accepts = true;                           // By itself; else Accept and Refuse are the test's to call.
  ConnectTimes times{.resolve = std::chrono::milliseconds(1), .connect = std::chrono::milliseconds(2)};

  // Dials that nobody has answered or abandoned.
  size_t under_way() {
    std::erase_if(under_way_, [](const auto& dial) { return !dial->done; });
    return under_way_.size();
  }
  size_t open() const {
    return static_cast<size_t>(std::ranges::count_if(peers, [](const auto& peer) { return peer->open(); }));
  }
  // Both answer the oldest dial under way, or the one at this place.
  HttpPeer& Accept(size_t place = 0) {
    auto dial = Take(place);
    auto peer = std::make_shared<HttpPeer>(timers_, log_);
    if (prepare) prepare(*peer);
    peers.push_back(peer);
    const auto done = std::exchange(dial->done, nullptr);
    done(OpenedStream{std::make_unique<HttpPeer::Stream>(peer), times});
    return *peer;
  }
  void Refuse(Reason reason = Reason::kConnectFailed, size_t place = 0) {
    const auto dial = Take(place);
    const auto done = std::exchange(dial->done, nullptr);
    done(NotSent(reason, "as the test wants"));
  }
  HttpPeer& peer() { return *peers.back(); }
  // All requests written so far, to whichever peer.
  const std::vector<std::string>& log() const { return *log_; }

 private:
  struct UnderWay {
    Done done;
  };
  class Abandons final : public Dialling {
   public:
    explicit Abandons(std::shared_ptr<UnderWay> dial) : dial_(std::move(dial)) {}
    ~Abandons() override { dial_->done = nullptr; }
    Abandons(const Abandons&) = delete;
    Abandons& operator=(const Abandons&) = delete;

   private:
    std::shared_ptr<UnderWay> dial_;
  };

  std::shared_ptr<UnderWay> Take(size_t place) {
    EXPECT_GT(under_way(), place) << "nobody dials";
    auto dial = under_way_.at(place);
    under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(place));
    return dial;
  }
  void AcceptIf(const std::shared_ptr<UnderWay>& dial) {
    if (!dial->done) return;
    under_way();
    const auto place = std::ranges::find(under_way_, dial) - under_way_.begin();
    Accept(static_cast<size_t>(place));
  }

  Timers& timers_;
  std::shared_ptr<std::vector<std::string>> log_ = std::make_shared<std::vector<std::string>>();
  std::vector<std::shared_ptr<UnderWay>> under_way_;
};

}  // namespace fairlead
