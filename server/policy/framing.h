// How the bytes of a raw socket are cut into frames, and frames made into bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/failure.h"

namespace fairlead {

// Of fairlead.v1.SocketOptions, which documents each.
struct Delimiter {
  std::string bytes = "\r\n";  // Never empty.
  friend bool operator==(const Delimiter&, const Delimiter&) = default;
};
struct LengthPrefix {
  unsigned width = 4;  // 1, 2 or 4.
  bool little_endian = false;
  bool counts_itself = false;
  friend bool operator==(const LengthPrefix&, const LengthPrefix&) = default;
};
struct Unframed {
  friend bool operator==(const Unframed&, const Unframed&) = default;
};
using Framing = std::variant<Delimiter, LengthPrefix, Unframed>;

// Whether a frame of this payload would arrive as that one frame. Failures are kInvalidField; their message names no
// field.
Result<void> CheckFrame(const Framing& framing, std::string_view payload);

// A frame as it goes out; of what CheckFrame has allowed.
std::string Enframe(const Framing& framing, std::string_view payload);

// Cuts what comes in into frames. Reads go straight into its buffer: Room, then Filled, then Next until it gives
// nothing. What it has looked at it never looks at again: an unfinished frame costs time in proportion to its length,
// however it is split.
class Deframer {
 public:
  Deframer(Framing framing, uint64_t max_frame_bytes)
      : framing_(std::move(framing)), max_frame_bytes_(max_frame_bytes) {}

  // Where the next read may write; at least one byte.
  std::span<char> Room();
  // So many bytes of the room have been filled.
  void Filled(size_t bytes);

  // The next whole frame, valid until the next call of Room; absent: more must come first. kMessageTooLong: a frame, or
  // what there is of it, is longer than allowed. kProtocolError: a length that cannot be. After a failure there is no
  // going on.
  Result<std::optional<std::string_view>> Next();

  // Bytes of a frame that is not whole: what a break would cut off.
  size_t unfinished() const { return filled_ - begin_; }

  // What it has cost so far: bytes searched, moved and cleared. In proportion to what has come; a test compares.
  uint64_t work() const { return work_; }
  // Bytes of memory held.
  size_t held() const { return buffer_.capacity(); }

 private:
  Result<std::optional<std::string_view>> NextDelimited(const Delimiter& delimiter);
  Result<std::optional<std::string_view>> NextPrefixed(const LengthPrefix& prefix);
  std::optional<std::string_view> NextUnframed();
  std::unexpected<Failure> TooLong() const;
  void Resize(size_t bytes);
  std::string_view rest() const { return std::string_view(buffer_).substr(begin_, filled_ - begin_); }

  Framing framing_;
  uint64_t max_frame_bytes_;
  std::string buffer_;  // What has come lies in [begin_, filled_); the rest is room.
  size_t begin_ = 0;    // Of the frame that is not whole yet.
  size_t filled_ = 0;
  size_t searched_ = 0;  // Of that frame: no delimiter begins in its first so many bytes.
  size_t room_ = kLeastRoom;
  uint64_t work_ = 0;

  static constexpr size_t kLeastRoom = 4096;  // An idle socket's buffer.
  static constexpr size_t kMostRoom = 64u << 10;
};

}  // namespace fairlead
