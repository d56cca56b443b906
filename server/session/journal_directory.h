// Journals of named sessions on disk, so that they outlive the process: a directory an epoch, a file a segment
// (policy/journal_record). A journal is written beside the ring in memory, and holds what that holds, a segment more or
// less. What a journal leaves behind, killed or in order, is read by whoever starts AFTER one of its entries.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/failure.h"
#include "base/time.h"
#include "policy/journal.h"
#include "policy/journal_record.h"
#include "session/former_journal.h"
#include "session/segment_file.h"

namespace fairlead {

class JournalWriter;

// Loop thread. Outlives the writers.
class JournalDirectory {
 public:
  // Journals of one session that are kept, the live one included.
  static constexpr size_t kEpochs = 8;

  // Locks the directory and takes stock of it. The failure is a message for the operator.
  static Result<std::unique_ptr<JournalDirectory>> Open(const JournalDirectoryOptions& options, Timers& timers);
  ~JournalDirectory();
  JournalDirectory(const JournalDirectory&) = delete;
  JournalDirectory& operator=(const JournalDirectory&) = delete;

  // Begins the journal of a session that has just been made. Epochs are of A-Z a-z 0-9 _ - and never the same.
  std::unique_ptr<JournalWriter> Keep(const std::string& identity, const std::string& session,
                                      const std::string& epoch);
  // What came behind the entry and before the journal `until`: the rest of the entry's journal, and those that followed
  // it. Empty: its journal is not there.
  FormerJournals Behind(const std::string& identity, const std::string& session, const std::string& epoch,
                        uint64_t sequence, const std::string& until) const;

  struct Totals {
    uint64_t bytes = 0;     // Of all files, as they were made.
    uint64_t journals = 0;  // Live ones included.
    uint64_t failed = 0;    // That could not be written any more, since the start.
  };
  const Totals& totals() const { return totals_; }

 private:
  friend class JournalWriter;
  struct Kept {
    std::filesystem::path directory;
    Segments segments;
    bool live = false;
    WallTime over;  // When it ended, or was found without a process that writes it.
  };
  // Identity, session, ordinal.
  using Key = std::tuple<std::string, std::string, uint64_t>;
  using Journals = std::map<Key, Kept>;
  // Those that are over, by when.
  using Ended = std::multimap<WallTime, Journals::iterator>;

  JournalDirectory(JournalDirectoryOptions options, Timers& timers, DirectoryLock lock);
  void TakeStock();
  void TakeStockOf(const std::filesystem::path& directory);
  // Makes room and a file. The journal gives up segments of its own only if no other one is over.
  std::expected<MappedFile, std::error_code> MakeSegment(Kept& kept, uint64_t first, uint64_t bytes);
  bool RemoveOldest();
  void RemoveFirstSegment(Kept& kept);
  void Over(Journals::iterator journal);
  void AddEnded(Journals::iterator journal);
  void Remove(Journals::iterator journal);
  void RemoveExpired();

  const JournalDirectoryOptions options_;
  Timers& timers_;
  DirectoryLock lock_;
  std::unique_ptr<Timer> expiry_timer_;
  Journals journals_;
  Ended ended_;
  Totals totals_;
};

// Writes one live journal. Destroyed, the journal is over.
class JournalWriter {
 public:
  JournalWriter(JournalDirectory& directory, JournalDirectory::Journals::iterator journal, std::string epoch)
      : directory_(directory), journal_(journal), epoch_(std::move(epoch)) {}
  ~JournalWriter();
  JournalWriter(const JournalWriter&) = delete;
  JournalWriter& operator=(const JournalWriter&) = delete;

  // Sequences follow each other; what is older than `oldest` need not be kept. Never waits for room, nor fails: what
  // cannot be written ends the journal on disk, which is logged.
  void Append(uint64_t sequence, const Entry& entry, uint64_t oldest);
  bool failed() const { return failed_; }

 private:
  bool NextSegment(uint64_t sequence, size_t bytes, uint64_t oldest);

  JournalDirectory& directory_;
  JournalDirectory::Journals::iterator journal_;
  const std::string epoch_;
  MappedFile segment_;
  size_t used_ = 0;
  bool failed_ = false;
};

}  // namespace fairlead
