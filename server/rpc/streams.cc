#include "rpc/streams.h"

#include <algorithm>
#include <string>

namespace fairlead {
namespace {

// For a peer that reads to be told the end of its stream.
constexpr Duration kLastWords = std::chrono::seconds(1);

// Whether a stream would be let in now as it was.
Result<void> Check(const Access& access, const Streams::Member& member) {
  const Admission& admission = member.admission();
  const auto identity = access.Admit(admission.proof, admission.method);
  if (!identity) return std::unexpected(identity.error());
  if (*identity == admission.identity) return {};
  return NotSent(Reason::kUnauthenticated, "who called is another identity now");
}

}  // namespace

Result<void> Streams::Admit(Member& member) {
  if (draining_) return std::unexpected(draining_.Refusal(timers_.Now()));
  if (members_.size() >= limits_.streams) {
    return NotSent(Reason::kLimitReached, "limits.streams, " + std::to_string(limits_.streams) + ", are open");
  }
  const auto access = access_.Get();
  if (auto may = Check(*access, member); !may) return may;
  const std::string& identity = member.admission().identity;
  const auto has = std::ranges::count_if(
      members_, [&identity](const Member* each) { return each->admission().identity == identity; });
  if (auto room = access->CheckCap(identity, Cap::kStreams, static_cast<uint64_t>(has) + 1); !room) return room;
  if (auto rate = CheckRate(identity, *access); !rate) return rate;
  members_.insert(&member);
  return {};
}

Result<void> Streams::CheckRate(const std::string& identity, const Access& access) {
  const SteadyTime now = timers_.Now();
  if (const auto cap = access.CapOf(identity, Cap::kNewStreamsPerSecond)) {
    TokenBucket& bucket = new_streams_of_.try_emplace(identity, static_cast<uint32_t>(*cap)).first->second;
    if (bucket.per_second() != *cap) bucket = TokenBucket(static_cast<uint32_t>(*cap));
    if (const auto wait = bucket.Take(now)) {
      Result<void> reached = access.CheckCap(identity, Cap::kNewStreamsPerSecond, *cap + 1);
      reached.error().retry_after = wait;
      return reached;
    }
  }
  if (const auto wait = new_streams_.Take(now)) {
    return std::unexpected(Failure{
        Reason::kLimitReached, Phase::kNotSent,
        "limits.new_streams_per_second, " + std::to_string(limits_.new_streams_per_second) + ", have begun", wait});
  }
  return {};
}

size_t Streams::Recheck() {
  const auto access = access_.Get();
  const std::set<Member*> all = members_;
  size_t ended = 0;
  for (Member* member : all) {
    const auto may = Check(*access, *member);
    may ? member->Recheck() : member->Revoke(Revoked(may.error()));
    if (!may) ++ended;
  }
  return ended;
}

void Streams::CutOffLater(std::function<void()> cut_off) {
  cut_offs_.push_back(std::move(cut_off));
  if (cut_offs_.size() > 1) return;
  cut_off_timer_->At(timers_.Now() + kLastWords, [this] {
    for (const auto& each : std::exchange(cut_offs_, {})) each();
  });
}

}  // namespace fairlead
