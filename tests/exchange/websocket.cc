#include "exchange/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>
#include <utility>

namespace exchange {
namespace {

void AppendBigEndian(std::string& out, uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift & 0xFF));
}

uint64_t BigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

bool IsControl(Opcode opcode) { return static_cast<uint8_t>(opcode) & 8; }

bool IsKnown(Opcode opcode) {
  switch (opcode) {
    case Opcode::kContinuation:
    case Opcode::kText:
    case Opcode::kBinary:
    case Opcode::kClose:
    case Opcode::kPing:
    case Opcode::kPong:
      return true;
  }
  return false;
}

auto Violation(std::string text, uint16_t code = 1002) { return std::unexpected(ProtocolError{code, std::move(text)}); }

}  // namespace

std::string_view OpcodeName(Opcode opcode) {
  switch (opcode) {
    case Opcode::kContinuation:
      return "continuation";
    case Opcode::kText:
      return "text";
    case Opcode::kBinary:
      return "binary";
    case Opcode::kClose:
      return "close";
    case Opcode::kPing:
      return "ping";
    case Opcode::kPong:
      return "pong";
  }
  return "reserved";
}

void AppendFrame(std::string& out, Opcode opcode, std::string_view payload, FrameBits bits) {
  out.push_back(static_cast<char>((bits.fin ? 0x80 : 0) | (bits.rsv1 ? 0x40 : 0) | (bits.rsv2 ? 0x20 : 0) |
                                  static_cast<uint8_t>(opcode)));
  const int mask = bits.masked ? 0x80 : 0;
  if (payload.size() < 126) {
    out.push_back(static_cast<char>(mask | static_cast<int>(payload.size())));
  } else if (payload.size() <= 0xFFFF) {
    out.push_back(static_cast<char>(mask | 126));
    AppendBigEndian(out, payload.size(), 2);
  } else {
    out.push_back(static_cast<char>(mask | 127));
    AppendBigEndian(out, payload.size(), 8);
  }
  if (bits.masked) out.append(4, '\0');  // a mask of zeros leaves the payload readable
  out.append(payload);
}

void AppendMessage(std::string& out, Opcode opcode, std::string_view payload, uint64_t fragment_bytes,
                   bool compressed) {
  if (fragment_bytes == 0 || payload.size() <= fragment_bytes) {
    AppendFrame(out, opcode, payload, {.rsv1 = compressed});
    return;
  }
  bool first = true;
  while (!payload.empty()) {
    const std::string_view part = payload.substr(0, fragment_bytes);
    payload.remove_prefix(part.size());
    AppendFrame(out, first ? opcode : Opcode::kContinuation, part,
                {.fin = payload.empty(), .rsv1 = first && compressed});
    first = false;
  }
}

std::string ClosePayload(uint16_t code, std::string_view reason) {
  std::string payload;
  if (code == 0) return payload;
  AppendBigEndian(payload, code, 2);
  payload.append(reason);
  return payload;
}

std::string AcceptKey(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return Base64Encode({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

std::string Base64Encode(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // EVP_EncodeBlock adds a NUL
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

std::optional<std::string> Base64Decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  // EVP_DecodeBlock turns the padding into zero bytes.
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  bytes.resize(static_cast<size_t>(size) - padding);
  return bytes;
}

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto byte = [&](size_t index) { return index < text.size() ? static_cast<uint8_t>(text[index]) : 0; };
    const int lead = byte(at);
    const size_t length = lead < 0x80            ? 1
                          : lead >> 5 == 0b110   ? 2
                          : lead >> 4 == 0b1110  ? 3
                          : lead >> 3 == 0b11110 ? 4
                                                 : 0;
    if (length == 0) return false;
    uint32_t code = length == 1 ? static_cast<uint32_t>(lead) : static_cast<uint32_t>(lead) & (0x7Fu >> length);
    for (size_t index = 1; index < length; ++index) {
      if (byte(at + index) >> 6 != 0b10) return false;
      code = code << 6 | static_cast<uint32_t>(byte(at + index) & 0x3F);
    }
    constexpr std::array<uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};  // a longer form is forbidden
    if (code < kSmallest[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
    at += length;
  }
  return true;
}

std::expected<std::optional<Message>, ProtocolError> MessageParser::Next() {
  while (true) {
    const std::string_view rest = std::string_view(input_).substr(consumed_);
    const auto need_more = [&] {
      input_.erase(0, consumed_);
      consumed_ = 0;
      return std::optional<Message>();
    };
    if (rest.size() < 2) return need_more();
    const auto first = static_cast<uint8_t>(rest[0]);
    const auto second = static_cast<uint8_t>(rest[1]);
    const auto opcode = static_cast<Opcode>(first & 0x0F);
    if (first & 0x30) return Violation("RSV2 or RSV3 is set");
    if (first & 0x40 && !allow_compressed_) return Violation("RSV1 is set without permessage-deflate");
    if (!IsKnown(opcode)) return Violation("reserved opcode");
    if (!(second & 0x80)) return Violation("a client's frame must be masked");
    uint64_t length = second & 0x7F;
    if (IsControl(opcode) && (length > 125 || !(first & 0x80)))
      return Violation("a control frame is long or fragmented");
    const size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
    const size_t head = 2 + extended + 4;
    if (rest.size() < head) return need_more();
    if (extended > 0) length = BigEndian(rest.substr(2, extended));
    if (length > max_message_bytes_) return Violation("the message is too long", 1009);
    if (rest.size() < head + length) return need_more();

    std::string payload(rest.substr(head, length));
    const std::string_view mask = rest.substr(head - 4, 4);
    for (size_t index = 0; index < payload.size(); ++index) payload[index] ^= mask[index % 4];
    consumed_ += head + length;
    auto message = Accept(opcode, first & 0x80, first & 0x40, std::move(payload));
    if (!message || *message) return message;
  }
}

std::expected<std::optional<Message>, ProtocolError> MessageParser::Accept(Opcode opcode, bool fin, bool rsv1,
                                                                           std::string payload) {
  if (IsControl(opcode)) {
    if (rsv1) return Violation("a control frame is compressed");
    return Message{opcode, false, std::move(payload)};
  }
  if (opcode == Opcode::kContinuation) {
    if (!partial_) return Violation("a continuation without a beginning");
    if (rsv1) return Violation("RSV1 on a continuation");
    if (partial_->payload.size() + payload.size() > max_message_bytes_)
      return Violation("the message is too long", 1009);
    partial_->payload += payload;
  } else {
    if (partial_) return Violation("a new message inside a fragmented one");
    partial_ = Message{opcode, rsv1, std::move(payload)};
  }
  if (!fin) return std::nullopt;
  return std::exchange(partial_, std::nullopt);
}

}  // namespace exchange
