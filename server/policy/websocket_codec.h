// WebSocket framing (RFC 6455 section 5) as a client: bytes in, messages out, and back.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/failure.h"
#include "base/frame.h"
#include "policy/permessage_deflate.h"
#include "policy/utf8.h"

namespace fairlead {

// Section 7.4.1.
inline constexpr uint16_t kNoStatusReceived = 1005;
inline constexpr uint16_t kProtocolViolated = 1002;
inline constexpr uint16_t kPayloadInconsistent = 1007;
inline constexpr uint16_t kMessageTooBig = 1009;

// Section 5.2.
enum class Opcode : uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

// What one connection receives. Holds no more than one message, and next to nothing between two.
class WebSocketReader {
 public:
  // max_message_bytes holds for what is delivered, and within reason for what that is inflated from. Absent terms: what
  // is compressed is a violation.
  WebSocketReader(uint64_t max_message_bytes, const std::optional<DeflateTerms>& terms);

  enum class Found { kNothing, kMessage, kPing, kPong, kClose, kViolation };
  struct Violation {
    Failure cause;
    uint16_t close_code = kProtocolViolated;  // To answer with.
  };

  // Takes bytes from the front of `input`, up to the end of the next thing that they make whole; kNothing: took all.
  // After kClose and kViolation there is no more to read.
  Found Next(std::string_view& input);

  // kMessage: until the next call, and as long as the input is there.
  FrameKind kind() const { return kind_; }
  std::string_view payload() const { return whole_ ? *whole_ : payload_; }
  // kPing and kPong: until the next call.
  std::string_view control() const { return {control_.data(), control_size_}; }
  // kClose: 1005 if the peer gave none.
  uint16_t close_code() const;
  std::string_view close_reason() const;
  const Violation& violation() const { return *violation_; }

 private:
  bool GatherHeader(std::string_view& input);
  // Section 5.2: whether the header, now whole, may come here. False: violated.
  bool BeginFrame(size_t header_bytes);
  bool BeginMessage(Opcode opcode, bool compressed);
  bool TakePiece(std::string_view piece);
  // Of what has been inflated, what begins there is new.
  std::string_view Inflated(size_t from) const;
  bool CheckText(std::string_view more);
  Found EndFrame();
  bool CheckClose();
  bool Check(Inflater::Verdict verdict);
  bool Violate(const char* what, uint16_t close_code = kProtocolViolated);
  bool TooLong();

  const uint64_t max_message_bytes_;
  std::optional<Inflater> inflater_;  // If compression is agreed.

  // The frame that is being read.
  std::array<uint8_t, 10> header_{};
  size_t header_filled_ = 0;
  bool in_payload_ = false;
  bool final_ = false;
  Opcode opcode_ = Opcode::kContinuation;
  uint64_t frame_bytes_ = 0;  // Its payload's,
  uint64_t left_ = 0;         // and what is still to come of that.
  // The message that it belongs to; control frames may come between its frames.
  bool in_message_ = false;
  bool compressed_ = false;
  FrameKind kind_ = FrameKind::kText;
  std::optional<std::string_view> whole_;  // The payload, where the input holds all of it, as it is.
  std::string payload_;                    // Else: what there is of it so far.
  Utf8 utf8_;
  // The control frame that is being read, or was found.
  std::array<char, 125> control_{};
  size_t control_size_ = 0;
  std::optional<Violation> violation_;
};

// Appends a whole frame, masked (section 5.3). `key` must not be guessable by who chose the payload.
void AppendFrame(std::string& out, Opcode opcode, std::string_view payload, uint32_t key, bool compressed = false);

// What a close frame carries (section 5.5.1); nothing for 1005. A reason longer than 123 bytes is cut.
std::string ClosePayload(uint16_t code, std::string_view reason);

}  // namespace fairlead
