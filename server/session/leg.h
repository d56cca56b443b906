// One transport of a session, from its dial to its end: asked for, dialled, set up, kept alive, written to, closed.
// What it brings, and what follows from its end, is the session's.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/dial.h"
#include "policy/heartbeat.h"
#include "policy/outbox.h"
#include "policy/setup.h"
#include "session/options.h"

namespace fairlead {

// What a session asks its owner for; of fairlead.v1.Asked.
struct Question {
  std::string key;          // The setup step whose frame is wanted; empty: whether to dial, and where to.
  uint64_t generation = 0;  // Of the transport that it is for.
  uint64_t number = 0;      // Of the session's questions, from 1.
  WallTime deadline;
};

// Loop thread. Owned by its session.
class Leg final : private Transport::Listener {
 public:
  // The session. It may destroy the leg in Over, and nowhere else.
  class Listener {
   public:
    // The handshake is complete; SetUp is to be called now.
    virtual void Connected(Leg& leg) = 0;
    // The setup is complete.
    virtual void Ready(Leg& leg) = 0;
    // The owner, if there is one, is to be asked this, which needs a number.
    virtual void Asks(Question& question) = 0;
    virtual bool HasOwner() const = 0;
    // It has become as old as ArmAge said.
    virtual void Aged(Leg& leg) = 0;
    // What is received in between came with one read.
    virtual void ReadBegins() = 0;
    virtual void ReadEnds() = 0;
    // The payload is there until it returns.
    virtual void Received(Leg& leg, FrameKind kind, std::string_view payload, WallTime heard) = 0;
    virtual void HeartbeatAnswered(Duration round_trip) = 0;
    // The pong to a ping of the owner's.
    virtual void Ponged(std::string_view payload, Duration round_trip) = 0;
    virtual void Written(Leg& leg, const Outgoing& item) = 0;
    // Something is under way, or no more, that counts as bytes of the send queue.
    virtual void OutboxChanged() = 0;
    // The last call: there is no transport any more, or none came of the dial.
    virtual void Over(Leg& leg, const Loss& loss, const Outbox::Left& left) = 0;

   protected:
    ~Listener() = default;
  };

  // Which of the two that a session can have at once, and where the other one is: not there, if the name has another
  // address.
  struct Place {
    size_t lane = 0;
    std::optional<IpAddress> avoid = std::nullopt;
  };

  // The references outlive it; the options may be replaced, and Adopt tells.
  Leg(const std::string& identity, const SessionOptions& options, Dialler& dialler, Timers& timers, Listener& listener,
      Place place);
  Leg(const Leg&) = delete;
  Leg& operator=(const Leg&) = delete;

  // One of these begins. The question goes to the owner; Answer dials.
  void Dial(const Target& target);
  void AskBeforeDial(uint64_t generation);
  // The steps are those of this transport, whatever is stored later.
  void SetUp(uint64_t generation, const Setup& setup);
  // Tells Aged when the transport is so old; absent: never.
  void ArmAge(std::optional<Duration> age);
  // The options have been replaced.
  void Adopt();

  // What is asked, if the owner has not answered yet.
  const std::optional<Question>& question() const { return question_; }
  void AnswerDial(const Target& target);
  // Writes the owner's frame as the step that asks for it; false: that step does not, or not any more.
  bool AnswerStep(Outgoing item);

  // Goes out on this transport, after what is bound already.
  void Bind(Outgoing item);
  // The same, but not before the setup is complete.
  void BindAfterSetup(Outgoing item);
  // What the owner wanted and no write has begun for: another takes its place, who is told of no earlier pong.
  std::vector<Outgoing> Withdraw();
  // Of the owner: those that wait to be written count, too.
  size_t UnansweredPings() const;

  // Ends the transport politely. The loss is told when it has ended, with this cause. Once connected; a second call
  // changes only the cause.
  void Close(Loss goodbye, CloseCommand close = {});
  // Ends it at once, without a goodbye and without a call: what was bound to it.
  Outbox::Left Abandon();

  bool connected() const { return transport_ != nullptr; }
  // The setup is complete.
  bool ready() const { return ready_; }
  // Zero before SetUp.
  uint64_t generation() const { return generation_; }
  size_t lane() const { return place_.lane; }
  std::optional<IpAddress> address() const { return address_; }
  const TargetUrl& url() const { return url_; }
  bool leaving() const { return goodbye_.has_value(); }
  WallTime last_heard() const { return last_heard_; }
  // What is bound and not written, and what waits for the end of the setup.
  size_t outbox_bytes() const { return outbox_.bytes() + after_setup_bytes_; }
  // Data frames, and those of them since it was ready.
  uint64_t received_frames() const { return received_frames_; }
  uint64_t received_since_ready() const { return received_since_ready_; }
  // Of its last answered heartbeat.
  std::optional<Duration> heartbeat_round_trip() const { return heartbeat_ ? heartbeat_->round_trip() : std::nullopt; }

 private:
  // From the transport.
  void ReadBegins() override;
  void ReadEnds() override;
  void Received(FrameKind kind, std::string_view payload) override;
  void Ponged(std::string_view payload) override;
  void Written() override;
  void Ended(const Loss& loss) override;

  void Dialled(std::unique_ptr<Transport> transport);
  void GoOn(Setup::Verdict verdict);
  void Ask(const std::string& key, uint64_t generation, Duration timeout);
  void Unanswered(const std::string& key);
  void StopAsking();
  void CheckLiveness();
  void ArmLiveness();
  void Pump();
  void Lose(Loss loss);

  const std::string& identity_;
  TargetUrl url_;  // Of the dial; empty before it.
  const SessionOptions& options_;
  Dialler& dialler_;
  Timers& timers_;
  Listener& listener_;
  const Place place_;

  std::unique_ptr<Dialling> dialling_;
  std::unique_ptr<Transport> transport_;
  std::optional<Loss> goodbye_;  // We are closing the transport, and this is why.
  std::optional<IpAddress> address_;
  uint64_t generation_ = 0;
  std::optional<Setup> setup_;  // The run, on a copy of what is stored.
  bool ready_ = false;
  std::vector<Outgoing> after_setup_;
  size_t after_setup_bytes_ = 0;
  uint64_t received_frames_ = 0;
  uint64_t received_since_ready_ = 0;
  std::optional<Question> question_;
  std::optional<Heartbeat> heartbeat_;
  Outbox outbox_;
  SteadyTime dialled_at_;
  WallTime last_heard_;
  std::optional<SteadyTime> liveness_due_;

  std::unique_ptr<Timer> setup_timer_;  // Of a setup step, and of a question before the dial.
  std::unique_ptr<Timer> liveness_timer_;
  std::unique_ptr<Timer> age_timer_;

  // Pings whose pong has not come, in the order in which they are written; a heartbeat's has no command.
  struct PingUnderWay {
    std::string payload;
    std::optional<SteadyTime> sent_at;  // Absent: it waits to be written.
    bool heartbeat = false;
    bool former = false;  // A former owner's: nobody is told of its pong.
  };
  std::deque<PingUnderWay> pings_;
  bool heartbeat_queued_ = false;

  // The frames of one read have one time.
  struct Moment {
    WallTime heard;
    SteadyTime now;
  };
  std::optional<Moment> read_;
};

}  // namespace fairlead
