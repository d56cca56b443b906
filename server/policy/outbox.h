// What a session is about to write: the sends that wait for an OPEN transport, and what is bound to a transport. What
// is bound to one is never written to another.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/frame.h"
#include "base/time.h"

namespace fairlead {

struct Outgoing {
  enum class What { kSend, kPing, kHeartbeat, kSetup, kCopy };  // kCopy: of a send that changed the setup elsewhere.
  What what = What::kSend;
  bool ping_frame = false;  // Else a message of this kind.
  FrameKind kind = FrameKind::kText;
  std::string payload;
  uint64_t id = 0;             // Of the command; zero: nobody wants the result.
  std::string setup_key = {};  // kSend: to store as; kSetup: the step.
  std::vector<std::string> forget_setup_keys = {};
  bool reserves_setup = false;  // Counts against the limits of the setup while it waits to be stored.
};

// What an item counts beyond its payload.
inline constexpr size_t kOutgoingBytes = 64;

// Of a session: sends that wait for an OPEN transport.
class SendQueue {
 public:
  // Waits for Release until the deadline.
  void Wait(Outgoing item, SteadyTime deadline);
  // A transport is OPEN: what waited is to be bound to it, in order.
  std::vector<Outgoing> Release() { return Expired(SteadyTime::max()); }
  // What the deadline has come for.
  std::vector<Outgoing> Expired(SteadyTime now);
  std::optional<SteadyTime> NextDeadline() const;

  size_t bytes() const { return bytes_; }

 private:
  struct Waiting {
    SteadyTime deadline;
    Outgoing item;
  };
  std::deque<Waiting> waiting_;
  size_t bytes_ = 0;
};

// Of a transport.
class Outbox {
 public:
  // Goes out after what is bound already.
  void Bind(Outgoing item);

  // The next to write, which is then in flight; absent when one is in flight or nothing is bound. Valid until the next
  // call.
  const Outgoing* Next();
  // The one in flight is written.
  Outgoing Written();

  // The transport is gone: what was in flight, and what was bound but not begun.
  struct Left {
    std::optional<Outgoing> in_flight;
    std::vector<Outgoing> not_begun;
  };
  Left TransportEnded();

  // What the owner wanted and no write has begun for, in order: another takes its place, whose setup what is in flight
  // no longer changes.
  std::vector<Outgoing> Withdraw();

  size_t bytes() const { return bytes_; }
  bool in_flight() const { return in_flight_.has_value(); }

 private:
  std::deque<Outgoing> bound_;
  std::optional<Outgoing> in_flight_;
  size_t bytes_ = 0;
};

}  // namespace fairlead
