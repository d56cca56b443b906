// One kept-alive HTTP/1.1 connection: one request at a time, written whole and answered whole.
//
//   IDLE --Send--> BUSY --answer, may go on--> SETTLING --nothing follows--> IDLE
//     |             |                              |
//     +-------------+-- anything else -------------+--> CLOSED
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/failure.h"
#include "base/time.h"
#include "net/byte_stream.h"
#include "policy/http_response.h"

namespace fairlead {

// What an exchange answered.
struct Answer {
  unsigned status = 0;
  std::vector<Header> headers = {};
  std::string body = {};
  Duration first_byte = Duration::zero();  // From the start of writing to the first byte of the response.
};

// Loop thread. Destroying it closes it at once; no call comes afterwards.
class Connection {
 public:
  enum class State {
    kIdle,      // May carry a request.
    kBusy,      // Carries one.
    kSettling,  // Has been answered; a turn of the loop shows whether something follows that nobody asked for.
    kClosed,
  };

  // How many connections there are in each state; each counts itself.
  using Tally = std::array<size_t, 4>;

  // The callback runs after each change of state but that to BUSY, never from within a call; the connection may be
  // destroyed in it.
  Connection(std::unique_ptr<ByteStream> stream, Timers& timers, Tally& tally,
             std::function<void(Connection&)> changed);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  struct Request {
    std::string head;  // As RequestHead makes it.
    std::string body;
    bool to_head = false;  // Answered without a body.
    ResponseReader::Limits limits;
    // Bytes of the response's body so far; a failure ends the exchange with it.
    std::function<Result<void>(size_t body_bytes)> grew;
  };
  using Done = std::function<void(Result<Answer>)>;
  // When IDLE. done comes once, never from within the call, and before the change of state; a failure's phase is exact
  // as far as the kernel tells.
  void Send(Request request, Done done);
  // Ends the request under way with this reason and the phase that it has reached; done still comes. Nothing if none is
  // under way.
  void Cancel(Reason reason, std::string message);

  State state() const { return state_; }
  // IDLE and nothing has come since: a request may be written. Asks the kernel.
  bool Usable() const { return state_ == State::kIdle && stream_->Quiet(); }
  // It has carried a request before.
  bool used() const { return requests_ > 0; }
  SteadyTime idle_since() const { return idle_since_; }

 private:
  // The only place where the state changes.
  void Enter(State state);
  void Read();
  void DidRead(Result<std::string_view> bytes);
  void DidWrite(Phase taken);
  void Take(std::string_view bytes);
  void Complete(bool more_follows);
  void Fail(Failure failure);
  void Close();
  void Tell(Result<Answer> outcome);
  Phase Reached() const;

  std::unique_ptr<ByteStream> stream_;
  Timers& timers_;
  Tally& tally_;
  std::function<void(Connection&)> changed_;
  State state_ = State::kIdle;
  uint64_t requests_ = 0;
  SteadyTime idle_since_;

  // Of the request under way.
  std::optional<ResponseReader> reader_;
  std::function<Result<void>(size_t)> grew_;
  Done done_;
  SteadyTime began_;
  std::optional<SteadyTime> first_byte_at_;
  bool writing_ = false;
  Phase taken_ = Phase::kNotSent;
  std::optional<Result<Answer>> outcome_;  // Known, and told when the write has ended.

  // What is posted to the loop and finds this gone does nothing.
  std::shared_ptr<Connection*> self_;
};

}  // namespace fairlead
