// From the API's requests to the session's options: checked whole, defaults filled in. What this version does not
// honour is refused by name.
#pragma once

#include <fairlead/v1/session.pb.h>

#include <optional>
#include <string_view>

#include "base/limits.h"
#include "policy/flush.h"
#include "session/options.h"
#include "session/subscription.h"

namespace fairlead {

// How a channel wants its entries.
struct DeliveryOptions {
  Overflow overflow = Overflow::kSkip;
  Duration max_delay = Flush::kDefaultWindow;
};

struct OpenRequest {
  std::string session;  // Empty: anonymous.
  Start start;
  DeliveryOptions delivery;
  SessionOptions options;
};

struct JoinRequest {
  std::string session;
  std::string identity;  // Empty: the caller's own.
  Start start;
  DeliveryOptions delivery;
};

// Room that an event needs in a message beside its frame's payload.
inline constexpr uint64_t kMessageOverheadBytes = 4096;

Result<OpenRequest> ParseOpen(const v1::Open& open, const Limits& limits);
Result<JoinRequest> ParseJoin(const v1::Join& join);
// The owner's commands, to a session with these options.
Result<SendCommand> ParseSend(uint64_t id, v1::Send& send, const SessionOptions& session,
                              const Limits& limits);  // Takes the payload.
Result<std::string> ParsePing(const v1::Ping& ping, const SessionOptions& session);
Result<Target> ParseSetTarget(const v1::SetTarget& command, const SessionOptions& session, const Limits& limits);
struct AnswerCommand {
  uint64_t number = 0;
  std::optional<Target> target;
};
Result<AnswerCommand> ParseAnswer(const v1::Answer& answer, const SessionOptions& session, const Limits& limits);
Result<CloseCommand> ParseClose(const v1::Close& close, const SessionOptions& session);
Result<Start> ParseStart(const v1::Start& start, std::string_view path);

}  // namespace fairlead
