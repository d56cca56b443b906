// A journal that no session writes any more, read from the journal directory: a cursor into it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy/journal_record.h"

namespace fairlead {

// Of one journal: first sequence and bytes of each.
using Segments = std::map<uint64_t, uint64_t>;
std::filesystem::path SegmentPath(const std::filesystem::path& journal, uint64_t first);

// Loop thread. One segment at a time is in memory.
class FormerJournal {
 public:
  // Begins behind the sequence. Null: nothing of it can be read.
  static std::unique_ptr<FormerJournal> Open(std::filesystem::path directory, Segments segments, uint64_t after);

  const std::string& epoch() const { return epoch_; }
  uint64_t oldest() const { return segments_.begin()->first; }
  uint64_t head() const { return head_; }

  // As of a Subscription: first a gap, then entries. What cannot be read after all is a gap up to the head.
  std::optional<std::pair<uint64_t, uint64_t>> TakeGap();
  const Entry* Peek();
  uint64_t next_sequence() const { return next_; }
  void Advance();
  bool done() const { return next_ > head_; }
  // Gives its memory back until it is read again.
  void Rest();
  // A gap for all that is left.
  std::optional<std::pair<uint64_t, uint64_t>> GiveUp();

 private:
  FormerJournal(std::filesystem::path directory, Segments segments)
      : directory_(std::move(directory)), segments_(std::move(segments)) {}
  // Has entry_ be the next one; false: there is none, or it cannot be read.
  bool Load();
  bool LoadSegment(uint64_t first);

  std::filesystem::path directory_;
  Segments segments_;
  std::string epoch_;
  uint64_t head_ = 0;
  uint64_t next_ = 1;
  std::string bytes_;  // Of the segment that is being read.
  std::optional<SegmentReader> reader_;
  std::optional<Entry> entry_;  // Of next_, once it was read.
};

// Of one session, in the order in which they were.
using FormerJournals = std::vector<std::unique_ptr<FormerJournal>>;

}  // namespace fairlead
