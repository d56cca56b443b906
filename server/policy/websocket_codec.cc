#include "policy/websocket_codec.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fairlead {
namespace {

constexpr uint8_t kFinal = 0x80;
constexpr uint8_t kCompressed = 0x40;  // RSV1, RFC 7692 section 6.
constexpr uint8_t kReserved = 0x70;
constexpr uint8_t kMasked = 0x80;
constexpr uint8_t kLengthIn2 = 126;
constexpr uint8_t kLengthIn8 = 127;
constexpr size_t kMaxReason = 123;
constexpr size_t kKeptBytes = 4 << 10;  // Of memory, between two messages.
constexpr const char* kNotUtf8 = "a text message is not UTF-8";

bool IsControl(Opcode opcode) { return static_cast<uint8_t>(opcode) >= 8; }

// Section 7.4: 1004 to 1006 and 1015 are never on the wire, nor is what nobody has given a meaning.
bool IsCloseCode(uint16_t code) {
  return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) || code >= 3000;
}

uint64_t BigEndian(const uint8_t* bytes, size_t count) {
  uint64_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

void AppendBigEndian(std::string& out, uint64_t value, size_t bytes) {
  for (size_t i = bytes; i > 0; --i) out.push_back(static_cast<char>(value >> (8 * (i - 1))));
}

}  // namespace

WebSocketReader::WebSocketReader(uint64_t max_message_bytes, const std::optional<DeflateTerms>& terms)
    : max_message_bytes_(max_message_bytes) {
  if (terms) inflater_.emplace(*terms);
}

WebSocketReader::Found WebSocketReader::Next(std::string_view& input) {
  if (!in_message_ && payload_.capacity() > kKeptBytes) payload_ = {};
  for (;;) {
    if (violation_) return Found::kViolation;
    if (!in_payload_) {
      if (!GatherHeader(input)) return Found::kNothing;
      if (!BeginFrame(std::exchange(header_filled_, 0))) return Found::kViolation;
      in_payload_ = true;
    }
    const std::string_view piece = input.substr(0, left_);
    if (piece.size() < left_ && piece.empty()) return Found::kNothing;
    input.remove_prefix(piece.size());
    left_ -= piece.size();
    if (!TakePiece(piece)) return Found::kViolation;
    if (left_ > 0) return Found::kNothing;
    in_payload_ = false;
    if (const Found found = EndFrame(); found != Found::kNothing) return found;
  }
}

bool WebSocketReader::GatherHeader(std::string_view& input) {
  for (;;) {
    size_t whole = 2;
    if (header_filled_ >= 2) {
      const uint8_t length = header_[1] & ~kMasked;
      whole += length == kLengthIn2 ? 2 : length == kLengthIn8 ? 8 : 0;
      if (header_filled_ == whole) return true;
    }
    const size_t bytes = std::min(whole - header_filled_, input.size());
    if (bytes == 0) return false;
    std::memcpy(header_.data() + header_filled_, input.data(), bytes);
    header_filled_ += bytes;
    input.remove_prefix(bytes);
  }
}

bool WebSocketReader::BeginFrame(size_t header_bytes) {
  final_ = (header_[0] & kFinal) != 0;
  opcode_ = static_cast<Opcode>(header_[0] & 0x0f);
  const bool compressed = (header_[0] & kCompressed) != 0;
  const size_t length_bytes = header_bytes - 2;
  left_ = length_bytes == 0 ? header_[1] & ~kMasked : BigEndian(header_.data() + 2, length_bytes);
  frame_bytes_ = left_;

  if ((header_[0] & kReserved & ~kCompressed) != 0) return Violate("a reserved bit is set");
  if ((header_[1] & kMasked) != 0) return Violate("a frame is masked");
  if ((length_bytes == 2 && left_ < kLengthIn2) || (length_bytes == 8 && (left_ <= 0xffff || left_ >> 63 != 0)))
    return Violate("a length is not in its shortest form");
  if (IsControl(opcode_)) {
    if (opcode_ > Opcode::kPong) return Violate("an opcode is reserved");
    if (compressed) return Violate("a control frame is compressed");
    if (!final_) return Violate("a control frame is fragmented");
    if (left_ > control_.size()) return Violate("a control frame is longer than 125 bytes");
    control_size_ = 0;
    return true;
  }
  if (opcode_ > Opcode::kBinary) return Violate("an opcode is reserved");
  if (opcode_ == Opcode::kContinuation) {
    if (!in_message_) return Violate("a continuation continues nothing");
    if (compressed) return Violate("a continuation is marked as compressed");
  } else if (!BeginMessage(opcode_, compressed)) {
    return false;
  }
  if (compressed_) return true;
  return left_ <= max_message_bytes_ - payload_.size() || TooLong();
}

bool WebSocketReader::BeginMessage(Opcode opcode, bool compressed) {
  if (in_message_) return Violate("a message begins within another");
  if (compressed && !inflater_) return Violate("a message is compressed, which was not agreed");
  in_message_ = true;
  compressed_ = compressed;
  kind_ = opcode == Opcode::kText ? FrameKind::kText : FrameKind::kBinary;
  whole_.reset();
  payload_.clear();
  utf8_ = {};
  return true;
}

