#include "session/subscription.h"

#include <algorithm>
#include <utility>

#include "session/session.h"

namespace fairlead {

Subscription::Subscription(std::shared_ptr<Session> session, Listener& listener, bool owner, const Start& start,
                           Overflow overflow, FormerJournals former)
    : session_(std::move(session)),
      listener_(listener),
      owner_(owner),
      overflow_(overflow),
      former_(std::move(former)) {
  const Journal& journal = session_->journal();
  spared_ = journal.oldest();
  live_from_ = journal.head() + 1;
  switch (start.from) {
    case Start::From::kHead:
      next_ = journal.head() + 1;
      start_ = StartOutcome::kLive;
      break;
    case Start::From::kOldest:
      next_ = journal.oldest();
      start_ = StartOutcome::kLive;
      break;
    case Start::From::kAfter:
      if (start.epoch == session_->epoch()) {
        // Beyond the head lies nothing that was ever given; the cursor waits at the head.
        next_ = std::min(start.sequence, journal.head()) + 1;
        start_ = StartOutcome::kResumed;
      } else {
        next_ = journal.oldest();
        start_ = StartOutcome::kEpochChanged;
      }
      break;
  }
  if (reads_former()) start_ = StartOutcome::kResumed;
  if (session_->IsNew() && start_ == StartOutcome::kLive) start_ = StartOutcome::kNew;
  CountResume(start);
  session_->Join(*this);
}

void Subscription::CountResume(const Start& start) const {
  if (start.from != Start::From::kAfter) return;
  SessionMeasures& measures = session_->measures();
  if (start_ == StartOutcome::kEpochChanged) {
    ++measures.resumed_epoch_changed;
  } else if (reads_former() ? former_.front()->next_sequence() < former_.front()->oldest()
                            : next_ < session_->journal().oldest()) {
    ++measures.resumed_with_gap;
  } else {
    ++measures.resumed_continued;
  }
}

Subscription::~Subscription() { session_->Leave(*this); }

uint64_t Subscription::last() const { return std::min(session_->journal().head(), no_further_); }

std::optional<Subscription::Gap> Subscription::TakeGap() {
  const auto gap = NextGap();
  if (gap) ++session_->measures().gaps;
  return gap;
}

std::optional<Subscription::Gap> Subscription::NextGap() {
  if (reads_former()) {
    if (overflowed_ || (held_ && !end_)) return std::nullopt;
    const auto gap = held_ ? former_.front()->GiveUp() : former_.front()->TakeGap();
    return gap ? std::optional(Gap{gap->first, gap->second}) : std::nullopt;
  }
  // A held channel is told of its end all the same: what it has not been given it will never see.
  if (held_ && end_ && !overflowed_ && next_ <= last()) return Gap{std::exchange(next_, last() + 1), last()};
  const uint64_t gone = std::min(session_->journal().oldest() - 1, last());
  if (held_ || overflowed_ || next_ > gone) return std::nullopt;
  return Gap{std::exchange(next_, gone + 1), gone};
}

bool Subscription::TakeSeam() {
  if (!reads_former() || !former_.front()->done() || overflowed_ || (held_ && !end_)) return false;
  former_.erase(former_.begin());
  start_ = StartOutcome::kEpochChanged;
  return true;
}

const Entry* Subscription::Peek() const {
  if (reads_former()) return HasEntries() ? former_.front()->Peek() : nullptr;
  return HasEntries() && next_ >= session_->journal().oldest() ? &session_->journal().at(next_) : nullptr;
}

const Subscription::End* Subscription::ended() const {
  if (!end_) return nullptr;
  const bool all_taken = overflowed_ || (!reads_former() && next_ > last());
  return all_taken ? &*end_ : nullptr;
}

void Subscription::Hold(bool on) {
  held_ = on;
  live_from_ = session_->journal().head() + 1;
  if (on && reads_former()) former_.front()->Rest();
  if (HasEntries()) listener_.Waiting(*this, 1, 0);
}

size_t Subscription::lag_bytes() const { return session_->journal().BytesFrom(next_); }

std::optional<WallTime> Subscription::lagging_since() const {
  const Journal& journal = session_->journal();
  if (next_ > journal.head()) return std::nullopt;
  return journal.at(std::max(next_, journal.oldest())).time;
}

void Subscription::Appended(size_t entries, size_t bytes) {
  if (overflow_ == Overflow::kDetach && !overflowed_ && std::max(next_, spared_) < session_->journal().oldest()) {
    overflowed_ = true;
    ++session_->measures().detached;
    owner_ = false;  // It would never see what became of a command.
    end_.reset();    // Even the session's own: what it did not get lies before that.
    return EndWith(
        {Failure{Reason::kOverflow, Phase::kUnspecified,
                 "the journal no longer holds what comes after sequence " + std::to_string(next_sequence() - 1) +
                     " of epoch " + (reads_former() ? former_.front()->epoch() : session_->epoch()) +
                     ", the last that was delivered; start AFTER it to go on, with a gap"},
         /*session_closed=*/false});
  }
  if (HasEntries()) listener_.Waiting(*this, entries, bytes);
}

void Subscription::Supersede(End end) {
  owner_ = false;
  no_further_ = session_->journal().head();
  overflowed_ = false;  // By the results of its own sends: they are a gap before this end.
  end_.reset();
  EndWith(std::move(end));
}

void Subscription::EndWith(End end) {
  if (end_) return;
  end_ = std::move(end);
  listener_.Waiting(*this, 1, 0);
}

}  // namespace fairlead
