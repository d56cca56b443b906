// The server's half of the WebSocket wire format (RFC 6455): frames out, messages in. No I/O. Unlike a library's codec,
// the writing side can be told to break the rules.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace exchange {

// RFC 6455 section 5.2.
enum class Opcode : uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

std::string_view OpcodeName(Opcode opcode);

// The bits of a frame's first two bytes besides opcode and length. `masked` is what a server must never set.
struct FrameBits {
  bool fin = true;
  bool rsv1 = false;
  bool rsv2 = false;
  bool masked = false;
};

// Appends one frame. Checks nothing: the caller may ask for a frame that the RFC forbids.
void AppendFrame(std::string& out, Opcode opcode, std::string_view payload, FrameBits bits = {});

// Appends one message as frames of at most `fragment_bytes` of payload; 0 = a single frame. `compressed` sets RSV1 on
// the first one.
void AppendMessage(std::string& out, Opcode opcode, std::string_view payload, uint64_t fragment_bytes, bool compressed);

// The payload of a close frame (section 5.5.1); code 0 = no payload at all.
std::string ClosePayload(uint16_t code, std::string_view reason);

// Sec-WebSocket-Accept for a Sec-WebSocket-Key (section 4.2.2).
std::string AcceptKey(std::string_view key);

std::string Base64Encode(std::string_view bytes);
// Empty optional: not base64.
std::optional<std::string> Base64Decode(std::string_view text);

bool IsUtf8(std::string_view text);

// One message or control frame as it came in, unmasked; `compressed` when its first frame had RSV1.
struct Message {
  Opcode opcode = Opcode::kText;
  bool compressed = false;
  std::string payload;
};

// The close code that answers a violation, and what it was.
struct ProtocolError {
  uint16_t code = 0;
  std::string text;
};

// Turns a client's bytes into messages and control frames, strictly: a test wants to hear of a client that breaks the
// protocol.
class MessageParser {
 public:
  // RSV1 is allowed only when permessage-deflate was negotiated (RFC 7692 section 6).
  explicit MessageParser(bool allow_compressed = false, uint64_t max_message_bytes = 64 << 20)
      : allow_compressed_(allow_compressed), max_message_bytes_(max_message_bytes) {}

  void Append(std::string_view bytes) { input_.append(bytes); }
  // The next message or control frame; nullopt = more bytes are needed. After an error the parser is of no further use.
  std::expected<std::optional<Message>, ProtocolError> Next();

 private:
  std::expected<std::optional<Message>, ProtocolError> Accept(Opcode opcode, bool fin, bool rsv1, std::string payload);

  bool allow_compressed_;
  uint64_t max_message_bytes_;
  std::string input_;
  size_t consumed_ = 0;
  std::optional<Message> partial_;  // the fragmented message under way
};

}  // namespace exchange
