// All live sessions, and those that ended by themselves not long ago, by identity and name.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/current.h"
#include "policy/access.h"
#include "policy/draining.h"
#include "session/session.h"

namespace fairlead {

// Loop thread.
class Registry {
 public:
  // Name and epoch of a session come from `unique`, which never returns the same twice.
  // The directory, which may be null, and the access outlive every session.
  Registry(Dialler& dialler, Timers& timers, Random random, const Limits& limits, std::function<std::string()> unique,
           const Current<Access>& access, JournalDirectory* directory = nullptr);

  // Creates a session, which does not dial until Begin, or takes the live one of this name over; an empty name makes
  // an anonymous one. Refused: a live one that does not agree, too many sessions.
  Result<std::shared_ptr<Session>> Open(const std::string& identity, const std::string& name, SessionOptions options);
  // Null: no such session of this identity.
  std::shared_ptr<Session> Find(const std::string& identity, const std::string& name) const;
  // The same, for a reader of any identity; also null: it is not granted.
  std::shared_ptr<Session> FindToRead(const std::string& reader, const std::string& identity,
                                      const std::string& name) const;
  // What the session's earlier journals still hold behind such a start.
  FormerJournals Former(const Session& session, const Start& start) const;
  // Up to `count` of the identity's sessions whose names follow `after`, by name.
  std::vector<std::shared_ptr<Session>> List(const std::string& identity, const std::string& after, size_t count) const;
  SessionMeasures& measures() { return surroundings_.measures; }
  size_t journal_bytes() const { return surroundings_.journal_bytes; }
  size_t send_queue_bytes() const { return surroundings_.send_queue_bytes; }
  // All that could be found.
  const std::map<std::pair<std::string, std::string>, std::shared_ptr<Session>>& sessions() const { return sessions_; }
  size_t size() const { return sessions_.size() + leaving_.size(); }

  // The access has changed: closes those that it does not allow, and tells how many.
  size_t Recheck();
  // Refuses new sessions, closes all, and runs the callback when they are CLOSED.
  void Drain(SteadyTime gone_by, std::function<void()> done);

 private:
  using Key = std::pair<std::string, std::string>;
  void Gone(Session& session);
  void TellIfDrained();
  Result<void> CheckRoom(const std::string& identity) const;
  // The largest journal gives up an eighth, again and again, until the total is within its limit.
  void ReclaimJournals();

  Surroundings surroundings_;
  std::function<std::string()> unique_;
  std::map<Key, std::shared_ptr<Session>> sessions_;
  std::vector<std::shared_ptr<Session>> leaving_;  // Closing, and a newer one has the name.
  std::function<void()> drained_;
  Draining draining_;
};

}  // namespace fairlead
