// One session as it must be: a model of it, fed with what is done to it and with its journal, entry by entry. Complains
// of the first entry that the promises do not allow.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "session/session.h"
#include "simulation/line.h"
#include "simulation/scene.h"
#include "simulation/twins.h"

namespace fairlead::simulation {

// What an owner asked for, and what became of it.
struct Command {
  enum class What { kSend, kPing, kReconnect };
  What what = What::kSend;
  uint64_t number = 0;
  bool has_id = true;
  uint64_t owner = 0;  // Which.
  SendCommand send = {};
  size_t bytes_before = 0;  // Waiting or bound, of the session, when it came.
  size_t all_before = 0;    // Of all sessions.
  SteadyTime issued = {};
  uint64_t binds_to = 0;  // A generation; zero: it waits.
  Line* begun_on = nullptr;
  SteadyTime begun_at = {};
  bool taken = false;
  bool ponged = false;
  bool former = false;  // Another owner has taken over: it no longer changes the setup.
  int arrivals = 0;
  bool beside = false;  // A Reconnect: make before break.
  std::optional<Outcome> outcome = std::nullopt;

  bool changes_setup() const { return !send.setup_key.empty() || !send.forget_setup_keys.empty(); }
  size_t bytes() const { return kOutgoingBytes + send.payload.size(); }
};

// Why another transport takes the place of one that still lives.
bool IsRotation(Reason reason);

class Life {
 public:
  Life(Scene& scene, const std::shared_ptr<Session>& session);

  // ---- What is done to it. ----
  void TakenOver(const SessionOptions& options);  // By an Open that is about to come.
  void TookOver();                                // It has come.
  Command& Issue(Command command);                // About to be.
  void Issued(Command& command);
  void WillClose() { will_close_ = true; }  // By a command, or a drain.
  void MustEnd() { must_end_ = true; }      // What comes next is fatal.
  void DialBegins();
  void DialFails(const Loss& loss) { dial_loss_ = loss; }
  void DialEnded();
  void Dialled(Line& line);
  uint64_t transports() const { return lines_.size(); }
  void NameTaken() { named_ = false; }

  // ---- From its lines. ----
  Command* CommandOf(const std::string& payload);
  // False: it is a copy, of what changed the setup on another transport.
  bool Begun(Command& command, Line& line);
  void Arrived(Command& command, Line& line);
  void Answered(const std::string& payload, const Line& line);  // Of a ping or of a heartbeat: with it, all before.
  // A frame: before the session gets it, and after.
  void Comes(Line& line, const std::string& payload, uint64_t item);
  void Came();

  // Checks what the journal has got since.
  void Record();
  // Checks what must hold whenever nothing is under way. `named`: the registry finds it by its name.
  void Observe(bool named);
  // What was due by now has happened.
  void Settled() {
    if (!blind_ && !gone()) FollowAge(scene_.now() + Duration(1));
  }
  // The run is over.
  void Judge();

  std::shared_ptr<Session> session() const { return session_.lock(); }
  bool gone() const { return session_.expired(); }
  // Entries have been evicted before anybody could see them: the model knows no more than what is said in others.
  bool blind() const { return blind_; }
  State state() const { return state_; }
  uint64_t generation() const { return generation_; }
  // Where it is, or where this transport of it is; without `goodbye`, as if none were said.
  Place place(const Line* line = nullptr, bool goodbye = true) const;
  Line* own() const;  // The session's own; null: none lives.
  Line* second() const { return second_; }
  Line* retiring() const { return retiring_; }
  bool may_lag() const { return may_lag_; }
  bool dials_second() const { return dialling_second_; }
  bool saying_goodbye() const;
  Kind kind() const;
  const SessionOptions& options() const { return options_; }
  const std::string& epoch() const { return epoch_; }
  uint64_t head() const { return fingerprints_.size(); }
  // Of an entry, recorded; zero: nobody can have seen it.
  uint64_t fingerprint(uint64_t sequence) const { return fingerprints_[sequence - 1]; }
  static uint64_t Fingerprint(const Entry& entry);
  const std::optional<Failure>& end() const { return end_; }
  bool closing() const { return was_closing_; }
  size_t waiting_bytes() const;

