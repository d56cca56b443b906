// The owner's commands; Open and Join are in requests.cc.
#include <utility>

#include "rpc/checker.h"
#include "rpc/request_parts.h"
#include "rpc/requests.h"

namespace fairlead {
namespace {

constexpr size_t kMaxCloseReason = kMaxControlPayload - 2;  // The code has two bytes.

// Of a session that is there.
Target CheckNextTarget(Checker& check, const v1::Target& target, const SessionOptions& session, const Limits& limits,
                       const std::string& prefix) {
  Target parsed = CheckTarget(check, target, limits, prefix);
  check.Require(check.failed() || parsed.url.scheme == session.url.scheme, prefix + "target.url",
                "the scheme must be the session's, " + session.url.scheme);
  return parsed;
}

}  // namespace

Result<SendCommand> ParseSend(uint64_t id, v1::Send& send, const SessionOptions& session, const Limits& limits) {
  Checker check;
  check.NotYet(send.charges_size() != 0, "send.charges");
  check.NotYet(!send.permit().empty(), "send.permit");
  SendCommand command{.id = id, .kind = ParseFrame(check, RawFraming(session), send.kind(), send.payload(), "send")};
  command.payload = std::move(*send.mutable_payload());
  command.generation = send.generation();
  command.max_wait = check.Span(send.has_max_wait(), send.max_wait(), Duration::zero(), "send.max_wait");
  check.Require(send.setup_key().empty() || IsName(send.setup_key()), "send.setup_key", kNameRule);
  command.setup_key = send.setup_key();
  for (const std::string& key : send.forget_setup_keys()) {
    check.Require(IsName(key), "send.forget_setup_keys", kNameRule);
    command.forget_setup_keys.push_back(key);
  }
  if (!send.answers().empty()) {
    check.Require(IsName(send.answers()), "send.answers", kNameRule);
    check.Require(command.generation != 0, "send.generation",
                  "is required with answers: an answer is for one transport");
    check.Require(command.max_wait == Duration::zero(), "send.max_wait", "an answer does not wait: leave it out");
    check.Require(command.setup_key.empty() && command.forget_setup_keys.empty(), "send.answers",
                  "an answer is not stored: leave setup_key and forget_setup_keys out");
    command.answers = send.answers();
  }
  check.Require(command.forget_setup_keys.size() <= limits.setup_steps, "send.forget_setup_keys",
                "more than limits.setup_steps, " + std::to_string(limits.setup_steps));
  return check.Finish(std::move(command));
}

Result<std::string> ParsePing(const v1::Ping& ping, const SessionOptions& session) {
  Checker check;
  check.Require(!session.url.IsRawSocket(), "ping", "a raw socket has no pings");
  check.Require(ping.payload().size() <= kMaxControlPayload, "ping.payload",
                "must have at most 125 bytes (RFC 6455 section 5.5)");
  return check.Finish(ping.payload());
}

Result<Target> ParseSetTarget(const v1::SetTarget& command, const SessionOptions& session, const Limits& limits) {
  Checker check;
  check.Require(command.has_target(), "set_target.target", "is required");
  return check.Finish(CheckNextTarget(check, command.target(), session, limits, "set_target."));
}

Result<AnswerCommand> ParseAnswer(const v1::Answer& answer, const SessionOptions& session, const Limits& limits) {
  Checker check;
  check.Require(answer.key().empty(), "answer.key", "must be empty: a setup step is answered by a Send that answers");
  check.Require(answer.number() != 0, "answer.number", "is required: the Asked's");
  AnswerCommand command{.number = answer.number(), .target = {}};
  if (answer.has_target()) command.target = CheckNextTarget(check, answer.target(), session, limits, "answer.");
  return check.Finish(std::move(command));
}

Result<CloseCommand> ParseClose(const v1::Close& close, const SessionOptions& session) {
  Checker check;
  check.Require(!session.url.IsRawSocket() || (close.code() == 0 && close.reason().empty()), "close",
                "a raw socket has no close frame for a code and a reason");
  const uint32_t code = close.code() == 0 ? 1000 : close.code();
  const bool sendable =
      code == 1000 || code == 1001 || code == 1003 || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
  check.Require(sendable, "close.code", "is not a code that may be sent (RFC 6455 section 7.4)");
  check.Require(close.reason().size() <= kMaxCloseReason, "close.reason", "must have at most 123 bytes");
  return check.Finish(CloseCommand{static_cast<uint16_t>(code), close.reason()});
}

}  // namespace fairlead
