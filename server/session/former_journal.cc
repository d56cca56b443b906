#include "session/former_journal.h"

#include <absl/strings/str_format.h>

#include <algorithm>
#include <utility>

#include "session/segment_file.h"

namespace fairlead {

std::filesystem::path SegmentPath(const std::filesystem::path& journal, uint64_t first) {
  return journal / absl::StrFormat("%020d.segment", first);
}

std::unique_ptr<FormerJournal> FormerJournal::Open(std::filesystem::path directory, Segments segments, uint64_t after) {
  std::unique_ptr<FormerJournal> journal(new FormerJournal(std::move(directory), std::move(segments)));
  // Where it ends, only the bytes tell. The last file may be one that a killed process had just begun.
  while (!journal->segments_.empty() && !journal->LoadSegment(journal->segments_.rbegin()->first))
    journal->segments_.erase(std::prev(journal->segments_.end()));
  if (journal->segments_.empty()) return nullptr;
  journal->epoch_ = journal->reader_->header()->epoch;
  while (journal->reader_->Skip()) {
  }
  journal->head_ = journal->reader_->sequence();
  journal->Rest();
  // Beyond the head lies nothing that was ever given.
  journal->next_ = std::min(after, journal->head_) + 1;
  return journal;
}

bool FormerJournal::LoadSegment(uint64_t first) {
  reader_.reset();
  bytes_ = ReadFile(SegmentPath(directory_, first), segments_.at(first));
  reader_.emplace(bytes_);
  const auto& header = reader_->header();
  return header && header->first == first && (epoch_.empty() || header->epoch == epoch_);
}

bool FormerJournal::Load() {
  if (entry_) return true;
  if (done()) return false;
  const auto holds = std::prev(segments_.upper_bound(next_));
  const bool is_there = reader_ && reader_->header() && reader_->header()->first == holds->first;
  if (!is_there && !LoadSegment(holds->first)) return false;
  while (reader_->sequence() + 1 < next_) {
    if (!reader_->Skip()) return false;
  }
  entry_ = reader_->Next();
  return entry_.has_value();
}

std::optional<std::pair<uint64_t, uint64_t>> FormerJournal::TakeGap() {
  if (next_ < oldest()) {
    const uint64_t last = std::min(oldest() - 1, head_);
    return std::pair(std::exchange(next_, last + 1), last);
  }
  if (done() || Load()) return std::nullopt;
  return GiveUp();
}

const Entry* FormerJournal::Peek() { return next_ >= oldest() && Load() ? &*entry_ : nullptr; }

void FormerJournal::Advance() {
  entry_.reset();
  ++next_;
  if (done()) Rest();
}

void FormerJournal::Rest() {
  entry_.reset();
  reader_.reset();
  bytes_ = {};
}

std::optional<std::pair<uint64_t, uint64_t>> FormerJournal::GiveUp() {
  entry_.reset();
  if (done()) return std::nullopt;
  return std::pair(std::exchange(next_, head_ + 1), head_);
}

}  // namespace fairlead