 private:
  void Check(const Entry& entry);
  void Check(const FrameEntry& frame, uint64_t generation);
  void Check(const StateChange& change);
  void Check(const CommandResult& result, uint64_t generation);
  void CheckChange(State before, const StateChange& change);
  void CheckOpening(const StateChange& change);
  void CheckLost(const StateChange& change);
  void CheckCause(Reason reason, const Line& line);
  // Of transports beside its own: life_legs.cc.
  void Check(const LegChange& change, uint64_t generation);
  void CheckLegGone(const LegChange& change, uint64_t generation);
  void CheckWhyGone(const Line& line, const Failure& cause, uint16_t close_code);
  void CheckReplaced(uint64_t old_generation, const StateChange& change);
  void CheckRotationDue(const Line& old, const Line& next, const Failure& cause);
  void BeginSetup(Line& line);
  void OpenWaiting();
  void Rotates(Reason reason, SteadyTime now);
  bool MayRotate() const { return options_.reconnect.make_before_break || options_.legs == 2; }
  bool WantsSecond() const;
  bool HaveMet() const;
  void FollowAge(SteadyTime before);
  void SettleFrame();
  void Owe(const Command& command);
  void ObserveLegs(const Session& session);
  void CheckDetached() const;
  void CheckGoodbye(const Line& line, const Failure& cause);
  void CheckRefusal(const Command& command, const Failure& failure);
  void Remember(const Command& command);
  void ObserveJournal(const Session& session);
  void ObserveCommands(const Session& session);
  void ObserveLiveness(const Line& line);
  void ObserveEnd(const Session& session, bool named);

  Scene& scene_;
  std::weak_ptr<Session> session_;
  std::shared_ptr<Session> kept_;  // Until its end has been seen.
  SessionOptions options_;
  const std::string epoch_;
  std::vector<uint64_t> fingerprints_;
  bool blind_ = false;

  State state_ = State::kConnecting;
  bool begun_ = false;
  uint64_t generation_ = 0;
  std::vector<Line*> lines_;  // One a generation.
  std::vector<SetupStep> memory_;
  std::map<uint64_t, Command> commands_;
  std::set<uint64_t> unresolved_;  // Those with an id.
  std::set<uint64_t> unanswered_;  // Pings.
  std::set<uint64_t> waiting_;     // For a transport, or refused, or expired since.

  uint32_t failed_ = 0;
  Duration cap_;
  SteadyTime outage_began_;
  SteadyTime opened_at_;
  std::optional<WallTime> last_heard_;
  std::optional<SteadyTime> retry_due_;
  bool retry_forced_ = false;
  bool must_end_ = false;
  std::optional<Loss> dial_loss_;

  Line* second_ = nullptr;    // Told of by LegChanged: beside its own, or to take its place.
  Line* retiring_ = nullptr;  // Whose place was taken.
  bool lost_stable_ = false;
  Line* lost_ = nullptr;  // Whose place was taken because it was lost: what LegChanged says of it comes next.
  bool dialling_ = false;
  bool dialling_second_ = false;
  bool adopts_ = false;  // The second is its own from the next CONNECTING on.
  std::optional<SteadyTime> second_due_;
  Duration second_cap_;
  bool second_cap_unsure_ = false;  // A lag may have begun the rotation before it was known of.
  std::optional<Reason> rotation_;  // Why another is to take the place.
  SteadyTime rotates_since_;
  std::optional<SteadyTime> switch_due_;
  std::optional<SteadyTime> retire_due_;
  std::set<Line*> alive_;
  Twins twins_;
  struct Arriving {
    Line* line = nullptr;
    std::string payload = {};
    uint64_t item = 0;
    Twins::Verdict verdict = Twins::Verdict::kFirst;
    bool shutdown = false;
    bool both_open = false;  // When it came, and a rotation had begun.
    bool settled = false;
    bool journaled = false;
  };
  std::optional<Arriving> arriving_;
  bool may_lag_ = false;         // One of two legs may have been found to lag.
  bool lag_may_rotate_ = false;  // The session's own, and another is to take its place.
  bool repeats_ = false;         // Payloads have returned: two that are equal need not be copies.

 public:
  void Repeats() { repeats_ = true; }

 private:
  bool will_close_ = false;
  bool was_closing_ = false;
  bool named_ = true;
  bool taking_over_ = false;
  bool retention_is_new_ = false;
  std::optional<SteadyTime> alone_until_;  // No subscriber, and it lingers.
  std::optional<SteadyTime> kept_until_;   // CLOSED, and readable.
  std::optional<Failure> end_;
};

}  // namespace fairlead::simulation
