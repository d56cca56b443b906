#include "policy/topics.h"

#include <algorithm>
#include <utility>

namespace fairlead {

void Topics::Replace(std::vector<Topic> topics, SteadyTime now) {
  const std::vector<State> before = std::exchange(states_, {});
  for (Topic& topic : topics) {
    const auto same = std::ranges::find(before, topic, &State::topic);
    states_.push_back(same != before.end() ? *same : State{.topic = std::move(topic), .since = now, .last_heard = {}});
  }
}

void Topics::Begin(SteadyTime now) {
  watching_ = true;
  for (State& state : states_) {
    state.stale = false;
    state.since = now;
    state.last_heard.reset();
  }
}

std::vector<size_t> Topics::Received(std::string_view payload, SteadyTime now, WallTime heard) {
  std::vector<size_t> back;
  if (!watching_) return back;
  for (size_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    if (!state.topic.match(payload)) continue;
    state.since = now;
    state.last_heard = heard;
    if (std::exchange(state.stale, false)) back.push_back(i);
  }
  return back;
}

std::vector<size_t> Topics::Check(SteadyTime now) {
  std::vector<size_t> silent;
  if (!watching_) return silent;
  for (size_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    if (state.stale || now - state.since < state.topic.max_silence) continue;
    state.stale = true;
    silent.push_back(i);
  }
  return silent;
}

std::optional<SteadyTime> Topics::Next() const {
  std::optional<SteadyTime> next;
  if (!watching_) return next;
  for (const State& state : states_) {
    if (state.stale) continue;
    const SteadyTime due = state.since + state.topic.max_silence;
    if (!next || due < *next) next = due;
  }
  return next;
}

}  // namespace fairlead
