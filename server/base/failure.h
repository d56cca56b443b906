// What went wrong, as a value. The words are those of proto/fairlead/v1/types.proto, which documents each;
// docs/errors.md maps them to gRPC statuses.
#pragma once

#include <chrono>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace fairlead {

// Values equal those of fairlead.v1.Reason; a test compares names and numbers.
enum class Reason : int {
  kUnspecified = 0,
  kInvalidField = 1,
  kUnknownField = 2,
  kNotImplemented = 3,
  kEgressDenied = 4,
  kSessionNotFound = 5,
  kSessionLive = 6,
  kChannelInUse = 7,
  kChannelUnknown = 8,
  kNotOwner = 9,
  kNotOpen = 10,
  kWrongGeneration = 11,
  kWaitExpired = 12,
  kLimitReached = 13,
  kOverflow = 14,
  kNotAsked = 15,
  kUnauthenticated = 16,
  kNotGranted = 17,
  kResolveFailed = 20,
  kConnectFailed = 21,
  kDialTimeout = 22,
  kTlsFailed = 23,
  kCertificateRejected = 24,
  kUpgradeRefused = 25,
  kUpgradeInvalid = 26,
  kSetupRejected = 30,
  kSetupTimeout = 31,
  kAskTimeout = 32,
  kNoOwner = 33,
  kIdleTimeout = 40,
  kPongTimeout = 41,
  kWriteTimeout = 42,
  kPeerClosed = 43,
  kConnectionLost = 44,
  kProtocolError = 45,
  kMessageTooLong = 46,
  kReconnectRequested = 47,
  kMaxAge = 48,
  kTopicStale = 49,
  kShutdownAnnounced = 55,
  kLegLags = 56,
  kRequestTimeout = 50,
  kResponseInvalid = 51,
  kResponseTooLong = 52,
  kDetached = 60,
  kClosed = 61,
  kSuperseded = 62,
  kDraining = 63,
  kAttemptsExhausted = 64,
  kOutageExhausted = 65,
  kRevoked = 66,
};

// Values equal those of fairlead.v1.Phase.
enum class Phase : int { kUnspecified = 0, kNotSent = 1, kPartlySent = 2, kSentNoReply = 3, kReplied = 4 };

struct Failure {
  Reason reason = Reason::kUnspecified;
  Phase phase = Phase::kUnspecified;
  std::string message = {};  // For people; no secrets.
  std::optional<std::chrono::nanoseconds> retry_after = std::nullopt;
  std::string quota_key = {};

  friend bool operator==(const Failure&, const Failure&) = default;
};

template <typename T>
using Result = std::expected<T, Failure>;

// "IDLE_TIMEOUT": the enumerator's name in the API without its prefix; for logs and messages.
std::string_view Name(Reason reason);
std::string_view Name(Phase phase);

// A failure of something that was asked for and of which nothing was sent.
inline std::unexpected<Failure> NotSent(Reason reason, std::string message) {
  return std::unexpected(Failure{reason, Phase::kNotSent, std::move(message)});
}

}  // namespace fairlead
