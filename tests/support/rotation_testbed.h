// Sessions whose transports change, and numbered frames that tell copies.
#pragma once

#include <string>

#include "support/testbed.h"

namespace fairlead {

inline SessionOptions Rotating(bool dedupe = true) {
  SessionOptions options = PlainOptions();
  options.reconnect.make_before_break = true;
  options.reconnect.overlap = std::chrono::seconds(1);
  if (dedupe) options.dedupe = Dedupe{.json_pointer = "/n"};
  return options;
}

inline std::string Numbered(int number) { return "{\"n\":" + std::to_string(number) + "}"; }
inline std::string NumberedEntry(int number) { return "text " + Numbered(number); }

// Two peers at most live: the old one and the new one.
struct Rotation : Conversation {
  explicit Rotation(SessionOptions options = Rotating(), const Limits& bounds = {})
      : Conversation(std::move(options), bounds) {
    Connect();
  }
  Peer& first() { return *dialler.peers.front(); }
  // The owner wants another transport, and it is there.
  void Rotate() {
    session().Reconnect(/*id=*/0, /*make_before_break=*/true);
    ASSERT_EQ(dialler.under_way(), 1u);
    dialler.Accept();
  }
};

}  // namespace fairlead
