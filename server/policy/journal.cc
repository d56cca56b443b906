#include "policy/journal.h"

#include <algorithm>

namespace fairlead {

size_t Journal::Cost(const Entry& entry) {
  const FrameEntry* frame = entry.frame();
  return kEntryBytes + (frame == nullptr ? 0 : frame->payload.size());
}

uint64_t Journal::Append(Entry entry) {
  const WallTime now = entry.time;
  const size_t cost = Cost(entry);
  entry.bytes_before = bytes_ever_;
  bytes_ever_ += cost;
  bytes_ += cost;
  if (const FrameEntry* frame = entry.frame()) entry.what = blocks_.Append(frame->kind, frame->payload, now);
  entries_.push_back(std::move(entry));
  ++head_;
  Shrink(limits_.bytes);
  if (limits_.age != Duration::zero()) {
    while (entries_.size() > 1 && now - entries_.front().time > limits_.age) EvictOldest();
  }
  return head_;
}

size_t Journal::BytesFrom(uint64_t sequence) const {
  return sequence > head_ ? 0 : bytes_ever_ - at(std::max(sequence, oldest())).bytes_before;
}

void Journal::Shrink(size_t bytes) {
  while (bytes_ > bytes && entries_.size() > 1) EvictOldest();
}

void Journal::EvictOldest() {
  bytes_ -= Cost(entries_.front());
  if (entries_.front().frame() != nullptr) blocks_.Release();
  entries_.pop_front();
}

}  // namespace fairlead
