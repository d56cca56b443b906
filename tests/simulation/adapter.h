// A channel's reader: may be slow, held, superseded, and leave. Complains of what it is given.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "session/session.h"
#include "simulation/life.h"
#include "simulation/scene.h"

namespace fairlead::simulation {

class Adapter final : private Subscription::Listener {
 public:
  Adapter(Scene& scene, Life& life, std::shared_ptr<Session> session, uint64_t number, bool owner, const Start& start,
          Overflow overflow);

  // Takes so many entries and gaps, and the end if it has come.
  void Read(size_t most);
  void Hold(bool on);
  // Another Open has taken its place, now.
  void Superseded() { superseded_at_ = life_.head(); }

  bool owner() const { return subscription_.owner(); }
  bool ended() const { return ended_; }
  // It counts as one of its session's subscribers.
  bool attached() const;
  bool held() const { return subscription_.held(); }
  uint64_t number() const { return number_; }
  uint64_t position() const { return next_ - 1; }
  Life& life() { return life_; }
  const std::shared_ptr<Session>& session() const { return subscription_.session(); }

 private:
  void Waiting(Subscription& subscription, size_t entries, size_t bytes) override;
  void Asked(Subscription& subscription, const Question& question) override;
  void Ponged(Subscription& subscription, std::string_view payload, Duration round_trip) override;
  void CheckStart(const Start& start);
  void CheckGap(const Subscription::Gap& gap);
  void CheckEntry(const Entry& entry);
  void CheckEnd(const Subscription::End& end);

  Scene& scene_;
  Life& life_;
  const uint64_t number_;
  const Overflow overflow_;
  const bool first_;       // Of its session.
  const uint64_t oldest_;  // When it came.
  uint64_t next_ = 1;
  bool woken_ = true;  // The past does not wake.
  bool ended_ = false;
  std::map<uint64_t, uint64_t> last_ping_;  // That was answered, by generation.
  std::optional<uint64_t> superseded_at_;
  Subscription subscription_;
};

}  // namespace fairlead::simulation
