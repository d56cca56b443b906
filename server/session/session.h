// A supervised socket: drives policy/lifecycle over transports and fills a journal.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/current.h"
#include "base/limits.h"
#include "base/measures.h"
#include "policy/access.h"
#include "policy/copies.h"
#include "policy/journal.h"
#include "policy/lifecycle.h"
#include "policy/outbox.h"
#include "policy/setup.h"
#include "session/leg.h"
#include "session/options.h"
#include "session/subscription.h"

namespace fairlead {

class JournalDirectory;
class JournalWriter;

// What sessions use of the world, and what they use up together. Outlives them.
struct Surroundings {
  Dialler& dialler;
  Timers& timers;
  Random random;
  const Limits& limits;
  const Current<Access>& access;
  size_t journal_bytes = 0;                                // Of all journals.
  size_t send_queue_bytes = 0;                             // Of all outboxes.
  std::map<std::string, size_t> send_queue_bytes_of = {};  // And by identity.
  std::function<void()> reclaim_journals = {};             // Called when journal_bytes exceeds its limit.
  JournalDirectory* directory = nullptr;                   // Null: journals are in memory alone.
  SessionMeasures measures = {};
};

// Loop thread. Owned by the registry while it lives, and by its subscriptions until they have read its end.
class Session final : public std::enable_shared_from_this<Session>, private Leg::Listener {
 public:
  // on_gone: it is CLOSED, and nobody is to find it any more.
  Session(std::string identity, std::string name, std::string epoch, SessionOptions options, Surroundings& surroundings,
          std::function<void(Session&)> on_gone);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The first dial.
  void Begin();
  // For another owner, who joins next: what the former one still wanted written is withdrawn, its subscription ends,
  // and these options hold from now on. They agree. Nothing is written.
  void TakeOver(SessionOptions options);
  // That owner has joined: it is asked what is open, and a session that waited for an owner goes on.
  void Resume();

  // The owner's commands. What becomes of one with an id is an entry of the journal.
  void Send(SendCommand command);
  void Ping(uint64_t id, std::string payload);
  void Reconnect(uint64_t id, bool make_before_break = false);
  // From the next dial on. Its scheme is the session's.
  void SetTarget(Target target);
  // The question before a dial is answered: dial, there or where it was. Fails if no such question is open.
  Result<void> Answer(uint64_t number, std::optional<Target> target);
  // Ends the session, with a close frame to the exchange if there is a transport. One that has ended by itself stays
  // readable no longer.
  void Close(Failure cause, const CloseCommand& close = {});
  // Runs the callback once the session is CLOSED; soon, if it is.
  void WhenClosed(std::function<void()> callback);

  // For subscriptions. When the last one has left, the session closes, at once or after its linger.
  void Join(Subscription& subscription);
  void Leave(Subscription& subscription);
  SessionMeasures& measures() const { return around_.measures; }

  // For the registry: the journal gives up old entries.
  void ShrinkJournal(size_t bytes);

  struct Counts {
    uint64_t received_frames = 0;
    uint64_t received_bytes = 0;
    uint64_t sent_frames = 0;
    uint64_t sent_bytes = 0;
  };
  const std::string& identity() const { return identity_; }
  const std::string& name() const { return name_; }
  const std::string& epoch() const { return epoch_; }
  const SessionOptions& options() const { return options_; }
  const Journal& journal() const { return journal_; }
  State state() const { return lifecycle_.state(); }
  uint64_t generation() const { return lifecycle_.generation(); }
  bool closed() const { return lifecycle_.state() == State::kClosed; }
  bool closing() const { return closing_ || closed(); }
  // No subscriber has joined yet.
  bool IsNew() const { return is_new_; }
  const Counts& counts() const { return counts_; }
  WallTime created_at() const { return created_at_; }
  std::vector<std::string> SetupKeys() const { return setup_.Keys(); }
  const Topics& topics() const { return topics_; }
  const std::vector<Subscription*>& subscriptions() const { return subscriptions_; }
  const std::optional<Failure>& last_failure() const { return last_failure_; }
  std::optional<Duration> heartbeat_round_trip() const;

  // A transport as others see it: fairlead.v1.LegState documents each field.
  struct LegView {
    uint64_t generation = 0;
    State state = State::kOpening;
    uint64_t received_frames = 0;
    Copies::Tally tally = {};
    std::optional<IpAddress> address = std::nullopt;
  };
  // Those that are there, its own first.
  std::vector<LegView> Legs() const;
  // Whether it may connect where it does, and where it would next. kRevoked.
  Result<void> CheckAccess(const Access& access) const;

 private:
  // From its legs.
  void Connected(Leg& leg) override;
  void Ready(Leg& leg) override;
  void Asks(Question& question) override;
  bool HasOwner() const override { return Owner() != nullptr; }
  void Aged(Leg& leg) override;
  void ReadBegins() override;
  void ReadEnds() override;
  void Received(Leg& leg, FrameKind kind, std::string_view payload, WallTime heard) override;
  void HeartbeatAnswered(Duration round_trip) override { around_.measures.heartbeat_round_trip.Observe(round_trip); }
  void Ponged(std::string_view payload, Duration round_trip) override;
  void Written(Leg& leg, const Outgoing& item) override;
  void OutboxChanged() override;
  void Over(Leg& leg, const Loss& loss, const Outbox::Left& left) override;

