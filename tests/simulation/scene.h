// What all parts of one simulated run share: time, draws, limits, complaints, the trace.
#pragma once

#include <cstdint>
#include <cstdio>
#include <sstream>
#include <string>

#include "base/limits.h"
#include "simulation/table.h"
#include "support/random.h"
#include "support/virtual_time.h"

namespace fairlead::simulation {

struct Scene {
  VirtualTime& time;
  const Limits& limits;
  Draws& draws;
  Table& table;
  bool trace = false;          // Print what happens.
  double draw = 0.5;           // What the session's randomness gives until the next callback.
  uint64_t version = 0;        // Makes payloads that occur once.
  std::string complaint = {};  // The first; those behind it may follow from it.
  uint64_t fingerprint = 17;   // Of the whole run: the same seed, the same run.

  SteadyTime now() const { return time.Now(); }

  // A promise, and what to say when it is broken.
  template <typename... Parts>
  void Unless(bool kept, const Parts&... parts) {
    if (kept || !complaint.empty()) [[likely]]
      return;
    complaint = Text(parts...);
    Trace("BROKEN: ", complaint);
  }
  template <typename... Parts>
  void Trace(const Parts&... parts) const {
    if (!trace) [[likely]]
      return;
    std::printf("%10.3f ms  %s\n", std::chrono::duration<double, std::milli>(time.Passed()).count(),
                Text(parts...).c_str());
  }

 private:
  template <typename... Parts>
  static std::string Text(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    return text.str();
  }
};

}  // namespace fairlead::simulation
