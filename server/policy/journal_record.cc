#include "policy/journal_record.h"

#include <bit>
#include <concepts>
#include <cstring>
#include <utility>

namespace fairlead {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

constexpr std::string_view kMagic = "FAIRLEAD";
constexpr uint32_t kVersion = 2;
enum Type : char { kText = 1, kBinary = 2, kStateChange = 3, kResult = 4, kTopicChange = 5, kLegChange = 6 };

// Against what a kill or a disk does, not against people: eight bytes a step, each step a bijection of the state. A CRC
// from zlib takes several times as long, as long as all else that is done for an entry.
uint32_t Checksum(std::string_view bytes) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  uint64_t state = kOdd;  // The length, which would tell zeros at the end apart, is among the bytes.
  const auto step = [&state](uint64_t word) {
    state = (state ^ word) * kOdd;
    state ^= state >> 32;
  };
  while (bytes.size() >= sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    step(word);
    bytes.remove_prefix(sizeof(word));
  }
  uint64_t last = 0;
  if (!bytes.empty()) std::memcpy(&last, bytes.data(), bytes.size());
  step(last);
  return static_cast<uint32_t>(state ^ state >> 29);
}

// ---- Writing. ----

template <std::integral T>
void Put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void Put(std::string& out, std::string_view text) {
  Put(out, static_cast<uint32_t>(text.size()));
  out += text;
}

void Put(std::string& out, std::optional<int64_t> value) {
  Put(out, static_cast<uint8_t>(value.has_value()));
  Put(out, value.value_or(0));
}

std::optional<int64_t> Count(const std::optional<Duration>& span) {
  return span ? std::optional<int64_t>(span->count()) : std::nullopt;
}
std::optional<int64_t> Count(const std::optional<WallTime>& time) {
  return time ? std::optional<int64_t>(time->time_since_epoch().count()) : std::nullopt;
}

void Put(std::string& out, const std::optional<Failure>& failure) {
  Put(out, static_cast<uint8_t>(failure.has_value()));
  if (!failure) return;
  Put(out, static_cast<int32_t>(failure->reason));
  Put(out, static_cast<int32_t>(failure->phase));
  Put(out, std::string_view(failure->message));
  Put(out, Count(failure->retry_after));
  Put(out, std::string_view(failure->quota_key));
}

void Put(std::string& out, const StateChange& change) {
  Put(out, static_cast<int32_t>(change.state));
  Put(out, change.generation);
  Put(out, change.cause);
  Put(out, change.close_code);
  Put(out, std::string_view(change.close_reason));
  Put(out, change.attempt);
  Put(out, Count(change.retry_in));
  Put(out, Count(change.blind_from));
  Put(out, Count(change.blind_until));
  Put(out, static_cast<uint8_t>(change.overlap.has_value()));
  if (!change.overlap) return;
  Put(out, change.overlap->frames);
  Put(out, change.overlap->copies);
  Put(out, static_cast<uint8_t>(change.overlap->may_be_missing));
}

void Put(std::string& out, const CommandResult& result) {
  Put(out, result.id);
  Put(out, static_cast<int32_t>(result.outcome));
  Put(out, result.failure);
}

void Put(std::string& out, const TopicChange& change) {
  Put(out, std::string_view(change.key));
  Put(out, static_cast<uint8_t>(change.stale));
  Put(out, Count(change.last_heard));
}

void Put(std::string& out, const LegChange& change) {
  Put(out, static_cast<int32_t>(change.state));
  Put(out, change.cause);
  Put(out, change.close_code);
  Put(out, std::string_view(change.close_reason));
  Put(out, Count(change.retry_in));
  Put(out, change.received_frames);
  Put(out, change.copies);
}

// ---- Reading. ----

class Input {
 public:
  explicit Input(std::string_view bytes) : left_(bytes) {}

  // All that was taken was there, and nothing else.
  bool WholeAndDone() const { return whole_ && left_.empty(); }
  bool whole() const { return whole_; }

