#include "policy/journal.h"

namespace fairlead {

size_t Journal::Cost(const Entry& entry) {
  const FrameEntry* frame = entry.frame();
  return kEntryBytes + (frame == nullptr ? 0 : frame->payload.size());
}

uint64_t Journal::Append(Entry entry) {
  const WallTime now = entry.time;
  bytes_ += Cost(entry);
  entries_.push_back(std::move(entry));
  ++head_;
  Shrink(limits_.bytes);
  if (limits_.age != Duration::zero()) {
    while (entries_.size() > 1 && now - entries_.front().time > limits_.age) EvictOldest();
  }
  return head_;
}

void Journal::Shrink(size_t bytes) {
  while (bytes_ > bytes && entries_.size() > 1) EvictOldest();
}

void Journal::EvictOldest() {
  bytes_ -= Cost(entries_.front());
  entries_.pop_front();
}

}  // namespace fairlead