  void Enter(StateChange change);
  void Announce(const StateChange& change);
  void Count(const StateChange& change);
  void CountReconnect(uint64_t generation, Reason reason);
  void RetryDue();
  void Connect();
  void End(const Failure& cause);
  Subscription* Owner() const;
  void AskOwner(const Question& question) const;
  bool leaving() const { return leg_ && leg_->leaving(); }

  // What concerns more than one leg: session_legs.cc.
  std::unique_ptr<Leg> MakeLeg(size_t lane);
  bool Rotates() const { return options_.reconnect.make_before_break || options_.legs == 2; }
  bool WantsSecond() const;
  void DialSecond();
  void RedialSecond(Duration pause);
  void StopSecond();
  void SecondReady();
  void SecondOver(const Leg& gone, const Loss& loss);
  void LoseLeg(const Leg& gone, const Loss& loss, bool stable);
  void Rotate(const Failure& cause);
  void CheckRotation(bool overdue);
  void TakePlace(const Loss& old);
  void RetiredOver();
  void OwnOver(const Leg& gone, const Loss& loss);
  void AdoptSecond();
  void AgreeOnLegs();
  void FollowFrame(Leg& leg, bool announced);
  void Resolve(const Leg& leg, const Failure& cause, const Outbox::Left& left);
  void TellLeg(uint64_t generation, const LegChange& change);
  LegChange Farewell(const Leg& gone, State state, const Loss& loss);
  std::array<Leg*, 3> AllLegs() const { return {leg_.get(), second_.get(), retiring_.get()}; }

  void Accept(Outgoing item, uint64_t generation, Duration max_wait);
  Result<void> CheckRoom(const Outgoing& item) const;
  void AnswerStep(SendCommand command);
  void ReleaseWaiting();
  void ArmExpiry();
  void CheckTopics();
  void ArmTopics();
  void TellTopic(size_t index);
  void Tell(const Outgoing& item, uint64_t generation, Outcome outcome, std::optional<Failure> failure = std::nullopt);
  void Tell(uint64_t id, uint64_t generation, Outcome outcome, std::optional<Failure> failure = std::nullopt);
  void Remember(const Leg& leg, const Outgoing& item);
  uint64_t Append(Entry entry, size_t bytes);
  void WakeSubscriptions(size_t entries, size_t bytes);
  void CountJournal();

  const std::string identity_;
  const std::string name_;
  const std::string epoch_;
  SessionOptions options_;
  Target target_;  // Of the next dial: that of the options until the owner gives another.
  Surroundings& around_;
  std::function<void(Session&)> on_gone_;
  std::vector<std::function<void()>> when_closed_;
  const WallTime created_at_;

  Lifecycle lifecycle_;
  Journal journal_;
  std::unique_ptr<JournalWriter> writer_;  // Null: the journal is in memory alone.
  Setup setup_;
  Topics topics_;
  SendQueue waiting_;
  std::unique_ptr<Leg> leg_;  // While there is a transport, or one is being made.
  // Beside it while it is OPEN: the other of two, or the one that is to take its place.
  std::unique_ptr<Leg> second_;
  // The one whose place another has taken, until the overlap is over.
  std::unique_ptr<Leg> retiring_;
  std::optional<Failure> rotation_;  // Another is to take the place of leg_, and this is why.
  mutable std::optional<Copies> copies_;
  Backoff second_backoff_;
  SteadyTime second_opened_at_;
  bool second_is_due_ = false;  // Its timer runs.
  bool closing_ = false;
  Loss end_;  // While it is closing: what CLOSED says.
  uint64_t questions_ = 0;

  std::unique_ptr<Timer> retry_timer_;
  std::unique_ptr<Timer> expiry_timer_;
  std::unique_ptr<Timer> linger_timer_;
  std::unique_ptr<Timer> topic_timer_;
  std::unique_ptr<Timer> second_timer_;   // Of the second's next dial.
  std::unique_ptr<Timer> overlap_timer_;  // Of a rotation, and of the one retiring.

  // Of sends that are to be stored as setup steps and have no outcome yet.
  size_t reserved_setup_steps_ = 0;
  size_t reserved_setup_bytes_ = 0;

  // While the frames of one read come subscribers are woken once.
  struct ReadUnderWay {
    size_t entries = 0;
    size_t bytes = 0;
  };
  std::optional<ReadUnderWay> read_;

  std::vector<Subscription*> subscriptions_;
  bool is_new_ = true;
  Counts counts_;
  State counted_state_ = State::kConnecting;
  std::optional<SteadyTime> lost_at_;  // Since when it has not been OPEN again.
  std::optional<Failure> last_failure_;
  std::optional<Duration> heartbeat_round_trip_;  // Of transports that have ended.
  size_t counted_journal_bytes_ = 0;              // What the surroundings have counted of this session.
  size_t counted_send_bytes_ = 0;
};

}  // namespace fairlead
