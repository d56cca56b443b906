// What connections send: feeds that number on while nobody listens, recordings, big messages. A connection pulls, so a
// slow reader costs no memory and delays nobody.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exchange/plan.h"
#include "exchange/recording.h"
#include "exchange/websocket.h"

namespace exchange {

using Clock = std::chrono::steady_clock;

// A clock-driven source of numbers 1, 2, 3 ..., shared by all connections that name it.
struct Feed {
  std::string name;
  double rate = 0;      // numbers a second; 0 = flat out: the fastest of its connections drives it
  uint64_t burst = 1;   // numbers that come at once, `rate` / `burst` times a second
  uint64_t count = 0;   // the last number; 0 = endless
  uint64_t driven = 0;  // the latest number sent to anybody
  std::optional<Clock::time_point> started{};  // when its first connection began to receive

  // The latest number that exists at `now`. Number k of a paced feed exists from Due(k), (k-1)/rate after its start; in
  // bursts, from when the first of its burst does.
  uint64_t Head(Clock::time_point now) const;
  Clock::time_point Due(uint64_t number) const;
};

// One message to be sent. `payload` is valid until the next call of Next.
struct Item {
  Opcode opcode = Opcode::kText;
  std::string_view payload;
  uint64_t number = 0;      // 0 = none
  bool compressed = false;  // `payload` is a deflate stream already
  bool unframed = false;    // `payload` goes out as it is, without framing
};

// One connection's view of what it sends.
class Source {
 public:
  enum class Outcome { kItem, kLater, kEnd };

  virtual ~Source() = default;
  // The next message that is due; kLater: nothing before `when` (time_point::max() = never again, but stay).
  virtual Outcome Next(Clock::time_point now, Item& item, Clock::time_point& when) = 0;
};

// All feeds and the recordings read so far.
class Feeds {
 public:
  explicit Feeds(std::string recordings_directory) : recordings_directory_(std::move(recordings_directory)) {}

  // What a connection with this plan will send. A numbering feed with another rate or count than its earlier
  // connections asked for, and a recording that cannot be read, is an error.
  std::expected<std::unique_ptr<Source>, std::string> Open(const Plan& plan);

  const std::map<std::string, std::shared_ptr<Feed>>& all() const { return feeds_; }
  // Forgets the feeds that no connection uses.
  void Forget();

 private:
  const std::string recordings_directory_;
  std::map<std::string, std::shared_ptr<Feed>> feeds_;
  std::map<std::string, std::shared_ptr<const Recording>> recordings_;
};

}  // namespace exchange
