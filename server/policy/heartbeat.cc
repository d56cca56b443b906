#include "policy/heartbeat.h"

#include <algorithm>

namespace fairlead {
std::string FillTokens(const std::string& text, WallTime now, uint64_t n) {
  const auto since_epoch = now.time_since_epoch();
  const auto fill = [&](std::string_view token) -> std::optional<std::string> {
    if (token == "unix_s") return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count());
    if (token == "unix_ms") {
      return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count());
    }
    if (token == "n") return std::to_string(n);
    return std::nullopt;
  };
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text[at] == '{' ? text.find('}', at) : std::string::npos;
    if (end != std::string::npos) {
      if (auto value = fill(std::string_view(text).substr(at + 1, end - at - 1))) {
        out += *value;
        at = end + 1;
        continue;
      }
    }
    out += text[at++];
  }
  return out;
}

Heartbeat::Heartbeat(const HeartbeatPolicy& policy, SteadyTime now)
    : policy_(policy), next_beat_(now + policy.interval), last_data_(now) {}

void Heartbeat::Adopt(const HeartbeatPolicy& policy, SteadyTime now) {
  policy_ = policy;
  next_beat_ = now + policy.interval;
  last_data_ = now;
  unanswered_since_.reset();
}

bool Heartbeat::Received(std::string_view payload, SteadyTime now) {
  if (policy_.keepalive.empty() || !policy_.keepalive(payload)) {
    last_data_ = now;
    return false;
  }
  return policy_.what != HeartbeatPolicy::What::kPing && Answered(now);
}

bool Heartbeat::Pong(SteadyTime now) { return policy_.what == HeartbeatPolicy::What::kPing && Answered(now); }

bool Heartbeat::Answered(SteadyTime now) {
  if (!unanswered_since_) return false;
  // What came with the same read as what made us write may bear an earlier time.
  round_trip_ = std::max(now - *unanswered_since_, Duration::zero());
  unanswered_since_.reset();
  return true;
}

void Heartbeat::WriteBegan(SteadyTime now) {
  if (!write_began_) write_began_ = now;
}

void Heartbeat::BeatBegan(SteadyTime now) {
  const bool answerable = policy_.what == HeartbeatPolicy::What::kPing || !policy_.keepalive.empty();
  if (answerable && !unanswered_since_) unanswered_since_ = now;
}

Heartbeat::Verdict Heartbeat::Check(SteadyTime now, uint64_t bytes_acknowledged) {
  const auto due = [now](SteadyTime since, Duration timeout) {
    return timeout != Duration::zero() && now - since >= timeout;
  };
  const auto dead = [](Reason reason, std::string message) {
    return Verdict{.dead = Failure{reason, Phase::kUnspecified, std::move(message)}};
  };
  if (bytes_acknowledged != bytes_acknowledged_) {
    bytes_acknowledged_ = bytes_acknowledged;
    if (write_began_) write_began_ = now;
  }
  if (write_began_ && due(*write_began_, policy_.write_timeout)) {
    return dead(Reason::kWriteTimeout,
                "the exchange took nothing of a write for " + Milliseconds(policy_.write_timeout));
  }
  if (unanswered_since_ && due(*unanswered_since_, policy_.pong_timeout)) {
    return dead(Reason::kPongTimeout, "no answer to a heartbeat for " + Milliseconds(policy_.pong_timeout));
  }
  if (due(last_data_, policy_.idle_timeout)) {
    return dead(Reason::kIdleTimeout, "no data for " + Milliseconds(policy_.idle_timeout));
  }
  return Verdict{.beat = policy_.interval != Duration::zero() && now >= next_beat_};
}

std::optional<SteadyTime> Heartbeat::Next() const {
  std::optional<SteadyTime> next;
  const auto consider = [&next](SteadyTime since, Duration timeout) {
    if (timeout == Duration::zero()) return;
    next = std::min(next.value_or(since + timeout), since + timeout);
  };
  if (policy_.interval != Duration::zero()) next = next_beat_;
  if (write_began_) consider(*write_began_, policy_.write_timeout);
  if (unanswered_since_) consider(*unanswered_since_, policy_.pong_timeout);
  consider(last_data_, policy_.idle_timeout);
  return next;
}

}  // namespace fairlead
