#include "base/failure.h"

namespace fairlead {

std::string_view Name(Reason reason) {
  switch (reason) {
    case Reason::kUnspecified:
      return "UNSPECIFIED";
    case Reason::kInvalidField:
      return "INVALID_FIELD";
    case Reason::kUnknownField:
      return "UNKNOWN_FIELD";
    case Reason::kNotImplemented:
      return "NOT_IMPLEMENTED";
    case Reason::kEgressDenied:
      return "EGRESS_DENIED";
    case Reason::kSessionNotFound:
      return "SESSION_NOT_FOUND";
    case Reason::kSessionLive:
      return "SESSION_LIVE";
    case Reason::kChannelInUse:
      return "CHANNEL_IN_USE";
    case Reason::kChannelUnknown:
      return "CHANNEL_UNKNOWN";
    case Reason::kNotOwner:
      return "NOT_OWNER";
    case Reason::kNotOpen:
      return "NOT_OPEN";
    case Reason::kWrongGeneration:
      return "WRONG_GENERATION";
    case Reason::kWaitExpired:
      return "WAIT_EXPIRED";
    case Reason::kLimitReached:
      return "LIMIT_REACHED";
    case Reason::kOverflow:
      return "OVERFLOW";
    case Reason::kNotAsked:
      return "NOT_ASKED";
    case Reason::kUnauthenticated:
      return "UNAUTHENTICATED";
    case Reason::kNotGranted:
      return "NOT_GRANTED";
    case Reason::kResolveFailed:
      return "RESOLVE_FAILED";
    case Reason::kConnectFailed:
      return "CONNECT_FAILED";
    case Reason::kDialTimeout:
      return "DIAL_TIMEOUT";
    case Reason::kTlsFailed:
      return "TLS_FAILED";
    case Reason::kCertificateRejected:
      return "CERTIFICATE_REJECTED";
    case Reason::kUpgradeRefused:
      return "UPGRADE_REFUSED";
    case Reason::kUpgradeInvalid:
      return "UPGRADE_INVALID";
    case Reason::kSetupRejected:
      return "SETUP_REJECTED";
    case Reason::kSetupTimeout:
      return "SETUP_TIMEOUT";
    case Reason::kAskTimeout:
      return "ASK_TIMEOUT";
    case Reason::kNoOwner:
      return "NO_OWNER";
    case Reason::kIdleTimeout:
      return "IDLE_TIMEOUT";
    case Reason::kPongTimeout:
      return "PONG_TIMEOUT";
    case Reason::kWriteTimeout:
      return "WRITE_TIMEOUT";
    case Reason::kPeerClosed:
      return "PEER_CLOSED";
    case Reason::kConnectionLost:
      return "CONNECTION_LOST";
    case Reason::kProtocolError:
      return "PROTOCOL_ERROR";
    case Reason::kMessageTooLong:
      return "MESSAGE_TOO_LONG";
    case Reason::kReconnectRequested:
      return "RECONNECT_REQUESTED";
    case Reason::kMaxAge:
      return "MAX_AGE";
    case Reason::kTopicStale:
      return "TOPIC_STALE";
    case Reason::kShutdownAnnounced:
      return "SHUTDOWN_ANNOUNCED";
    case Reason::kLegLags:
      return "LEG_LAGS";
    case Reason::kRequestTimeout:
      return "REQUEST_TIMEOUT";
    case Reason::kResponseInvalid:
      return "RESPONSE_INVALID";
    case Reason::kResponseTooLong:
      return "RESPONSE_TOO_LONG";
    case Reason::kDetached:
      return "DETACHED";
    case Reason::kClosed:
      return "CLOSED";
    case Reason::kSuperseded:
      return "SUPERSEDED";
    case Reason::kDraining:
      return "DRAINING";
    case Reason::kAttemptsExhausted:
      return "ATTEMPTS_EXHAUSTED";
    case Reason::kOutageExhausted:
      return "OUTAGE_EXHAUSTED";
    case Reason::kRevoked:
      return "REVOKED";
  }
  return "UNKNOWN";
}

std::string_view Name(Phase phase) {
  switch (phase) {
    case Phase::kUnspecified:
      return "UNSPECIFIED";
    case Phase::kNotSent:
      return "NOT_SENT";
    case Phase::kPartlySent:
      return "PARTLY_SENT";
    case Phase::kSentNoReply:
      return "SENT_NO_REPLY";
    case Phase::kReplied:
      return "REPLIED";
  }
  return "UNKNOWN";
}

}  // namespace fairlead
