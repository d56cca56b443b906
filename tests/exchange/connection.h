// One accepted WebSocket or raw socket: upgrade or preamble, feed, answers, faults, and the record of it all.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "exchange/accepted.h"
#include "exchange/codec.h"
#include "exchange/feed.h"
#include "exchange/plan.h"
#include "exchange/record.h"
#include "exchange/upgrade.h"
#include "exchange/wire.h"

namespace exchange {

class Connection;

// What all WebSockets and raw sockets of an exchange share. Loop thread.
struct Shared {
  Records records;
  Feeds feeds;
  std::map<uint64_t, std::shared_ptr<Connection>> connections{};  // by record id; a connection leaves when it is closed
};

class Connection : public Accepted {
 public:
  Connection(Shared& shared, std::unique_ptr<Wire> wire, std::shared_ptr<ConnectionRecord> record);

  // False: the fault makes no sense now (connection not open, or a fault of connect time).
  bool Apply(const Fault& fault);
  // Sends a message or control frame outside the feed. False: the connection is not open.
  bool Send(Opcode opcode, std::string_view payload);

  const ConnectionRecord& record() const { return *record_; }

 private:
  void Begin(const AcceptMode& mode) override;
  void Pump() override;
  void ReadOn() override;
  void PeerGone(error_code error) override;
  void Closed(const std::string& why) override;
  std::shared_ptr<Connection> Self() { return std::static_pointer_cast<Connection>(shared_from_this()); }

  void ReadHead();
  void ReceiveUpgrade(const HttpRequest& request);
  void ReceivePreamble(std::string_view line);
  void Prepare(const std::string& target_text, std::optional<HttpRequest> upgrade);
  void Refuse(int status, const std::string& why);
  void Answer(const std::optional<HttpRequest>& upgrade, const Plan& plan);
  void Opened(const Plan& plan, const UpgradeAnswer& answer);
  void Parse();
  void Receive(Message message);
  void AnswerText(const std::string& text);
  void ReceiveClose(const std::string& payload);
  void BeginClose(uint16_t code, std::string_view reason);

  void Queue(Opcode opcode, std::string_view payload, bool of_feed);
  void AppendTo(std::string& out, const Item& item, bool of_feed);
  void AppendPartial();
  void Write();
  void Fill();
  void PullFeed(size_t until_bytes);
  void Flushed();

  Shared& shared_;
  const std::shared_ptr<ConnectionRecord> record_;

  Plan plan_;
  std::unique_ptr<Codec> codec_;
  std::unique_ptr<Source> source_;
  bool feeding_ = false;
  bool logged_in_ = false;

  std::string input_;      // the upgrade request, or the preamble, as far as it has come
  std::string pending_;    // frames waiting for the write under way
  std::string writing_;    // what is being written
  size_t written_ = 0;     // of writing_
  size_t head_bytes_ = 0;  // of pending_: the upgrade's answer, which bytes_sent does not count
  bool write_under_way_ = false;
  bool read_under_way_ = false;
  bool write_failed_ = false;

  // Faults in force.
  bool fault_due_ = false;
  bool stalled_ = false;
  bool silent_ = false;
  bool no_pong_ = false;
  bool never_read_ = false;
  std::optional<uint64_t> cut_at_byte_;

  bool closing_ = false;  // a close frame was sent: nothing follows it
  Timer feed_timer_;
  Timer fault_timer_;
  Timer write_timer_;
  Timer close_timer_;
};

}  // namespace exchange
