// A value that is replaced whole while others read it.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace fairlead {

// Any thread. Who has got a value keeps that one, whatever comes after it.
template <typename T>
class Current {
 public:
  explicit Current(T first = T()) : value_(std::make_shared<const T>(std::move(first))) {}

  std::shared_ptr<const T> Get() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  void Set(T next) {
    // Declared first: the former value goes when the lock has gone.
    auto value = std::make_shared<const T>(std::move(next));
    const std::lock_guard lock(mutex_);
    value_.swap(value);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> value_;
};

}  // namespace fairlead
