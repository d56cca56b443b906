// What an adapter asks of a session, checked and with defaults filled in. fairlead.v1.Open and Send document each
// field.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/dial.h"
#include "policy/backoff.h"
#include "policy/copies.h"
#include "policy/heartbeat.h"
#include "policy/journal.h"
#include "policy/setup.h"
#include "policy/topics.h"
#include "policy/trace_context.h"

namespace fairlead {

// Where the next transport goes.
struct Target {
  TargetUrl url;
  std::vector<RequestHeader> headers;
};

struct SessionOptions {
  TargetUrl url;
  std::vector<RequestHeader> headers;
  WebSocketOptions websocket;
  SocketOptions socket;
  Duration dial_timeout = std::chrono::seconds(10);
  HeartbeatPolicy heartbeat;
  ReconnectPolicy reconnect;
  std::vector<SetupStep> setup;
  bool ask_before_dial = false;
  std::vector<Topic> topics;
  size_t legs = 1;
  std::optional<Dedupe> dedupe = std::nullopt;
  Duration max_leg_lag = std::chrono::seconds(5);  // Zero: any.
  Journal::Limits journal;
  // How long it outlives its last subscriber, or its own end; zero: not at all.
  Duration linger = Duration::zero();
  // Of the stream that opened it, or took it over, last; for logs.
  TraceId trace = {};
};

// Whether a name was made for an anonymous session: no adapter may choose such a one.
inline bool IsAnonymous(std::string_view name) { return name.starts_with('~'); }

// Whether a live session can be taken over with other options: what its transports and entries are must be the same.
// The failure, kSessionLive, names the field.
Result<void> CheckAgree(const SessionOptions& live, const SessionOptions& wanted);

struct SendCommand {
  uint64_t id = 0;
  FrameKind kind = FrameKind::kText;
  std::string payload = {};
  uint64_t generation = 0;               // Zero: any.
  Duration max_wait = Duration::zero();  // Zero: fail at once.
  std::string setup_key = {};
  std::vector<std::string> forget_setup_keys = {};
  std::string answers = {};  // Not empty: it is the frame of this setup step, of `generation`.
};

struct CloseCommand {
  uint16_t code = 1000;  // RFC 6455 section 7.4.
  std::string reason = {};
};

}  // namespace fairlead
