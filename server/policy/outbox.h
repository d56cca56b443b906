// What a session is about to write: the sends that wait for an OPEN transport, and what is bound to the transport that
// is there. What is bound to one transport is never written to the next.
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
  enum class What { kSend, kPing, kHeartbeat, kSetup };
  What what = What::kSend;
  bool ping_frame = false;  // Else a message of this kind.
  FrameKind kind = FrameKind::kText;
  std::string payload;
  uint64_t id = 0;             // Of the command; zero: nobody wants the result.
  std::string setup_key = {};  // kSend: to store as; kSetup: the step.
  std::vector<std::string> forget_setup_keys = {};
  bool reserves_setup = false;  // Counts against the limits of the setup while it waits to be stored.
};

class Outbox {
 public:
  // What an item counts beyond its payload.
  static constexpr size_t kItemBytes = 64;

  // Waits for BindWaiting until the deadline.
  void Wait(Outgoing item, SteadyTime deadline);
  // Goes out on the transport that is there, after what is bound already.
  void Bind(Outgoing item);
  // A transport is OPEN: what waited is bound to it, in order.
  void BindWaiting();

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

  // Waiting items whose deadline has come.
  std::vector<Outgoing> Expired(SteadyTime now);
  // All waiting items: the session ends.
  std::vector<Outgoing> Abandon();
  // What the owner wanted and no write has begun for, in order: another takes its place.
  std::vector<Outgoing> Withdraw();
  std::optional<SteadyTime> NextDeadline() const;

  size_t bytes() const { return bytes_; }
  bool in_flight() const { return in_flight_.has_value(); }

 private:
  struct Waiting {
    SteadyTime deadline;
    Outgoing item;
  };
  static size_t Cost(const Outgoing& item) { return kItemBytes + item.payload.size(); }

  std::deque<Waiting> waiting_;
  std::deque<Outgoing> bound_;
  std::optional<Outgoing> in_flight_;
  size_t bytes_ = 0;
};

}  // namespace fairlead
