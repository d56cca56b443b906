// A channel's place in a session: a cursor into its journal. What a subscriber is given, what it has missed and when it
// is ended follow from where the cursor is and where the ring's tail is. Who starts behind an entry of an earlier
// journal that is still on disk is given the rest of that first, and of those that followed it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/failure.h"
#include "base/time.h"
#include "policy/journal.h"
#include "session/former_journal.h"

namespace fairlead {

class Session;
struct Question;

// Of fairlead.v1.Overflow and Start.
enum class Overflow { kSkip, kDetach };
struct Start {
  enum class From { kHead, kOldest, kAfter };
  From from = From::kHead;
  std::string epoch = {};  // kAfter.
  uint64_t sequence = 0;   // kAfter.
};
// Values equal those of fairlead.v1.StartOutcome.
enum class StartOutcome : int { kNew = 1, kLive = 2, kResumed = 3, kEpochChanged = 4 };

// Loop thread. Destroying it leaves the session.
class Subscription {
 public:
  class Listener {
   public:
    // Something waits to be taken: so many new entries with so many payload bytes, the past, or the end. Must not call
    // back.
    virtual void Waiting(Subscription& subscription, size_t entries, size_t bytes) = 0;
    // To the owner.
    virtual void Ponged(Subscription& subscription, std::string_view payload, Duration round_trip) = 0;
    // To the owner. Must not call back.
    virtual void Asked(Subscription& subscription, const Question& question) = 0;

   protected:
    ~Listener() = default;
  };
  struct Gap {
    uint64_t from = 0;
    uint64_t to = 0;
  };
  struct End {
    Failure cause;
    bool session_closed = false;
  };

  // The listener outlives it. `former`: Registry::Former of this start.
  Subscription(std::shared_ptr<Session> session, Listener& listener, bool owner, const Start& start, Overflow overflow,
               FormerJournals former = {});
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  // What comes next, in this order: a gap if the tail has passed the cursor, then entries, then, behind a former
  // journal, a seam and the same of the next journal, then the end. Nothing but the end while held.
  std::optional<Gap> TakeGap();
  // Whether the next entry came while it was there and not held; else it is of the past.
  bool IsLive() const { return !reads_former() && next_ >= live_from_; }
  const Entry* Peek() const;  // Valid until the loop's next event.
  uint64_t next_sequence() const { return reads_former() ? former_.front()->next_sequence() : next_; }
  void Advance() { reads_former() ? former_.front()->Advance() : void(++next_); }
  // True: what comes now is of another journal than what came before.
  bool TakeSeam();
  bool HasMore() const { return Peek() != nullptr || ended() != nullptr || (reads_former() && HasEntries()); }
  // The journal that it reads if that is not yet the session's own; else null.
  const FormerJournal* former() const { return reads_former() ? former_.front().get() : nullptr; }
  // The end, once everything before it is taken.
  const End* ended() const;

  void Hold(bool on);
  bool held() const { return held_; }
  bool owner() const { return owner_; }
  StartOutcome start() const { return start_; }
  const std::shared_ptr<Session>& session() const { return session_; }
  // Of the session's own journal: the sequence that it is to be given next, entries and their bytes from there on.
  uint64_t next_own_sequence() const { return next_; }
  uint64_t lag() const { return last() + 1 - next_; }
  size_t lag_bytes() const;
  // When the next that it is to be given was made; absent: it has everything.
  std::optional<WallTime> lagging_since() const;

  // For the session. An overflowed subscription has left it.
  bool overflowed() const { return overflowed_; }
  void Appended(size_t entries, size_t bytes);
  void EndWith(End end);
  // Another owner has taken its place: it is given what there is now, and no more, and may no longer command. It has
  // left the session.
  void Supersede(End end);
  void Ponged(std::string_view payload, Duration round_trip) { listener_.Ponged(*this, payload, round_trip); }
  void Asked(const Question& question) { listener_.Asked(*this, question); }

 private:
  std::optional<Gap> NextGap();
  void CountResume(const Start& start) const;
  bool reads_former() const { return !former_.empty(); }
  bool HasEntries() const { return !held_ && !overflowed_ && (reads_former() || next_ <= last()); }
  // The last sequence that there is for it.
  uint64_t last() const;

  std::shared_ptr<Session> session_;
  Listener& listener_;
  bool owner_;
  Overflow overflow_;
  bool held_ = false;
  FormerJournals former_;  // That are to be read before the session's own, which waits at next_.
  uint64_t next_ = 1;      // The sequence to be given next.
  uint64_t live_from_ = 1;
  uint64_t spared_ = 1;  // The journal's oldest at the start: a past that is gone already is a gap and no overflow.
  StartOutcome start_ = StartOutcome::kLive;
  uint64_t no_further_ = UINT64_MAX;  // Superseded: the last sequence that it is given.
  std::optional<End> end_;
  bool overflowed_ = false;
};

}  // namespace fairlead
