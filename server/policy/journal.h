// A session's latest entries, numbered 1, 2, 3 ... without holes: a ring bounded in bytes and age. A subscriber is a
// cursor into it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <variant>

#include "base/failure.h"
#include "base/time.h"
#include "policy/frame_blocks.h"
#include "policy/lifecycle.h"

namespace fairlead {

// Values equal those of fairlead.v1.Outcome.
enum class Outcome : int { kWritten = 1, kNotSent = 2, kUnknown = 3, kDone = 4 };

// What became of a command; fairlead.v1.CommandResult documents each field.
struct CommandResult {
  uint64_t id = 0;
  Outcome outcome = Outcome::kNotSent;
  std::optional<Failure> failure = std::nullopt;
};

// A topic has become stale, or is heard again; fairlead.v1.TopicChanged documents each field.
struct TopicChange {
  std::string key;
  bool stale = false;
  std::optional<WallTime> last_heard = std::nullopt;
};

// A transport beside the session's own has come or gone; fairlead.v1.LegChanged documents each field. The generation is
// the entry's.
struct LegChange {
  State state = State::kOpening;
  std::optional<Failure> cause = std::nullopt;
  uint16_t close_code = 0;
  std::string close_reason = {};
  std::optional<Duration> retry_in = std::nullopt;
  uint64_t received_frames = 0;
  uint64_t copies = 0;
};

// All but frames are rare: they live apart, so that a frame's entry stays small.
struct Entry {
  uint64_t generation = 0;
  WallTime time;
  std::variant<FrameEntry, std::unique_ptr<StateChange>, std::unique_ptr<CommandResult>, std::unique_ptr<TopicChange>,
               std::unique_ptr<LegChange>>
      what;
  uint64_t bytes_before = 0;  // The journal's: of all entries that ever stood before it.

  const FrameEntry* frame() const { return std::get_if<FrameEntry>(&what); }
};

class Journal {
 public:
  // What an entry counts beyond its payload.
  static constexpr size_t kEntryBytes = 64;

  struct Limits {
    size_t bytes = 16u << 20;
    Duration age = Duration::zero();  // Zero: any.
  };

  explicit Journal(Limits limits) : limits_(limits) {}

  // Numbers and keeps the entry, and a copy of its frame; returns its sequence. What no longer fits is evicted from the
  // tail; the newest entry always stays.
  uint64_t Append(Entry entry);
  // From the next entry on.
  void Adopt(Limits limits) { limits_ = limits; }
  // Evicts from the tail until at most this many bytes are left, or only the newest entry.
  void Shrink(size_t bytes);

  // The oldest sequence held; head() + 1 when none is.
  uint64_t oldest() const { return head_ + 1 - entries_.size(); }
  // The newest sequence; zero before the first entry.
  uint64_t head() const { return head_; }
  size_t bytes() const { return bytes_; }
  // Of the entries from this sequence on, as far as it holds them.
  size_t BytesFrom(uint64_t sequence) const;
  // oldest() <= sequence <= head().
  const Entry& at(uint64_t sequence) const { return entries_[sequence - oldest()]; }

 private:
  static size_t Cost(const Entry& entry);
  void EvictOldest();

  Limits limits_;
  std::deque<Entry> entries_;
  FrameBlocks blocks_;
  uint64_t head_ = 0;
  size_t bytes_ = 0;
  uint64_t bytes_ever_ = 0;
};

}  // namespace fairlead
