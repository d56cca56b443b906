// Which parts of a session's stream have fallen silent: a session may be alive while one of its topics is dead.
// Decides; session/ does.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/frame.h"
#include "base/time.h"

namespace fairlead {

// Of fairlead.v1.Topic, which documents each.
struct Topic {
  std::string key;
  Match match;
  Duration max_silence;
  bool reconnect = false;

  friend bool operator==(const Topic&, const Topic&) = default;
};

class Topics {
 public:
  explicit Topics(std::vector<Topic> topics) { Replace(std::move(topics), {}); }

  // Those that are the same as before stay what they are: whoever takes over again and again hides no silence. The
  // silence of others begins now.
  void Replace(std::vector<Topic> topics, SteadyTime now);
  // A transport is OPEN: silence counts from now. Until Stop.
  void Begin(SteadyTime now);
  // There is no OPEN transport: silence says nothing.
  void Stop() { watching_ = false; }

  // A topic as it is now.
  struct State {
    Topic topic;
    bool stale = false;
    SteadyTime since;                    // When its silence began.
    std::optional<WallTime> last_heard;  // Absent: never, on this transport.
  };
  // A frame came. Those that it has brought back, by index; mostly none.
  std::vector<size_t> Received(std::string_view payload, SteadyTime now, WallTime heard);
  // Those that have become stale by now, by index.
  std::vector<size_t> Check(SteadyTime now);
  // When Check may find the next; absent: never.
  std::optional<SteadyTime> Next() const;

  const std::vector<State>& states() const { return states_; }
  bool empty() const { return states_.empty(); }

 private:
  std::vector<State> states_;
  bool watching_ = false;
};

}  // namespace fairlead