bool WebSocketReader::TakePiece(std::string_view piece) {
  if (piece.empty()) return true;
  if (IsControl(opcode_)) {
    std::memcpy(control_.data() + control_size_, piece.data(), piece.size());
    control_size_ += piece.size();
    return true;
  }
  if (compressed_) {
    const size_t before = payload_.size();
    const auto verdict = inflater_->Feed(piece, payload_, max_message_bytes_);
    return CheckText(Inflated(before)) && Check(verdict);
  }
  const bool is_all = left_ == 0 && final_ && opcode_ != Opcode::kContinuation && piece.size() == frame_bytes_;
  if (is_all) {
    whole_ = piece;
  } else {
    payload_.reserve(payload_.size() + piece.size() + left_);
    payload_.append(piece);
  }
  return CheckText(piece);
}

// What is beyond the limit has another fault.
std::string_view WebSocketReader::Inflated(size_t from) const {
  return std::string_view(payload_).substr(0, max_message_bytes_).substr(from);
}

bool WebSocketReader::CheckText(std::string_view more) {
  return kind_ != FrameKind::kText || utf8_.Feed(more) || Violate(kNotUtf8, kPayloadInconsistent);
}

WebSocketReader::Found WebSocketReader::EndFrame() {
  switch (opcode_) {
    case Opcode::kPing:
      return Found::kPing;
    case Opcode::kPong:
      return Found::kPong;
    case Opcode::kClose:
      return CheckClose() ? Found::kClose : Found::kViolation;
    default:
      break;
  }
  if (!final_) return Found::kNothing;
  in_message_ = false;
  if (compressed_) {
    const size_t before = payload_.size();
    const auto verdict = inflater_->Finish(payload_, max_message_bytes_);
    if (!CheckText(Inflated(before)) || !Check(verdict)) return Found::kViolation;
  }
  if (kind_ == FrameKind::kText && !utf8_.complete()) {
    Violate(kNotUtf8, kPayloadInconsistent);
    return Found::kViolation;
  }
  return Found::kMessage;
}

uint16_t WebSocketReader::close_code() const {
  const auto* bytes = reinterpret_cast<const uint8_t*>(control_.data());
  return control_size_ < 2 ? kNoStatusReceived : static_cast<uint16_t>(BigEndian(bytes, 2));
}

std::string_view WebSocketReader::close_reason() const {
  return control_size_ < 2 ? std::string_view() : control().substr(2);
}

bool WebSocketReader::CheckClose() {
  if (control_size_ == 1) return Violate("a close frame has one byte");
  if (control_size_ >= 2 && !IsCloseCode(close_code())) return Violate("a close code may not be sent");
  if (!IsUtf8(close_reason())) return Violate("a close reason is not UTF-8", kPayloadInconsistent);
  return true;
}

bool WebSocketReader::Check(Inflater::Verdict verdict) {
  switch (verdict) {
    case Inflater::Verdict::kGood:
      return true;
    case Inflater::Verdict::kTooLong:
      return TooLong();
    case Inflater::Verdict::kCorrupt:
      break;
  }
  return Violate("a message does not inflate");
}

bool WebSocketReader::Violate(const char* what, uint16_t close_code) {
  violation_ = {
      {Reason::kProtocolError, Phase::kUnspecified, std::string("the exchange broke the WebSocket protocol: ") + what},
      close_code};
  whole_.reset();
  payload_ = {};
  return false;
}

bool WebSocketReader::TooLong() {
  violation_ = {{Reason::kMessageTooLong, Phase::kUnspecified,
                 "a message is longer than websocket.max_message_bytes, " + std::to_string(max_message_bytes_)},
                kMessageTooBig};
  whole_.reset();
  payload_ = {};
  return false;
}

void AppendFrame(std::string& out, Opcode opcode, std::string_view payload, uint32_t key, bool compressed) {
  out.reserve(out.size() + 14 + payload.size());
  out.push_back(static_cast<char>(kFinal | (compressed ? kCompressed : 0) | static_cast<uint8_t>(opcode)));
  if (payload.size() < kLengthIn2) {
    out.push_back(static_cast<char>(kMasked | payload.size()));
  } else if (payload.size() <= 0xffff) {
    out.push_back(static_cast<char>(kMasked | kLengthIn2));
    AppendBigEndian(out, payload.size(), 2);
  } else {
    out.push_back(static_cast<char>(kMasked | kLengthIn8));
    AppendBigEndian(out, payload.size(), 8);
  }
  std::array<char, 4> mask;
  std::memcpy(mask.data(), &key, sizeof(key));
  out.append(mask.data(), mask.size());
  const size_t begin = out.size();
  out.append(payload);
  char* const masked = out.data() + begin;
  size_t at = 0;
  for (const uint64_t twice = uint64_t{key} << 32 | key; at + sizeof(twice) <= payload.size(); at += sizeof(twice)) {
    uint64_t eight = 0;
    std::memcpy(&eight, masked + at, sizeof(eight));
    eight ^= twice;
    std::memcpy(masked + at, &eight, sizeof(eight));
  }
  for (; at < payload.size(); ++at) masked[at] = static_cast<char>(masked[at] ^ mask[at % 4]);
}

std::string ClosePayload(uint16_t code, std::string_view reason) {
  std::string payload;
  if (code == kNoStatusReceived) return payload;
  AppendBigEndian(payload, code, 2);
  payload += reason.substr(0, kMaxReason);
  return payload;
}

}  // namespace fairlead
