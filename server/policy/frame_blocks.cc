#include "policy/frame_blocks.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace fairlead {
namespace {

static_assert(std::endian::native == std::endian::little, "times go out as they stand in memory");

char* WriteVarint(char* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<char>(value);
  return out;
}

}  // namespace

size_t VarintBytes(uint64_t value) { return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7; }

void AppendVarint(std::string& out, uint64_t value) {
  char encoded[10];
  out.append(encoded, WriteVarint(encoded, value));
}

FrameEntry FrameBlocks::Append(FrameKind kind, std::string_view payload, WallTime time) {
  const size_t bytes = 1 + VarintBytes(payload.size()) + payload.size();
  FrameBlock& block = BlockFor(bytes);
  char* const begin = block.payloads_.get() + block.used_bytes_;
  *begin = kPayloadTag;
  char* const text = WriteVarint(begin + 1, payload.size());
  if (!payload.empty()) std::memcpy(text, payload.data(), payload.size());
  const auto index = static_cast<uint32_t>(block.used_frames_++);
  block.times_[index] = static_cast<uint64_t>(time.time_since_epoch().count());
  block.used_bytes_ += bytes;
  return {kind, {text, payload.size()}, block, index};
}

// Blocks grow while they are filled, and shrink where long frames leave them half empty.
FrameBlock& FrameBlocks::BlockFor(size_t bytes) {
  if (!blocks_.empty()) {
    FrameBlock& last = *blocks_.back();
    const bool has_time = last.used_frames_ < last.frames_;
    if (has_time && last.bytes_ - last.used_bytes_ >= bytes) return last;
    if (last.bytes_ <= kMostBytes) {
      const bool was_filled = !has_time || last.used_bytes_ >= last.bytes_ / 2;
      next_bytes_ = std::clamp(was_filled ? last.bytes_ * 2 : last.bytes_ / 2, kLeastBytes, kMostBytes);
    }
    if (last.released_ == last.used_frames_) DropFirst();  // Then it is the only one.
  }
  const size_t size = std::max(bytes, next_bytes_);
  const size_t frames = bytes >= next_bytes_ ? 1 : size / kShortFrame;
  blocks_.push_back(std::make_shared<FrameBlock>(size, frames));
  held_ += size + frames * sizeof(uint64_t);
  return *blocks_.back();
}

void FrameBlocks::Release() {
  FrameBlock& first = *blocks_.front();
  if (++first.released_ == first.used_frames_ && blocks_.size() > 1) DropFirst();
}

void FrameBlocks::DropFirst() {
  held_ -= blocks_.front()->bytes_ + blocks_.front()->frames_ * sizeof(uint64_t);
  blocks_.pop_front();
}

}  // namespace fairlead
