// When a stream sends what waits for it: at once when it has been quiet, else not before a window since the last flush,
// but always when a batch is full. Measured: one gRPC message costs as much as some 50 frames, so frames that come
// together should travel together.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>

#include "base/time.h"

namespace fairlead {

class Flush {
 public:
  // A batch is full when either is reached.
  struct Batch {
    size_t frames = 2048;
    size_t bytes = 256u << 10;
  };
  static constexpr Duration kDefaultWindow = std::chrono::microseconds(500);

  explicit Flush(Batch batch) : batch_(batch) {}

  // So much of a subscription waits. Its window bounds how long.
  void Waits(size_t bytes, Duration window, size_t frames = 1) {
    window_ = frames_ == 0 ? window : std::min(window_, window);
    frames_ += frames;
    bytes_ += bytes;
  }
  // A backlog is left over from the last flush: the next batch is full already.
  void Backlog() { frames_ = batch_.frames; }
  // Something waits that must not wait for company.
  void Urgent() { urgent_ = true; }

  // When to flush; absent: nothing waits. Not later than now means now.
  std::optional<SteadyTime> When(SteadyTime now) const {
    if (urgent_ || frames_ >= batch_.frames || bytes_ >= batch_.bytes) return now;
    if (frames_ == 0) return std::nullopt;
    return std::max(now, last_ + window_);
  }
  void Flushed(SteadyTime now) {
    last_ = now;
    frames_ = 0;
    bytes_ = 0;
    urgent_ = false;
  }
  const Batch& batch() const { return batch_; }

 private:
  Batch batch_;
  SteadyTime last_{std::chrono::hours(-24)};  // Long ago: the first flush does not wait.
  size_t frames_ = 0;
  size_t bytes_ = 0;
  Duration window_ = kDefaultWindow;
  bool urgent_ = false;
};

}  // namespace fairlead
