// One accepted connection: upgrade, feed, answers, faults, and the record of it all.
#pragma once

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "exchange/deflate.h"
#include "exchange/feed.h"
#include "exchange/plan.h"
#include "exchange/record.h"
#include "exchange/upgrade.h"
#include "exchange/wire.h"

namespace exchange {

class Connection;

// How new connections are received.
struct AcceptMode {
  enum class Kind { kNormal, kRefuse, kReset, kSilent, kNeverUpgrade, kSlowHandshake };
  Kind kind = Kind::kNormal;
  std::chrono::milliseconds delay{0};  // of kSlowHandshake
};

// What all connections of an exchange share. Loop thread.
struct Shared {
  Records records;
  Feeds feeds;
  AcceptMode accept{};
  std::map<uint64_t, std::shared_ptr<Connection>> connections{};  // by record id; a connection leaves when it is closed
};

// Loop thread. Owned by Shared and by its own pending operations.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Shared& shared, std::unique_ptr<Wire> wire, std::shared_ptr<ConnectionRecord> record);

  // Receives the client as `mode` says.
  void Start(AcceptMode mode);
  // False: the fault makes no sense now (connection not open, or a fault of connect time).
  bool Apply(const Fault& fault);
  // Sends a message or control frame outside the feed. False: the connection is not open.
  bool Send(Opcode opcode, std::string_view payload);
  // Ends the connection with RST, at once.
  void Abort(const std::string& why);

  const ConnectionRecord& record() const { return *record_; }

 private:
  // What is left to do once everything that is queued has been written.
  enum class Ending { kNone, kFin, kFinButRead, kReset, kGoodbye };

  void ReadUpgrade();
  void Answer(const HttpRequest& request, const Plan& plan);
  void Opened(const Plan& plan, const UpgradeAnswer& answer);
  void ReadOn();
  void Parse();
  void Receive(Message message);
  void AnswerText(const std::string& text);
  void StartFeed();
  void ReceiveClose(const std::string& payload);
  void BeginClose(uint16_t code, std::string_view reason);

  void Queue(Opcode opcode, std::string_view payload, bool of_feed);
  void AppendTo(std::string& out, const Item& item, bool of_feed);
  void AppendCorrupt(Fault::Corruption corruption);
  void Pump();
  void Fill();
  void PullFeed(size_t until_bytes);
  void Flushed();
  void End(Ending ending, const std::string& why);
  void ResetWhenDelivered(Clock::time_point deadline);
  void PeerGone(error_code error);
  void Close(const std::string& why);

  Shared& shared_;
  const std::unique_ptr<Wire> wire_;
  const std::shared_ptr<ConnectionRecord> record_;

  Plan plan_;
  MessageParser parser_;
  std::optional<Deflater> deflater_;
  std::unique_ptr<Source> source_;
  bool feeding_ = false;
  bool logged_in_ = false;

  std::string input_;    // the upgrade request as far as it has come
  std::string pending_;  // frames waiting for the write under way
  std::string writing_;
  bool write_under_way_ = false;
  bool read_under_way_ = false;
  bool write_failed_ = false;
  std::array<char, 65536> read_buffer_;

  // Faults in force.
  bool fault_due_ = false;
  bool stalled_ = false;
  bool silent_ = false;
  bool no_pong_ = false;
  bool never_read_ = false;
  bool half_closed_ = false;
  std::optional<uint64_t> cut_at_byte_;

  bool closing_ = false;  // a close frame was sent: nothing follows it
  Ending ending_ = Ending::kNone;
  std::string ending_why_;
  asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, asio::io_context::executor_type> feed_timer_;
  asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, asio::io_context::executor_type> fault_timer_;
  asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, asio::io_context::executor_type> end_timer_;
};

}  // namespace exchange
