// A connected byte stream as an HTTP connection sees it, and what makes one: behind interfaces, so that a test can
// drive pools and connections with virtual time.
#pragma once

#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net/connect.h"
#include "net/dial.h"

namespace fairlead {

// Loop thread. Destroying it closes it at once, and no call comes afterwards.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // One at a time; done comes once, never from within the call. No bytes: the peer has ended its side in order, and
  // nothing was being written. kConnectionLost: the connection is gone. The bytes are valid within the callback.
  using ReadDone = std::function<void(Result<std::string_view>)>;
  virtual void Read(ReadDone done) = 0;

  // Writes both, one behind the other; one write at a time. done comes once, never from within the call, with what the
  // kernel has taken: all (kSentNoReply), some (kPartlySent), or certainly not a byte (kNotSent). Where TLS cannot
  // tell, it is some.
  using WriteDone = std::function<void(Phase taken)>;
  virtual void Write(std::string head, std::string body, WriteDone done) = 0;

  // Closes at once; the read and the write under way end as failed, and tell how far they came.
  virtual void Abort() = 0;
  // Nothing has come that was not read: neither bytes nor the peer's end.
  virtual bool Quiet() const = 0;
};

struct OpenedStream {
  std::unique_ptr<ByteStream> stream;
  ConnectTimes times;
};

// Loop thread.
class Connector {
 public:
  using Done = std::function<void(Result<OpenedStream>)>;

  virtual ~Connector() = default;
  // Destroying what is returned abandons it, and done does not come. done comes once, never from within the call; a
  // failure's phase is kNotSent.
  virtual std::unique_ptr<Dialling> Open(const std::string& identity, const TargetUrl& url, Duration timeout,
                                         Done done) = 0;
};

// The real one. The arguments outlive it.
std::unique_ptr<Connector> MakeConnector(Loop& loop, const Current<Access>& access, TlsClient& tls);

}  // namespace fairlead
