// How messages become bytes and bytes become messages: WebSocket frames, or the framing of a raw socket. No I/O.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "exchange/deflate.h"
#include "exchange/feed.h"
#include "exchange/plan.h"
#include "exchange/upgrade.h"
#include "exchange/websocket.h"

namespace exchange {

class Codec {
 public:
  virtual ~Codec() = default;

  virtual void Append(std::string_view bytes) = 0;
  // The next message or control frame; nullopt = more bytes are needed. After an error the codec is of no further use.
  virtual std::expected<std::optional<Message>, ProtocolError> Next() = 0;
  // Appends one message or control frame. Raw sockets have no control frames: nothing is appended.
  virtual void Write(std::string& out, const Item& item) = 0;
  // Appends what is forbidden. False: this codec has no such rule to break.
  virtual bool Corrupt(std::string& out, Fault::Corruption corruption) = 0;
};

// `deflate`: as negotiated. `fragment`: payload bytes of a frame; 0 = a message is one frame.
std::unique_ptr<Codec> MakeWebSocketCodec(const std::optional<DeflateTerms>& deflate, uint64_t fragment);
std::unique_ptr<Codec> MakeFrameCodec(const Framing& framing);

}  // namespace exchange
