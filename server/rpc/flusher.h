// A thread that hands messages, or new connections, to gRPC. Starting a write runs the transport's write in line, 20 to
// 50 microseconds: too long for the loop.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace fairlead {

class Flusher {
 public:
  Flusher();
  // Runs what is queued, then ends the thread.
  ~Flusher();
  Flusher(const Flusher&) = delete;
  Flusher& operator=(const Flusher&) = delete;

  // Any thread. Runs in order. The queue is bounded by its users: a stream has one write, one read and one end under
  // way at most. New connections have no such bound, but cost less than their coming.
  void Run(std::function<void()> job);

 private:
  void Work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::function<void()>> jobs_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace fairlead