  std::string_view Bytes(size_t count) {
    if (count > left_.size()) {
      whole_ = false;
      left_ = {};
      return {};
    }
    const std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }
  std::string_view Rest() { return Bytes(left_.size()); }
  template <std::integral T>
  T Number() {
    T value = 0;
    Bytes(sizeof(T)).copy(reinterpret_cast<char*>(&value), sizeof(T));
    return value;
  }
  std::string Text() { return std::string(Bytes(Number<uint32_t>())); }
  std::optional<int64_t> Optional() {
    const bool given = Number<uint8_t>() != 0;
    const auto value = Number<int64_t>();
    return given ? std::optional(value) : std::nullopt;
  }
  std::optional<Duration> Span() {
    const auto value = Optional();
    return value ? std::optional(Duration(*value)) : std::nullopt;
  }
  std::optional<WallTime> Time() {
    const auto value = Optional();
    return value ? std::optional(WallTime(Duration(*value))) : std::nullopt;
  }
  std::optional<fairlead::Failure> Failure() {
    if (Number<uint8_t>() == 0) return std::nullopt;
    fairlead::Failure failure;
    failure.reason = static_cast<Reason>(Number<int32_t>());
    failure.phase = static_cast<Phase>(Number<int32_t>());
    failure.message = Text();
    failure.retry_after = Span();
    failure.quota_key = Text();
    return failure;
  }

 private:
  std::string_view left_;
  bool whole_ = true;
};

std::unique_ptr<StateChange> ReadStateChange(Input& input) {
  auto change = std::make_unique<StateChange>();
  change->state = static_cast<State>(input.Number<int32_t>());
  change->generation = input.Number<uint64_t>();
  change->cause = input.Failure();
  change->close_code = input.Number<uint16_t>();
  change->close_reason = input.Text();
  change->attempt = input.Number<uint32_t>();
  change->retry_in = input.Span();
  change->blind_from = input.Time();
  change->blind_until = input.Time();
  if (input.Number<uint8_t>() != 0) {
    Overlap overlap;
    overlap.frames = input.Number<uint64_t>();
    overlap.copies = input.Number<uint64_t>();
    overlap.may_be_missing = input.Number<uint8_t>() != 0;
    change->overlap = overlap;
  }
  return change;
}

std::unique_ptr<CommandResult> ReadResult(Input& input) {
  auto result = std::make_unique<CommandResult>();
  result->id = input.Number<uint64_t>();
  result->outcome = static_cast<Outcome>(input.Number<int32_t>());
  result->failure = input.Failure();
  return result;
}

std::unique_ptr<TopicChange> ReadTopicChange(Input& input) {
  auto change = std::make_unique<TopicChange>();
  change->key = input.Text();
  change->stale = input.Number<uint8_t>() != 0;
  change->last_heard = input.Time();
  return change;
}

std::unique_ptr<LegChange> ReadLegChange(Input& input) {
  auto change = std::make_unique<LegChange>();
  change->state = static_cast<State>(input.Number<int32_t>());
  change->cause = input.Failure();
  change->close_code = input.Number<uint16_t>();
  change->close_reason = input.Text();
  change->retry_in = input.Span();
  change->received_frames = input.Number<uint64_t>();
  change->copies = input.Number<uint64_t>();
  return change;
}

}  // namespace

std::string EncodeHeader(const SegmentHeader& header) {
  std::string body(kMagic);
  Put(body, kVersion);
  Put(body, header.first);
  Put(body, header.ordinal);
  Put(body, std::string_view(header.epoch));
  Put(body, std::string_view(header.identity));
  Put(body, std::string_view(header.session));
  std::string counted;
  Put(counted, std::string_view(body));
  std::string encoded;
  Put(encoded, Checksum(counted));
  return encoded + counted;
}

