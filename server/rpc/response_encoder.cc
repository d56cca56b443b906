#include "rpc/response_encoder.h"

#include <bit>
#include <cstring>
#include <utility>

namespace fairlead {
namespace {

static_assert(std::endian::native == std::endian::little, "fixed64 columns are copied as they are");

// Tags of length-delimited fields (protobuf's wire type 2).
constexpr char kEvents = v1::AttachResponse::kEventsFieldNumber << 3 | 2;
constexpr char kBatch = v1::Event::kBatchFieldNumber << 3 | 2;
constexpr char kRuns = v1::Batch::kRunsFieldNumber << 3 | 2;
constexpr char kPayloads = v1::Batch::kPayloadsFieldNumber << 3 | 2;
constexpr char kTimes = v1::Batch::kReceiveTimesUnixNsFieldNumber << 3 | 2;

void Varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

size_t VarintBytes(uint64_t value) { return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7; }

// A slice that owns the text.
grpc::Slice ToSlice(std::string text) {
  auto* owned = new std::string(std::move(text));
  return {owned->data(), owned->size(), [](void* held) { delete static_cast<std::string*>(held); }, owned};
}

}  // namespace

void ResponseEncoder::Frame(uint32_t channel, uint64_t sequence, const Entry& entry) {
  const FrameEntry& frame = *entry.frame();
  const bool extends = !runs_.empty() && runs_.back().channel == channel && runs_.back().kind == frame.kind &&
                       runs_.back().generation == entry.generation &&
                       runs_.back().first_sequence + runs_.back().count == sequence;
  if (!extends) runs_.push_back({channel, sequence, 0, frame.kind, entry.generation});
  ++runs_.back().count;
  payloads_.push_back(kPayloads);
  Varint(payloads_, frame.payload.size());
  payloads_ += frame.payload;
  const auto time = static_cast<uint64_t>(entry.time.time_since_epoch().count());
  char encoded[sizeof(time)];
  std::memcpy(encoded, &time, sizeof(time));
  times_.append(encoded, sizeof(time));
  ++frames_;
  bytes_ += frame.payload.size() + 16;
}

void ResponseEncoder::Event(const v1::Event& event) {
  CloseBatch();
  const std::string encoded = event.SerializeAsString();
  open_.push_back(kEvents);
  Varint(open_, encoded.size());
  open_ += encoded;
  bytes_ += encoded.size() + 8;
}

void ResponseEncoder::CloseBatch() {
  if (runs_.empty()) return;
  std::string runs;
  for (const Run& run : runs_) {
    v1::Run proto;
    proto.set_channel(run.channel);
    proto.set_first_sequence(run.first_sequence);
    proto.set_count(run.count);
    proto.set_kind(static_cast<v1::FrameKind>(run.kind));
    proto.set_generation(run.generation);
    const std::string encoded = proto.SerializeAsString();
    runs.push_back(kRuns);
    Varint(runs, encoded.size());
    runs += encoded;
  }
  const size_t batch = runs.size() + payloads_.size() + 1 + VarintBytes(times_.size()) + times_.size();
  open_.push_back(kEvents);
  Varint(open_, 1 + VarintBytes(batch) + batch);
  open_.push_back(kBatch);
  Varint(open_, batch);
  open_ += runs;
  slices_.push_back(ToSlice(std::exchange(open_, {})));
  slices_.push_back(ToSlice(std::exchange(payloads_, {})));
  open_.push_back(kTimes);
  Varint(open_, times_.size());
  open_ += std::exchange(times_, {});
  runs_.clear();
}

grpc::ByteBuffer ResponseEncoder::Finish() {
  CloseBatch();
  if (!open_.empty()) slices_.push_back(ToSlice(std::exchange(open_, {})));
  grpc::ByteBuffer message(slices_.data(), slices_.size());
  slices_.clear();
  frames_ = 0;
  bytes_ = 0;
  return message;
}

}  // namespace fairlead
