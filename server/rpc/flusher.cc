#include "rpc/flusher.h"

namespace fairlead {

Flusher::Flusher() : thread_([this] { Work(); }) {}

Flusher::~Flusher() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Flusher::Run(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Flusher::Work() {
  std::vector<std::function<void()>> jobs;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return !jobs_.empty() || ending_; });
      if (jobs_.empty()) return;
      jobs.swap(jobs_);
    }
    for (const auto& job : jobs) job();
    jobs.clear();
  }
}

}  // namespace fairlead
