// The frames of a journal, in large blocks: payloads and times one behind the other, as the columns of
// fairlead.v1.Batch stand on the wire. So a frame is copied when it arrives and never again: what subscribers are sent
// are ranges of a block, however many subscribers and frames there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "base/frame.h"
#include "base/time.h"

namespace fairlead {

// Before each payload stand this tag, of Batch.payloads, and the payload's length as a varint.
inline constexpr char kPayloadTag = 2 << 3 | 2;
void AppendVarint(std::string& out, uint64_t value);
size_t VarintBytes(uint64_t value);

// Filled by FrameBlocks, which is one of its owners. What has been written stays as it is, so that any thread may read
// it, while more is written behind it.
class FrameBlock : public std::enable_shared_from_this<FrameBlock> {
 public:
  FrameBlock(size_t bytes, size_t frames)
      : payloads_(std::make_unique_for_overwrite<char[]>(bytes)),
        times_(std::make_unique_for_overwrite<uint64_t[]>(frames)),
        bytes_(bytes),
        frames_(frames) {}

  // In nanoseconds since 1970, little-endian, one a frame.
  const uint64_t* times() const { return times_.get(); }

 private:
  friend class FrameBlocks;
  const std::unique_ptr<char[]> payloads_;
  const std::unique_ptr<uint64_t[]> times_;
  const size_t bytes_;
  const size_t frames_;
  size_t used_bytes_ = 0;
  size_t used_frames_ = 0;
  size_t released_ = 0;
};

struct FrameEntry {
  FrameKind kind = FrameKind::kText;
  uint32_t index = 0;  // Among the frames of its block: those next to each other lie next to each other.
  std::string_view payload;
  const FrameBlock* block = nullptr;  // Null: it is in none, and somebody else keeps the payload.

  FrameEntry() = default;
  FrameEntry(FrameKind k, std::string_view p) : kind(k), payload(p) {}
  FrameEntry(FrameKind k, std::string_view p, const FrameBlock& b, uint32_t i)
      : kind(k), index(i), payload(p), block(&b) {}

  // In a block: the payload with what stands before it there.
  std::string_view encoded() const {
    const size_t prefix = 1 + VarintBytes(payload.size());
    return {payload.data() - prefix, prefix + payload.size()};
  }
};

// Loop thread.
class FrameBlocks {
 public:
  static constexpr size_t kLeastBytes = 2u << 10;  // Sessions may be many, and quiet.
  static constexpr size_t kMostBytes = 64u << 10;  // But for a frame that is longer. A slow reader holds whole blocks.
  // A block has room for as many times as it would for payloads of this length.
  static constexpr size_t kShortFrame = 64;

  // Copies the frame. It stays where it is until it is released, or longer if somebody shares its block.
  FrameEntry Append(FrameKind kind, std::string_view payload, WallTime time);
  // The oldest that is left.
  void Release();

  // Of memory.
  size_t held() const { return held_; }

 private:
  FrameBlock& BlockFor(size_t bytes);
  void DropFirst();

  std::deque<std::shared_ptr<FrameBlock>> blocks_;
  size_t next_bytes_ = kLeastBytes;
  size_t held_ = 0;
};

}  // namespace fairlead
