// The loop's side of one Attach stream: its channels, what they command, and when what waits for them is sent.
#pragma once

#include <fairlead/v1/session.pb.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/current.h"
#include "policy/access.h"
#include "policy/draining.h"
#include "policy/flush.h"
#include "rpc/requests.h"
#include "rpc/response_encoder.h"
#include "session/registry.h"

namespace fairlead {

// Loop thread.
class Channels {
 public:
  // The stream, as the channels see it. Calls do not come back into the channels before they have returned.
  class Stream {
   public:
    // One at a time; Wrote answers.
    virtual void Write(const grpc::ByteBuffer& message) = 0;
    // Nothing is left to be written, ever.
    virtual void Finished(const Failure* why) = 0;
    // Commands may be read again.
    virtual void Drained() = 0;
    // The peer has not taken a message for limits.stuck_write.
    virtual void Stuck() = 0;

   protected:
    ~Stream() = default;
  };

  Channels(std::string identity, Registry& registry, const Current<Access>& access, Timers& timers,
           const Limits& limits, Flush::Batch batch, Stream& stream, const TraceId& trace = {});
  // Detaches all.
  ~Channels();
  Channels(const Channels&) = delete;
  Channels& operator=(const Channels&) = delete;

  void Execute(v1::AttachRequest& request);
  void Wrote();
  // No more commands: the stream finishes with its last channel.
  void HalfClosed();
  // The gateway stops: tells so, and finishes when every channel has ended.
  void Drain(SteadyTime gone_by);
  // The access has changed: channels that read what is no longer granted end.
  void Recheck();
  // Of the message that was written last: when its oldest frame was read, of those that are not of the past.
  std::optional<WallTime> oldest_live() const { return oldest_live_; }
  // So much waits that commands should wait too.
  bool Full() const { return !unexecuted_.empty() || waiting_.size() >= limits_.waiting_events; }

 private:
  // One of the stream's sessions.
  struct Channel final : Subscription::Listener {
    Channel(Channels& c, uint32_t n, Duration delay) : channels(c), number(n), max_delay(delay) {}
    void Waiting(Subscription& cursor, size_t entries, size_t bytes) override;
    void Ponged(Subscription& cursor, std::string_view payload, Duration round_trip) override;
    void Asked(Subscription& cursor, const Question& question) override;
    Channels& channels;
    uint32_t number;
    Duration max_delay;
    std::unique_ptr<Subscription> subscription;
    bool ready = false;  // In ready_.
  };

  void ExecuteNext();
  void Execute(v1::Command& command);
  void Open(uint32_t channel, uint64_t id, const v1::Open& open);
  void Join(uint32_t channel, uint64_t id, const v1::Join& join);
  void Attach(uint32_t channel, uint64_t id, std::shared_ptr<Session> session, bool owner, const Start& start,
              const DeliveryOptions& delivery);
  Result<void> CheckFree(uint32_t channel) const;
  // Whether the identity may connect there. Open finds out with its first dial, like any later one.
  Result<void> CheckTarget(const Target& target) const;
  // Refused before it reaches a session.
  void Refuse(uint32_t channel, uint64_t id, const Failure& failure);
  void Done(uint32_t channel, uint64_t id);
  void Detach(Channel& channel, uint64_t id);
  // Its subscription goes, and so does what it has not read.
  void Drop(uint32_t channel, const Failure& cause);
  void Tell(v1::Event event);

  void Schedule();
  void FlushNow();
  void Encode(ResponseEncoder& encoder);
  // Takes from the channel what fits; true: something is left.
  bool Take(Channel& channel, ResponseEncoder& encoder);
  void WatchWrite();
  void FinishIfDone();

  const std::string identity_;
  Registry& registry_;
  const Current<Access>& access_;
  Timers& timers_;
  const Limits& limits_;
  Stream& stream_;
  const TraceId trace_;  // Of what the stream opens.
  Flush flush_;
  std::map<uint32_t, std::unique_ptr<Channel>> channels_;
  std::deque<v1::Command> unexecuted_;  // Of messages that were read.
  std::deque<uint32_t> ready_;          // Channels with something to take, in turn.
  std::deque<v1::Event> waiting_;       // Events that are no entries; they go before entries.
  std::unique_ptr<Timer> flush_timer_;
  std::unique_ptr<Timer> stuck_timer_;
  std::optional<SteadyTime> flush_due_;
  SteadyTime write_began_;
  std::optional<WallTime> oldest_live_;
  bool writing_ = false;
  bool watching_ = false;  // stuck_timer_ is armed.
  bool half_closed_ = false;
  Draining draining_;
  bool finished_ = false;
};

}  // namespace fairlead
