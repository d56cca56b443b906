// How a journal's entries stand in a file: a segment is a header and records, one an entry, whose sequences follow each
// other; behind the last stand zeros. Each part has its length and a checksum, so that whatever a killed process, or a
// broken disk, leaves behind is read as far as it is whole, and never further.
//
//   header: checksum, length | "FAIRLEAD", version, first sequence, ordinal, epoch, identity, session
//   record: checksum, length | type, sequence, generation, time, and what the entry is
//
// Numbers are little-endian, lengths and checksums have four bytes, a text is its length and its bytes, a checksum is
// of the length and of what it counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "policy/journal.h"

namespace fairlead {

// fairlead.config.v1.JournalDirectory documents each field.
struct JournalDirectoryOptions {
  std::string path = {};  // Empty: none.
  uint64_t max_bytes = 4 * kGiB;
  Duration age = std::chrono::hours(24);
  friend bool operator==(const JournalDirectoryOptions&, const JournalDirectoryOptions&) = default;
};
// One segment, the smallest.
inline constexpr uint64_t kLeastSegmentBytes = 64 * kKiB;

struct SegmentHeader {
  uint64_t first = 1;    // Sequence of its first record.
  uint64_t ordinal = 1;  // The how-manieth journal of the session this is.
  std::string epoch;
  std::string identity;
  std::string session;
  friend bool operator==(const SegmentHeader&, const SegmentHeader&) = default;
};

// No header is longer than this, if epoch, identity and session are not.
inline constexpr size_t kMaxHeaderBytes = 4096;

std::string EncodeHeader(const SegmentHeader& header);

// One entry on its way into a segment: first its size, then its bytes, so that a frame is copied once.
class EncodedEntry {
 public:
  // The entry outlives it.
  EncodedEntry(uint64_t sequence, const Entry& entry);
  size_t size() const { return kPrefixBytes + kFixedBytes + rest_.size(); }
  // `into` has room for size().
  void Write(char* into) const;

  static constexpr size_t kPrefixBytes = 8;  // Checksum and length.
  static constexpr size_t kFixedBytes = 25;  // Type, sequence, generation, time.
 private:
  uint64_t sequence_;
  const Entry& entry_;
  char type_;
  std::string encoded_;    // Of what is no frame.
  std::string_view rest_;  // The payload, or encoded_.
};

// Reads what a segment holds. The bytes may be anything.
class SegmentReader {
 public:
  // The text outlives it.
  explicit SegmentReader(std::string_view bytes);
  // Absent: this is no segment that this version can read.
  const std::optional<SegmentHeader>& header() const { return header_; }
  // Of the entry that Next gives.
  uint64_t sequence() const { return sequence_; }
  // The next entry, whose frame is in the text; absent where the whole part ends.
  std::optional<Entry> Next();
  // Passes over the next entry; false where the whole part ends.
  bool Skip();
  // How many bytes were whole so far.
  size_t whole_bytes() const { return at_; }

 private:
  // What stands behind a checksum and a length at at_; absent if it is not whole.
  std::optional<std::string_view> Part() const;

  std::string_view bytes_;
  size_t at_ = 0;
  std::optional<SegmentHeader> header_;
  uint64_t sequence_ = 0;
};

}  // namespace fairlead
