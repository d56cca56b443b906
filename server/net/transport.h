// One live connection to an exchange, as a session sees it: whole frames in, whole frames out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/frame.h"
#include "policy/ip_address.h"
#include "policy/lifecycle.h"

namespace fairlead {

// Loop thread. Destroying it closes the connection at once; no call comes afterwards.
class Transport {
 public:
  class Listener {
   public:
    // The payload is there until it returns.
    virtual void Received(FrameKind kind, std::string_view payload) = 0;
    // What is received from here on came with one read, until ReadEnds: what has to be done once need not be done for
    // each frame. Not every transport says so; a frame outside stands for itself. ReadEnds comes unless the transport
    // is destroyed before, and never after Ended.
    virtual void ReadBegins() {}
    virtual void ReadEnds() {}
    virtual void Ponged(std::string_view payload) = 0;
    // The write under way is in the kernel, whole.
    virtual void Written() = 0;
    // The last call, exactly one. The listener may destroy the transport in it.
    virtual void Ended(const Loss& loss) = 0;

   protected:
    ~Listener() = default;
  };

  virtual ~Transport() = default;

  // Begins to read. Once, before any other call; the listener outlives the transport.
  virtual void Start(Listener& listener) = 0;
  // One write at a time: Write or Ping, then Written or Ended.
  virtual void Write(FrameKind kind, std::string payload) = 0;
  virtual void Ping(std::string payload) = 0;
  // Says goodbye (RFC 6455 section 7.1.2) and ends, with or without an answer, within two seconds. Frames may still
  // come until Ended.
  virtual void Close(uint16_t code, std::string reason) = 0;
  // Bytes that the peer's kernel has acknowledged so far: whether a slow write moves.
  virtual uint64_t BytesAcknowledged() const = 0;
  // Where it is connected to; absent: it cannot tell.
  virtual std::optional<IpAddress> address() const = 0;
};

}  // namespace fairlead
