#include "rpc/response_encoder.h"

#include <utility>

namespace fairlead {
namespace {

// Tags of length-delimited fields (protobuf's wire type 2).
constexpr char kEvents = v1::AttachResponse::kEventsFieldNumber << 3 | 2;
constexpr char kBatch = v1::Event::kBatchFieldNumber << 3 | 2;
constexpr char kRuns = v1::Batch::kRunsFieldNumber << 3 | 2;
static_assert(kPayloadTag == (v1::Batch::kPayloadsFieldNumber << 3 | 2));
constexpr char kTimes = v1::Batch::kReceiveTimesUnixNsFieldNumber << 3 | 2;

// Less than this is copied: a slice of its own costs more. Measured, docs/adr/0012.
constexpr size_t kShortBytes = 512;

}  // namespace

void ResponseEncoder::Frame(uint32_t channel, uint64_t sequence, const Entry& entry) {
  const FrameEntry& frame = *entry.frame();
  const bool extends = !runs_.empty() && runs_.back().channel == channel && runs_.back().kind == frame.kind &&
                       runs_.back().generation == entry.generation &&
                       runs_.back().first_sequence + runs_.back().count == sequence;
  if (!extends) runs_.push_back({channel, sequence, 0, frame.kind, entry.generation});
  ++runs_.back().count;

  const FrameEntry placed =
      frame.block != nullptr ? frame : (lone_ ? *lone_ : lone_.emplace()).Append(frame.kind, frame.payload, entry.time);
  const std::string_view encoded = placed.encoded();
  const bool follows = !ranges_.empty() && ranges_.back().block == placed.block &&
                       ranges_.back().first + ranges_.back().count == placed.index;
  if (!follows) ranges_.push_back({placed.block, placed.index, 0, encoded.substr(0, 0)});
  Range& range = ranges_.back();
  ++range.count;
  range.payloads = {range.payloads.data(), range.payloads.size() + encoded.size()};
  ++batch_frames_;
  payloads_bytes_ += encoded.size();
  ++frames_;
  bytes_ += frame.payload.size() + 16;
}

void ResponseEncoder::Event(const v1::Event& event) {
  CloseBatch();
  const std::string encoded = event.SerializeAsString();
  open_.push_back(kEvents);
  AppendVarint(open_, encoded.size());
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
    AppendVarint(runs, encoded.size());
    runs += encoded;
  }
  const size_t times = batch_frames_ * sizeof(uint64_t);
  const size_t batch = runs.size() + payloads_bytes_ + 1 + VarintBytes(times) + times;
  open_.push_back(kEvents);
  AppendVarint(open_, 1 + VarintBytes(batch) + batch);
  open_.push_back(kBatch);
  AppendVarint(open_, batch);
  open_ += runs;
  for (const Range& range : ranges_) Append(*range.block, range.payloads.data(), range.payloads.size());
  open_.push_back(kTimes);
  AppendVarint(open_, times);
  for (const Range& range : ranges_)
    Append(*range.block, range.block->times() + range.first, range.count * sizeof(uint64_t));
  runs_.clear();
  ranges_.clear();
  batch_frames_ = 0;
  payloads_bytes_ = 0;
}

void ResponseEncoder::Append(const FrameBlock& block, const void* begin, size_t bytes) {
  if (bytes < kShortBytes) {
    open_.append(static_cast<const char*>(begin), bytes);
    return;
  }
  CloseSlice();
  auto* const shared = new std::shared_ptr<const FrameBlock>(block.shared_from_this());
  slices_.emplace_back(
      const_cast<void*>(begin), bytes,  // gRPC only reads it.
      [](void* held) { delete static_cast<std::shared_ptr<const FrameBlock>*>(held); }, shared);
}

void ResponseEncoder::CloseSlice() {
  if (open_.empty()) return;
  slices_.emplace_back(open_);
  open_.clear();
}

grpc::ByteBuffer ResponseEncoder::Finish() {
  CloseBatch();
  CloseSlice();
  grpc::ByteBuffer message(slices_.data(), slices_.size());
  slices_.clear();
  frames_ = 0;
  bytes_ = 0;
  return message;
}

}  // namespace fairlead
