// What an HTTP request is answered with, and how the exchange misbehaves at it: both chosen by path and query.
// README.md describes the endpoints and faults.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "exchange/http_message.h"
#include "exchange/plan.h"
#include "exchange/recording.h"

namespace exchange {

struct HttpFault {
  enum class Kind {
    kResetRequestAt,   // RST after `byte` bytes of the request
    kResetResponseAt,  // RST after `byte` bytes of the response are delivered
    kCloseResponseAt,  // FIN there
    kStallAt,          // silence from there on; reads
    kNeverAnswer,
    kCloseIdle,  // FIN when the connection has been idle for `idle` after the answer
    kResetIdle,  // RST then
    kHalfClose,  // FIN `idle` after the answer; reads on, and answers nothing
  };
  Kind kind = Kind::kNeverAnswer;
  uint64_t byte = 0;
  std::chrono::milliseconds idle{0};
  bool goodbye = false;  // of kCloseResponseAt with TLS: close_notify before the FIN
};

std::string_view HttpFaultName(HttpFault::Kind kind);
// Reads and removes the parameters of fault `name`: byte, idle_ms, goodbye. The error says what is wrong.
std::expected<HttpFault, std::string> TakeHttpFault(const std::string& name, Parameters& parameters);

struct HttpAnswer {
  enum class After { kKeep, kClose, kFin, kReset };

  int status = 0;       // 0 = raw bytes
  std::string first{};  // head, and what of the body is there at once
  // Appends the next piece of the body; false = that was the last. Empty: `first` is all.
  std::move_only_function<bool(std::string&)> more{};
  std::chrono::milliseconds before{0};       // the first byte
  std::chrono::milliseconds before_body{0};  // between `first` and the first piece of `more`
  std::chrono::milliseconds between{0};      // the pieces of `more`
  After after = After::kKeep;
  std::optional<HttpFault> fault{};
};

// The query of a target, undone; of repeated or malformed parameters only the first, or nothing. Never fails.
Parameters LenientQuery(std::string_view target);

// The bodies of the recorded HTTP responses, read once.
class RecordedResponses {
 public:
  explicit RecordedResponses(std::string directory) : directory_(std::move(directory)) {}
  std::expected<const Responses*, std::string> Get(const std::string& name);

 private:
  const std::string directory_;
  std::map<std::string, Responses> read_;
};

// The id of an order: `?id=`, else the first line of the body.
std::string OrderId(const Parameters& query, std::string_view body);

// What is wrong with the request (no such endpoint, an unknown parameter) is an answer of status 404, 405 or 400.
// `index`: of the request on its connection, from 1.
HttpAnswer MakeHttpAnswer(const HttpRequest& request, const std::string& body, uint64_t index,
                          RecordedResponses& recordings);

}  // namespace exchange
