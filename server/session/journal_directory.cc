#include "session/journal_directory.h"

#include <absl/strings/numbers.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <optional>
#include <utility>

#include "base/log.h"

namespace fairlead {
namespace {

namespace fs = std::filesystem;

// A journal's first segment has kLeastSegmentBytes, each further one twice that of the one before, up to this.
constexpr uint64_t kMostSegmentBytes = 1 * kMiB;
constexpr uint64_t kPage = 4096;
constexpr size_t kProgress = 1000;  // Journals between two lines in the log.

// Beside the segments of a journal that is over: since when, nanoseconds since 1970.
fs::path MarkPath(const fs::path& directory) { return directory / "over"; }

std::optional<WallTime> ReadMark(const fs::path& directory) {
  int64_t ns = 0;
  if (!absl::SimpleAtoi(ReadFile(MarkPath(directory), 32), &ns)) return std::nullopt;
  return WallTime(Duration(ns));
}

void WriteMark(const fs::path& directory, WallTime time) {
  std::ofstream(MarkPath(directory)) << time.time_since_epoch().count() << "\n";
}

Segments SegmentsIn(const fs::path& directory) {
  Segments segments;
  std::error_code error;
  for (fs::directory_iterator file(directory, error), end; !error && file != end; file.increment(error)) {
    uint64_t first = 0;
    if (!absl::SimpleAtoi(file->path().stem().string(), &first) || file->path() != SegmentPath(directory, first))
      continue;
    std::error_code unreadable;
    const uint64_t bytes = file->file_size(unreadable);
    if (!unreadable) segments.emplace(first, bytes);
  }
  return segments;
}

// Only what is ours: a directory with anything else in it stays.
void RemoveFiles(const fs::path& directory, const Segments& segments) {
  std::error_code ignored;
  for (const auto& [first, bytes] : segments) fs::remove(SegmentPath(directory, first), ignored);
  fs::remove(MarkPath(directory), ignored);
  fs::remove(directory, ignored);
}

uint64_t BytesOf(const Segments& segments) {
  uint64_t bytes = 0;
  for (const auto& [first, of_segment] : segments) bytes += of_segment;
  return bytes;
}

bool IsFull(const std::error_code& error) { return error == std::errc::no_space_on_device || error.value() == EDQUOT; }

}  // namespace

Result<std::unique_ptr<JournalDirectory>> JournalDirectory::Open(const JournalDirectoryOptions& options,
                                                                 Timers& timers) {
  auto lock = DirectoryLock::Take(options.path);
  if (!lock) return NotSent(Reason::kUnspecified, "journal_directory.path: \"" + options.path + "\" " + lock.error());
  std::unique_ptr<JournalDirectory> directory(new JournalDirectory(options, timers, std::move(*lock)));
  directory->TakeStock();
  return directory;
}

JournalDirectory::JournalDirectory(JournalDirectoryOptions options, Timers& timers, DirectoryLock lock)
    : options_(std::move(options)), timers_(timers), lock_(std::move(lock)), expiry_timer_(timers.MakeTimer()) {}

JournalDirectory::~JournalDirectory() = default;

// ---- At the start. ----

void JournalDirectory::TakeStock() {
  const SteadyTime began = timers_.Now();
  std::error_code error;
  size_t seen = 0;
  for (fs::directory_iterator each(options_.path, error), end; !error && each != end; each.increment(error)) {
    std::error_code unreadable;
    if (!each->is_directory(unreadable)) continue;
    TakeStockOf(each->path());
    if (++seen % kProgress == 0) Log(Level::kInfo, "journals.stock", {{"journals", seen}, {"bytes", totals_.bytes}});
  }
  while (totals_.bytes > options_.max_bytes && RemoveOldest()) {
  }
  RemoveExpired();
  Log(Level::kInfo, "journals.open",
      {{"path", options_.path},
       {"journals", totals_.journals},
       {"bytes", totals_.bytes},
       {"took", timers_.Now() - began}});
}

// Looks at the first header that can be read, and at no entry: what is whole shows when it is asked for.
void JournalDirectory::TakeStockOf(const fs::path& directory) {
  Segments segments = SegmentsIn(directory);
  std::optional<SegmentHeader> header;
  for (const auto& [first, bytes] : segments) {
    const std::string beginning = ReadFile(SegmentPath(directory, first), std::min<uint64_t>(bytes, kMaxHeaderBytes));
    header = SegmentReader(beginning).header();
    if (header) break;
  }
  if (!header || header->epoch != directory.filename().string()) {
    // Begun and never written, or of another version.
    if (!segments.empty())
      Log(Level::kWarn, "journals.unreadable",
          {{"epoch", directory.filename().string()}, {"bytes", BytesOf(segments)}});
    return RemoveFiles(directory, segments);
  }
  Kept kept{.directory = directory, .segments = std::move(segments), .live = false, .over = timers_.WallNow()};
  if (const auto since = ReadMark(directory)) {
    kept.over = std::min(*since, kept.over);
  } else {
    WriteMark(directory, kept.over);
  }
  const uint64_t bytes = BytesOf(kept.segments);
  const auto [place, is_new] =
      journals_.emplace(Key{header->identity, header->session, header->ordinal}, std::move(kept));
  if (!is_new) return;  // Somebody's copy.
  AddEnded(place);
  ++totals_.journals;
  totals_.bytes += bytes;
}

// ---- Journals come and go. ----

std::unique_ptr<JournalWriter> JournalDirectory::Keep(const std::string& identity, const std::string& session,
                                                      const std::string& epoch) {
  const auto first = journals_.lower_bound({identity, session, 0});
  const auto last = journals_.upper_bound({identity, session, UINT64_MAX});
  const uint64_t ordinal = first == last ? 1 : std::get<uint64_t>(std::prev(last)->first) + 1;
  auto kept = static_cast<size_t>(std::distance(first, last));
  for (auto each = first; kept >= kEpochs && each != last;) {
    const auto journal = each++;
    if (journal->second.live) continue;
    Remove(journal);
    --kept;
  }
  ++totals_.journals;
  const auto place =
      journals_.emplace(Key{identity, session, ordinal},
                        Kept{.directory = fs::path(options_.path) / epoch, .segments = {}, .live = true, .over = {}});
  return std::make_unique<JournalWriter>(*this, place.first, epoch);
}

FormerJournals JournalDirectory::Behind(const std::string& identity, const std::string& session,
                                        const std::string& epoch, uint64_t sequence, const std::string& until) const {
  FormerJournals journals;
  for (auto each = journals_.lower_bound({identity, session, 0});
       each != journals_.end() && std::get<0>(each->first) == identity && std::get<1>(each->first) == session; ++each) {
    const Kept& kept = each->second;
    const std::string name = kept.directory.filename().string();
    if (name == until) break;
    if (journals.empty() && name != epoch) continue;
    const bool is_first = name == epoch;
    if (kept.segments.empty()) continue;
    auto journal =
        FormerJournal::Open(kept.directory, kept.segments, is_first ? sequence : kept.segments.begin()->first - 1);
    if (journal == nullptr && is_first) break;
    if (journal != nullptr) journals.push_back(std::move(journal));
  }
  return journals;
}

void JournalDirectory::Over(Journals::iterator journal) {
  Kept& kept = journal->second;
  if (kept.segments.empty()) return Remove(journal);
  kept.live = false;
  kept.over = timers_.WallNow();
  WriteMark(kept.directory, kept.over);
  AddEnded(journal);
  if (ended_.size() == 1) RemoveExpired();  // Else the timer is armed for one that leaves earlier.
}

void JournalDirectory::AddEnded(Journals::iterator journal) { ended_.emplace(journal->second.over, journal); }

void JournalDirectory::Remove(Journals::iterator journal) {
  const Kept& kept = journal->second;
  const auto [first, last] = ended_.equal_range(kept.over);
  const auto place = std::find_if(first, last, [journal](const auto& each) { return each.second == journal; });
  if (place != last) ended_.erase(place);
  RemoveFiles(kept.directory, kept.segments);
  totals_.bytes -= BytesOf(kept.segments);
  --totals_.journals;
  journals_.erase(journal);
}

void JournalDirectory::RemoveExpired() {
  const WallTime now = timers_.WallNow();
  while (!ended_.empty() && ended_.begin()->first + options_.age <= now) Remove(ended_.begin()->second);
  if (ended_.empty()) return;
  const Duration left = ended_.begin()->first + options_.age - now;
  expiry_timer_->At(timers_.Now() + left, [this] { RemoveExpired(); });
}

// The journal that has been over for longest; false: none is.
bool JournalDirectory::RemoveOldest() {
  if (ended_.empty()) return false;
  const auto oldest = ended_.begin()->second;
  Log(Level::kInfo, "journals.removed",
      {{"session", std::get<1>(oldest->first)},
       {"identity", std::get<0>(oldest->first)},
       {"epoch", oldest->second.directory.filename().string()},
       {"message", "for journal_directory.max_bytes, or because the disk is full"}});
  Remove(oldest);
  return true;
}

// ---- Segments. ----

void JournalDirectory::RemoveFirstSegment(Kept& kept) {
  std::error_code ignored;
  fs::remove(SegmentPath(kept.directory, kept.segments.begin()->first), ignored);
  totals_.bytes -= kept.segments.begin()->second;
  kept.segments.erase(kept.segments.begin());
}

std::expected<MappedFile, std::error_code> JournalDirectory::MakeSegment(Kept& kept, uint64_t first, uint64_t bytes) {
  const auto make_room = [&] {
    if (RemoveOldest()) return true;
    if (kept.segments.empty()) return false;
    RemoveFirstSegment(kept);
    return true;
  };
  std::error_code error;
  fs::create_directory(kept.directory, options_.path, error);
  if (error) return std::unexpected(error);
  while (totals_.bytes + bytes > options_.max_bytes) {
    if (!make_room()) return std::unexpected(std::make_error_code(std::errc::no_space_on_device));
  }
  for (;;) {
    auto file = MappedFile::Create(SegmentPath(kept.directory, first), bytes);
    if (!file && IsFull(file.error()) && make_room()) continue;
    if (!file) return file;
    kept.segments.emplace(first, bytes);
    totals_.bytes += bytes;
    return file;
  }
}

void JournalWriter::Append(uint64_t sequence, const Entry& entry, uint64_t oldest) {
  if (failed_) return;
  const EncodedEntry encoded(sequence, entry);
  if (segment_.size() - used_ < encoded.size() && !NextSegment(sequence, encoded.size(), oldest)) return;
  encoded.Write(segment_.bytes() + used_);
  used_ += encoded.size();
}

bool JournalWriter::NextSegment(uint64_t sequence, size_t bytes, uint64_t oldest) {
  JournalDirectory::Kept& kept = journal_->second;
  while (kept.segments.size() > 1 && std::next(kept.segments.begin())->first <= oldest)
    directory_.RemoveFirstSegment(kept);
  const auto& [identity, session, ordinal] = journal_->first;
  const std::string header =
      EncodeHeader({.first = sequence, .ordinal = ordinal, .epoch = epoch_, .identity = identity, .session = session});
  const uint64_t usual = std::clamp<uint64_t>(2 * segment_.size(), kLeastSegmentBytes, kMostSegmentBytes);
  const uint64_t least = (header.size() + bytes + kPage - 1) / kPage * kPage;
  auto next = directory_.MakeSegment(kept, sequence, std::max(usual, least));
  if (!next) {
    failed_ = true;
    ++directory_.totals_.failed;
    Log(Level::kError, "journals.failed",
        {{"session", session},
         {"identity", identity},
         {"epoch", epoch_},
         {"sequence", sequence},
         {"message", "the journal goes on in memory alone: " + next.error().message()}});
    return false;
  }
  segment_ = std::move(*next);
  header.copy(segment_.bytes(), header.size());
  used_ = header.size();
  return true;
}

JournalWriter::~JournalWriter() {
  JournalDirectory::Kept& kept = journal_->second;
  // What was not used goes back, but for what bounds the number of journals by their bytes.
  if (!kept.segments.empty() && !failed_) {
    auto& [first, bytes] = *kept.segments.rbegin();
    const uint64_t least = std::max<uint64_t>(used_, kLeastSegmentBytes);
    std::error_code error;
    if (least < bytes) std::filesystem::resize_file(SegmentPath(kept.directory, first), least, error);
    if (least < bytes && !error) {
      directory_.totals_.bytes -= bytes - least;
      bytes = least;
    }
  }
  directory_.Over(journal_);
}

}  // namespace fairlead
