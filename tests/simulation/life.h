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
  std::optional<Outcome> outcome = std::nullopt;

  size_t bytes() const { return kOutgoingBytes + send.payload.size(); }
};

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
  void WillEnd(const Loss& loss) { loss_ = loss; }
  void Dialled(Line& line) { lines_.push_back(&line); }
  void NameTaken() { named_ = false; }

  // ---- From its lines. ----
  Command* CommandOf(const std::string& payload);
  void Begun(Command& command, Line& line);
  void Arrived(Command& command, Line& line);
  void Answered(const std::string& payload);  // Of a ping or of a heartbeat: with it, all before.
  bool heartbeat_is_answerable() const {
    return options_.heartbeat.what == HeartbeatPolicy::What::kPing || !options_.heartbeat.keepalive.empty();
  }

  // Checks what the journal has got since.
  void Record();
  // Checks what must hold whenever nothing is under way. `named`: the registry finds it by its name.
  void Observe(bool named);
  // The run is over.
  void Judge();

  std::shared_ptr<Session> session() const { return session_.lock(); }
  bool gone() const { return session_.expired(); }
  // Entries have been evicted before anybody could see them: the model knows no more than what is said in others.
  bool blind() const { return blind_; }
  State state() const { return state_; }
  uint64_t generation() const { return generation_; }
  // Where it is; without `goodbye`, as if none were said.
  Place place(bool goodbye = true) const;
  Line* line() const;  // That lives; null: none does.
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
  void Check(const FrameEntry& frame);
  void Check(const StateChange& change);
  void Check(const CommandResult& result, uint64_t generation);
  void CheckChange(State before, const StateChange& change);
  void CheckOpening(const StateChange& change);
  void CheckLost(const StateChange& change);
  void CheckCause(Reason reason);
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
  std::optional<Loss> loss_;

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
