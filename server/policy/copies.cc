#include "policy/copies.h"

#include <algorithm>
#include <utility>

namespace fairlead {

Copies::Copies(Dedupe dedupe, size_t max_keys)
    : dedupe_(std::move(dedupe)), max_keys_(max_keys), keys_(dedupe_.json_pointer) {}

void Copies::Begin(size_t lane) {
  lanes_[lane] = {};
  lanes_[lane].begun = true;
}

void Copies::Join(size_t lane) {
  met_ = 0;
  for (auto& [key, known] : known_) {
    known.brought[lane] = keys_.of_payload() ? known.passed : 0;
    known.came[lane] = false;
  }
}

void Copies::Open(size_t lane, SteadyTime now) {
  lanes_[lane].open = true;
  lanes_[lane].opened_at = now;
}

void Copies::End(size_t lane, SteadyTime now) {
  lanes_[lane].begun = false;
  lanes_[lane].open = false;
  lanes_[1 - lane].behind_since.reset();
  remembers_until_ = now + dedupe_.window;
}

// Alone, a transport can only bring copies of what one before it has brought.
bool Copies::Active(SteadyTime now) const {
  return (lanes_[0].begun && lanes_[1].begun) || (remembers_until_ && now < *remembers_until_);
}

bool Copies::IsCopy(size_t lane, std::string_view payload, SteadyTime now) {
  Expire(now);
  if (!Active(now)) return false;
  const auto key = keys_.Of(payload);
  if (!key) return false;
  const auto [at, is_new] = known_.try_emplace(*key);
  Known& known = at->second;
  Lane& own = lanes_[lane];
  Lane& other = lanes_[1 - lane];
  if (is_new) {
    known.since = now;
    due_.push_back({now, *key});
  }
  known.seen_at = now;
  known.came[lane] = true;
  const bool copy = ++known.brought[lane] <= known.passed;
  if (copy) {
    if (known.came[1 - lane]) ++met_;
    ++own.copies;
    const Duration lag = now - known.passed_at;
    if (own.lags.size() < kLags) {
      own.lags.push_back(lag);
    } else {
      own.lags[own.next_lag++ % kLags] = lag;
    }
    own.newest = std::max(own.newest, known.passed_at);
    if (own.newest >= other.newest) {
      own.behind_since.reset();
    } else {
      own.behind_since = own.newest;
    }
  } else {
    known.passed = known.brought[lane];
    known.passed_at = now;
    own.newest = now;
    own.behind_since.reset();
    if (own.open && other.open) {
      ++own.wins;
      if (!other.behind_since) other.behind_since = now;
    }
  }
  if (known_.size() > max_keys_) {
    known_.erase(due_.front().key);
    due_.pop_front();
  }
  return copy;
}

void Copies::Expire(SteadyTime now) {
  while (!due_.empty() && due_.front().at + dedupe_.window <= now) {
    const Due due = due_.front();
    due_.pop_front();
    const auto at = known_.find(due.key);
    if (at->second.seen_at > due.at) {
      due_.push_back({at->second.seen_at, due.key});
      continue;
    }
    for (size_t lane = 0; lane < lanes_.size(); ++lane) {
      const Known& known = at->second;
      if (known.passed == known.brought[lane]) continue;
      if (lanes_[lane].open && lanes_[lane].opened_at <= known.since) {
        lanes_[lane].misses += known.passed - known.brought[lane];
      }
      // Nothing came after it: it will not bring this one any more, and is behind with nothing else.
      if (lanes_[1 - lane].newest <= known.passed_at) lanes_[lane].behind_since.reset();
    }
    known_.erase(at);
  }
}

Duration Copies::Behind(size_t lane, SteadyTime now) const {
  const auto& since = lanes_[lane].behind_since;
  return lanes_[lane].open && since ? now - *since : Duration::zero();
}

Copies::Tally Copies::TallyOf(size_t lane, SteadyTime now) {
  Expire(now);
  const Lane& own = lanes_[lane];
  Tally tally{.copies = own.copies, .wins = own.wins, .misses = own.misses};
  if (own.lags.empty()) return tally;
  std::vector<Duration> lags = own.lags;
  const auto percentile = [&lags](size_t percent) {
    const auto at = lags.begin() + static_cast<ptrdiff_t>((lags.size() - 1) * percent / 100);
    std::ranges::nth_element(lags, at);
    return *at;
  };
  tally.lag_p50 = percentile(50);
  tally.lag_p99 = percentile(99);
  return tally;
}

}  // namespace fairlead
