// An accepted connection of any kind at its two ends: how it is received, and how it goes.
#pragma once

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "exchange/wire.h"

namespace exchange {

using Clock = std::chrono::steady_clock;

// How new connections are received.
struct AcceptMode {
  enum class Kind { kNormal, kRefuse, kReset, kSilent, kNeverUpgrade, kSlowHandshake };
  Kind kind = Kind::kNormal;
  std::chrono::milliseconds delay{0};  // of kSlowHandshake
};

// Loop thread. Owned by Shared and by its own pending operations.
class Accepted : public std::enable_shared_from_this<Accepted> {
 public:
  virtual ~Accepted() = default;

  // Receives the client as `mode` says.
  void Start(const AcceptMode& mode);
  // Ends the connection with RST, at once.
  void Abort(const std::string& why);

 protected:
  using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, asio::io_context::executor_type>;
  // What is left to do once everything that is queued has been written.
  enum class Ending { kNone, kFin, kFinButRead, kReset, kGoodbye };

  explicit Accepted(std::unique_ptr<Wire> wire);

  virtual void Begin(const AcceptMode& mode) = 0;  // TLS is done: the client's first bytes come next
  virtual void Pump() = 0;                         // writes what there is; then ends, if that was asked for
  virtual void ReadOn() = 0;
  virtual void PeerGone(error_code error) = 0;      // reading or writing failed: calls Close
  virtual void Closed(const std::string& why) = 0;  // the socket is closed: remembers it. Once.

  void End(Ending ending, const std::string& why);
  // Everything has been written: performs the ending that was asked for.
  void Depart();
  void Close(const std::string& why);
  bool closed() const { return closed_; }
  static bool IsEof(error_code error);

  const std::unique_ptr<Wire> wire_;
  std::array<char, 65536> read_buffer_;
  Ending ending_ = Ending::kNone;
  std::string ending_why_;
  bool half_closed_ = false;
  Timer end_timer_;

 private:
  void ResetWhenDelivered(Clock::time_point deadline);

  bool closed_ = false;
};

}  // namespace exchange
