// A dialler and transports in the hands of a test: it decides when a dial succeeds, what the exchange sends, which
// writes are taken and when a transport ends. No sockets, no time of their own.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/dial.h"

namespace fairlead {

inline Loss Lost(Reason reason = Reason::kConnectionLost) {
  return {.cause = {reason, Phase::kUnspecified, "as the test wants"}};
}

// The exchange's end of one transport. Checks that the session keeps to the transport's contract.
class Peer {
 public:
  explicit Peer(Timers& timers) : timers_(timers) {}

  // What it has been given.
  struct Write {
    bool ping = false;
    FrameKind kind = FrameKind::kText;
    std::string payload;
  };
  std::vector<Write> writes;  // Begun, in order.
  bool writing = false;       // The last of them is under way.
  std::optional<std::pair<uint16_t, std::string>> goodbye;
  uint64_t acknowledged = 0;
  std::optional<IpAddress> address;

  // What it does by itself.
  bool takes_writes = true;  // Else Take is the test's to call.
  bool says_goodbye = true;  // Answers a close frame, and ends.
  bool pongs = false;

  // Told of what it is given, as it is given.
  std::function<void(const Write&)> on_write = {};
  std::function<void()> on_goodbye = {};

  // False once it has ended, or the session has dropped it.
  bool live() const { return listener_ != nullptr; }
  // The payloads of messages, without pings.
  std::vector<std::string> Messages() const {
    std::vector<std::string> messages;
    for (const Write& write : writes) {
      if (!write.ping) messages.push_back(write.payload);
    }
    return messages;
  }
  size_t pings() const { return writes.size() - Messages().size(); }

  void Text(std::string_view payload) {
    if (live()) listener_->Received(FrameKind::kText, payload);
  }
  // What comes in between came with one read.
  void BeginRead() {
    if (live()) listener_->ReadBegins();
  }
  void EndRead() {
    if (live()) listener_->ReadEnds();
  }
  void Binary(std::string_view payload) {
    if (live()) listener_->Received(FrameKind::kBinary, payload);
  }
  void Pong(const std::string& payload) {
    if (live()) listener_->Ponged(payload);
  }
  // The write under way is in the kernel.
  void Take() {
    if (live() && std::exchange(writing, false)) listener_->Written();
  }
  void End(const Loss& loss = Lost()) {
    if (live()) std::exchange(listener_, nullptr)->Ended(loss);
  }
  void Close(uint16_t code, std::string reason = {}) {
    Loss loss = Lost(Reason::kPeerClosed);
    loss.close_code = code;
    loss.close_reason = std::move(reason);
    End(loss);
  }

 private:
  friend class ScriptedDialler;

  class Wire final : public Transport {
   public:
    explicit Wire(std::shared_ptr<Peer> peer) : peer_(std::move(peer)) {}
    ~Wire() override { peer_->listener_ = nullptr; }
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;
    void Start(Listener& listener) override {
      EXPECT_EQ(peer_->listener_, nullptr) << "started twice";
      peer_->listener_ = &listener;
    }
    void Write(FrameKind kind, std::string payload) override { peer_->Begin({false, kind, std::move(payload)}, peer_); }
    void Ping(std::string payload) override {
      const std::string echo = payload;
      peer_->Begin({true, FrameKind::kText, std::move(payload)}, peer_);
      if (peer_->pongs) peer_->timers_.Post([peer = peer_, echo] { peer->Pong(echo); });
    }
    void Close(uint16_t code, std::string reason) override {
      EXPECT_TRUE(peer_->live() && !peer_->goodbye) << "a second goodbye, or too late for one";
      peer_->goodbye = {code, std::move(reason)};
      if (peer_->on_goodbye) peer_->on_goodbye();
      if (peer_->says_goodbye) peer_->timers_.Post([peer = peer_] { peer->Close(peer->goodbye->first); });
    }
    uint64_t BytesAcknowledged() const override { return peer_->acknowledged; }
    std::optional<IpAddress> address() const override { return peer_->address; }

   private:
    std::shared_ptr<Peer> peer_;
  };

  void Begin(Write write, const std::shared_ptr<Peer>& self) {
    EXPECT_TRUE(live()) << "written to a transport that is not there";
    EXPECT_FALSE(std::exchange(writing, true)) << "a second write before the first was taken";
    EXPECT_FALSE(goodbye) << "written after the goodbye";
    writes.push_back(std::move(write));
    if (on_write) on_write(writes.back());
    if (takes_writes) timers_.Post([self] { self->Take(); });
  }

  Timers& timers_;
  Transport::Listener* listener_ = nullptr;
};

class ScriptedDialler final : public Dialler {
 public:
  explicit ScriptedDialler(Timers& timers) : timers_(timers) {}

  std::unique_ptr<Dialling> Dial(DialRequest request, Done done) override {
    requests.push_back(request);
    auto dial = std::make_shared<UnderWay>(UnderWay{requests.size(), std::move(done)});
    under_way_.push_back(dial);
    if (on_dial) on_dial();
    return std::make_unique<Abandons>(dial);
  }

  std::vector<DialRequest> requests;         // All dials so far.
  std::vector<std::shared_ptr<Peer>> peers;  // Of all transports so far.
  std::function<void(Peer&)> prepare = {};   // Applied to each new one.
  std::function<void()> on_dial = {};        // Told of each dial as it begins.

  // A dial that nobody has answered or abandoned.
  size_t under_way() {
    std::erase_if(under_way_, [](const auto& dial) { return !dial->done; });
    return under_way_.size();
  }
  // Answers the oldest dial under way.
  Peer& Accept() {
    auto peer = std::make_shared<Peer>(timers_);
    if (prepare) prepare(*peer);
    peers.push_back(peer);
    Answer(std::make_unique<Peer::Wire>(peer));
    return *peer;
  }
  void Refuse(const Loss& loss = Lost(Reason::kConnectFailed)) { Answer(std::unexpected(loss)); }
  Peer& peer() { return *peers.back(); }

 private:
  struct UnderWay {
    size_t number = 0;
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

  void Answer(std::expected<std::unique_ptr<Transport>, Loss> outcome) {
    ASSERT_NE(under_way(), 0u) << "nobody dials";
    const auto dial = under_way_.front();
    under_way_.erase(under_way_.begin());
    const auto done = std::exchange(dial->done, nullptr);
    done(std::move(outcome));
  }

  Timers& timers_;
  std::vector<std::shared_ptr<UnderWay>> under_way_;
};

}  // namespace fairlead
