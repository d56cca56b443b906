// Time, randomness and timers as arguments: policy/ is given times, session/ is given these interfaces by main, so that
// a test can drive both with virtual time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace fairlead {

using Duration = std::chrono::nanoseconds;
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

// "250 ms", for messages.
inline std::string Milliseconds(Duration span) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(span).count()) + " ms";
}

class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime Now() const = 0;
  virtual WallTime WallNow() const = 0;
};

// A uniform draw from [0, 1).
using Random = std::function<double()>;

// One deadline. Destruction cancels: after it, and after Cancel, the callback does not run.
class Timer {
 public:
  virtual ~Timer() = default;
  // Replaces the deadline and the callback. A deadline in the past runs it soon, never from within the call.
  virtual void At(SteadyTime deadline, std::function<void()> callback) = 0;
  virtual void Cancel() = 0;
};

class Timers : public Clock {
 public:
  virtual std::unique_ptr<Timer> MakeTimer() = 0;
  // Runs the callback soon, never from within the call.
  virtual void Post(std::function<void()> callback) = 0;
};

}  // namespace fairlead
