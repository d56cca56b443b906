// One accepted HTTP/1.1 connection: requests in, answers in their order, faults, and the record of it all.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "exchange/accepted.h"
#include "exchange/http_answer.h"
#include "exchange/http_message.h"
#include "exchange/http_record.h"

namespace exchange {

class HttpConnection;

// What the control endpoint has prepared for the next requests.
struct Armed {
  std::string target;  // only for requests whose target contains it; empty = for any, from its first byte on
  uint64_t count = 1;  // of requests
  std::optional<HttpFault> fault{};
  std::optional<std::string> answer{};  // these bytes, in place of the endpoint's
  HttpAnswer::After after = HttpAnswer::After::kKeep;
};

// What all HTTP connections of an exchange share. Loop thread.
struct HttpShared {
  HttpRecords records;
  RecordedResponses recordings;
  std::deque<Armed> armed{};
  std::map<uint64_t, std::shared_ptr<HttpConnection>> connections{};  // by record id; leaves when it is closed
};

class HttpConnection : public Accepted {
 public:
  HttpConnection(HttpShared& shared, std::unique_ptr<Wire> wire, std::shared_ptr<HttpConnectionRecord> record);

  enum class Now { kDrop, kReset, kHalfClose };
  // At once: FIN, RST, or FIN with reading on. False: it is ending already.
  bool Misbehave(Now what);
  // Writes bytes that no request asked for. False: an answer is under way, or the connection is ending.
  bool SendUnasked(std::string bytes, HttpAnswer::After after);

  const HttpConnectionRecord& record() const { return *record_; }

 private:
  void Begin(const AcceptMode& mode) override;
  void Pump() override;
  void ReadOn() override;
  void PeerGone(error_code error) override;
  void Closed(const std::string& why) override;
  std::shared_ptr<HttpConnection> Self() { return std::static_pointer_cast<HttpConnection>(shared_from_this()); }

  // The way in. False: more bytes are needed, or nothing more is to be taken.
  void Take();  // what input_ has
  bool TakeHead();
  bool TakeBody();
  void TakeArmed();
  void LearnTarget();
  bool CutRequest(size_t taken);
  void Violated(const std::string& rule);
  void Received();

  // The way out.
  void Respond();
  void Later(std::chrono::milliseconds delay, void (HttpConnection::*step)());
  void Step();
  void Written(error_code error, size_t size, bool last, bool cut);
  void CutResponse();
  void Answered();
  void IdleFault();

  HttpShared& shared_;
  const std::shared_ptr<HttpConnectionRecord> record_;

  std::string input_;  // received, not taken yet
  bool read_under_way_ = false;
  bool deaf_ = false;                                  // what comes is thrown away
  bool next_pipelined_ = false;                        // bytes of the next request came before the answer had gone
  std::shared_ptr<HttpRequestRecord> request_record_;  // of the request under way; null = none
  std::optional<HttpRequest> request_;                 // once its head is whole
  BodyReader reader_;
  std::string body_;
  bool target_known_ = false;
  bool received_ = false;  // whole; being answered
  std::optional<Armed> armed_;
  std::optional<uint64_t> cut_request_at_;

  HttpAnswer answer_;
  bool first_written_ = false;
  std::string piece_;
  bool write_under_way_ = false;
  bool unasked_ = false;  // what is being written is no answer
  Timer answer_timer_;
  std::optional<HttpFault::Kind> idle_fault_;
  Timer idle_timer_;
};

}  // namespace exchange
