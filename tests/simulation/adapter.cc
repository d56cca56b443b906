#include "simulation/adapter.h"

#include <algorithm>

namespace fairlead::simulation {

Adapter::Adapter(Scene& scene, Life& life, std::shared_ptr<Session> session, uint64_t number, bool owner,
                 const Start& start, Overflow overflow)
    : scene_(scene),
      life_(life),
      number_(number),
      overflow_(overflow),
      first_(session->IsNew()),
      oldest_(session->journal().oldest()),
      subscription_(std::move(session), static_cast<Subscription::Listener&>(*this), owner, start, overflow) {
  CheckStart(start);
  next_ = subscription_.next_sequence();
}

void Adapter::CheckStart(const Start& start) {
  const uint64_t head = session()->journal().head();
  uint64_t next = start.from == Start::From::kHead ? head + 1 : oldest_;
  StartOutcome outcome = first_ ? StartOutcome::kNew : StartOutcome::kLive;
  if (start.from == Start::From::kAfter && start.epoch == life_.epoch()) {
    next = std::min(start.sequence, head) + 1;
    outcome = StartOutcome::kResumed;
  } else if (start.from == Start::From::kAfter) {
    outcome = StartOutcome::kEpochChanged;
  }
  scene_.Unless(subscription_.next_sequence() == next, "adapter ", number_, " starts at ",
                subscription_.next_sequence(), " and not at ", next);
  scene_.Unless(subscription_.start() == outcome, "adapter ", number_, " is told another start");
}

void Adapter::Read(size_t most) {
  life_.Record();
  const bool woken = std::exchange(woken_, false);
  bool gap_before = false;
  const auto taken = [&](const char* what) {
    scene_.Unless(!ended_, "adapter ", number_, " is given ", what, " after its end");
    scene_.Unless(woken, "adapter ", number_, " was not woken for ", what, " at ", next_);
  };
  for (; most > 0; --most) {
    if (const auto gap = subscription_.TakeGap()) {
      taken("a gap");
      scene_.Unless(!std::exchange(gap_before, true), "adapter ", number_, " is given two gaps for one");
      CheckGap(*gap);
      continue;
    }
    const Entry* entry = subscription_.Peek();
    if (entry == nullptr) break;
    taken("an entry");
    gap_before = false;
    CheckEntry(*entry);
    subscription_.Advance();
    ++next_;
  }
  if (most == 0) woken_ = true;  // It knows that there is more.
  if (const auto* end = subscription_.ended(); end != nullptr && !ended_) {
    scene_.Unless(woken, "adapter ", number_, " was not woken for its end");
    CheckEnd(*end);
    ended_ = true;
  }
}

bool Adapter::attached() const { return std::ranges::count(session()->subscriptions(), &subscription_) == 1; }

void Adapter::Hold(bool on) { subscription_.Hold(on); }

// Entries that it will never see, and nothing else.
void Adapter::CheckGap(const Subscription::Gap& gap) {
  scene_.Trace("adapter ", number_, " misses ", gap.from, "..", gap.to);
  scene_.Unless(gap.from == next_ && gap.to >= gap.from, "adapter ", number_, ": a gap of ", gap.from, "..", gap.to,
                " at ", next_);
  const uint64_t last = std::min(life_.head(), superseded_at_.value_or(UINT64_MAX));
  const uint64_t oldest = session()->journal().oldest();
  if (held()) {
    scene_.Unless(gap.to == last, "adapter ", number_, ": held, ended, and told of a gap to ", gap.to, " of ", last);
  } else {
    scene_.Unless(gap.to == std::min(oldest - 1, last), "adapter ", number_, ": a gap to ", gap.to,
                  ", and the ring begins at ", oldest);
    if (overflow_ == Overflow::kDetach)
      scene_.Unless(gap.to < oldest_ || superseded_at_, "adapter ", number_, " is to be detached, and told of a gap");
    if (attached()) scene_.table.Reached(life_.place(), Fault::kOvertaken);
  }
  next_ = gap.to + 1;
}

void Adapter::CheckEntry(const Entry& entry) {
  scene_.Unless(subscription_.next_sequence() == next_, "adapter ", number_, ": a hole before ",
                subscription_.next_sequence(), ", at ", next_);
  scene_.Unless(next_ <= life_.head() && Life::Fingerprint(entry) == life_.fingerprint(next_), "adapter ", number_,
                ": entry ", next_, " is not what others have seen");
  if (superseded_at_)
    scene_.Unless(next_ <= *superseded_at_, "adapter ", number_, " is superseded, and given entry ", next_);
}

void Adapter::CheckEnd(const Subscription::End& end) {
  const Reason reason = end.cause.reason;
  scene_.Trace("adapter ", number_, " ended: ", Name(reason));
  if (superseded_at_) {
    scene_.Unless(reason == Reason::kSuperseded && !end.session_closed, "a former owner is told ", Name(reason));
    scene_.Unless(!owner(), "a former owner may still command");
    scene_.Unless(next_ > *superseded_at_, "a former owner is told its end at ", next_);
  } else if (reason == Reason::kOverflow) {
    scene_.Unless(overflow_ == Overflow::kDetach && !end.session_closed, "an overflow of who skips");
    scene_.Unless(next_ < session()->journal().oldest(), "an overflow, and the ring holds what comes next");
  } else {
    scene_.Unless(end.session_closed && life_.end() && life_.end()->reason == reason,
                  "an end that nobody made: ", Name(reason));
    scene_.Unless(next_ > life_.head(), "adapter ", number_, " is told its end before the last entry");
  }
}

void Adapter::Waiting(Subscription& /*subscription*/, size_t /*entries*/, size_t /*bytes*/) {
  scene_.Unless(!ended_, "adapter ", number_, " is woken after its end");
  woken_ = true;
}

void Adapter::Asked(Subscription& /*subscription*/, const Question& question) {
  scene_.Unless(false, "asked for ", question.key, ", and no session here asks");
}

void Adapter::Ponged(Subscription& /*subscription*/, std::string_view payload, Duration round_trip) {
  scene_.Unless(owner() && !ended_, "a pong to who commands nothing");
  if (payload.starts_with("beat")) return scene_.Unless(false, "a heartbeat's pong is told");
  Command* ping = life_.CommandOf(std::string(payload));
  scene_.Unless(ping != nullptr && ping->owner == number_, "adapter ", number_, " is told another's pong");
  if (ping == nullptr || ping->begun_on == nullptr) return scene_.Unless(false, "a pong of what was never written");
  scene_.Unless(!std::exchange(ping->ponged, true), "two pongs for ", ping->number);
  uint64_t& last_ping = last_ping_[ping->begun_on->generation()];
  scene_.Unless(ping->number > last_ping, "a pong of what an earlier one answered");
  scene_.Unless(round_trip == scene_.now() - ping->begun_at, "a round trip of ", round_trip.count(), " ns");
  last_ping = ping->number;
}

}  // namespace fairlead::simulation