EncodedEntry::EncodedEntry(uint64_t sequence, const Entry& entry) : sequence_(sequence), entry_(entry), type_(kText) {
  static_assert(std::variant_size_v<decltype(entry.what)> == 5, "each kind of entry has a type here");
  if (const FrameEntry* frame = entry.frame()) {
    type_ = frame->kind == FrameKind::kBinary ? kBinary : kText;
    rest_ = frame->payload;
    return;
  }
  if (const auto* change = std::get_if<std::unique_ptr<StateChange>>(&entry.what)) {
    type_ = kStateChange;
    Put(encoded_, **change);
  } else if (const auto* topic = std::get_if<std::unique_ptr<TopicChange>>(&entry.what)) {
    type_ = kTopicChange;
    Put(encoded_, **topic);
  } else if (const auto* leg = std::get_if<std::unique_ptr<LegChange>>(&entry.what)) {
    type_ = kLegChange;
    Put(encoded_, **leg);
  } else {
    type_ = kResult;
    Put(encoded_, *std::get<std::unique_ptr<CommandResult>>(entry.what));
  }
  rest_ = encoded_;
}

void EncodedEntry::Write(char* into) const {
  char* at = into + sizeof(uint32_t);
  const auto put = [&at](auto value) {
    std::memcpy(at, &value, sizeof(value));
    at += sizeof(value);
  };
  put(static_cast<uint32_t>(kFixedBytes + rest_.size()));
  put(type_);
  put(sequence_);
  put(entry_.generation);
  put(int64_t{entry_.time.time_since_epoch().count()});
  if (!rest_.empty()) std::memcpy(at, rest_.data(), rest_.size());
  const uint32_t checksum = Checksum({into + sizeof(uint32_t), size() - sizeof(uint32_t)});
  std::memcpy(into, &checksum, sizeof(checksum));
}

SegmentReader::SegmentReader(std::string_view bytes) : bytes_(bytes) {
  const auto part = Part();
  if (!part) return;
  Input input(*part);
  if (input.Bytes(kMagic.size()) != kMagic || input.Number<uint32_t>() != kVersion) return;
  SegmentHeader header;
  header.first = input.Number<uint64_t>();
  header.ordinal = input.Number<uint64_t>();
  header.epoch = input.Text();
  header.identity = input.Text();
  header.session = input.Text();
  if (!input.WholeAndDone() || header.first == 0) return;
  at_ += EncodedEntry::kPrefixBytes + part->size();
  sequence_ = header.first - 1;
  header_ = std::move(header);
}

std::optional<std::string_view> SegmentReader::Part() const {
  Input input(bytes_.substr(at_));
  const auto checksum = input.Number<uint32_t>();
  const auto length = input.Number<uint32_t>();
  const std::string_view part = input.Bytes(length);
  if (!input.whole() || length == 0) return std::nullopt;
  if (Checksum(bytes_.substr(at_ + sizeof(checksum), sizeof(length) + length)) != checksum) return std::nullopt;
  return part;
}

bool SegmentReader::Skip() {
  const auto part = header_ ? Part() : std::nullopt;
  if (!part) return false;
  Input input(*part);
  input.Number<char>();
  if (input.Number<uint64_t>() != sequence_ + 1 || part->size() < EncodedEntry::kFixedBytes) return false;
  at_ += EncodedEntry::kPrefixBytes + part->size();
  ++sequence_;
  return true;
}

std::optional<Entry> SegmentReader::Next() {
  const size_t begin = at_;
  if (!Skip()) return std::nullopt;
  Input input(bytes_.substr(begin + EncodedEntry::kPrefixBytes, at_ - begin - EncodedEntry::kPrefixBytes));
  const char type = input.Number<char>();
  input.Number<uint64_t>();
  Entry entry;
  entry.generation = input.Number<uint64_t>();
  entry.time = WallTime(Duration(input.Number<int64_t>()));
  switch (type) {
    case kText:
    case kBinary:
      entry.what = FrameEntry(type == kText ? FrameKind::kText : FrameKind::kBinary, input.Rest());
      break;
    case kStateChange:
      entry.what = ReadStateChange(input);
      break;
    case kResult:
      entry.what = ReadResult(input);
      break;
    case kTopicChange:
      entry.what = ReadTopicChange(input);
      break;
    case kLegChange:
      entry.what = ReadLegChange(input);
      break;
    default:
      input.Bytes(SIZE_MAX);
  }
  if (!input.WholeAndDone()) {  // Whole, and yet nothing that this version writes.
    at_ = begin;
    --sequence_;
    return std::nullopt;
  }
  return entry;
}

}  // namespace fairlead
