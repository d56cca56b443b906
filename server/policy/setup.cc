#include "policy/setup.h"

#include <algorithm>

namespace fairlead {

void Setup::Store(SetupStep step) {
  const auto same = std::ranges::find(steps_, step.key, &SetupStep::key);
  if (same != steps_.end()) {
    *same = std::move(step);
  } else {
    steps_.push_back(std::move(step));
  }
}

void Setup::Forget(std::string_view key) {
  std::erase_if(steps_, [key](const SetupStep& step) { return step.key == key; });
}

const SetupStep* Setup::Find(std::string_view key) const {
  const auto found = std::ranges::find(steps_, key, &SetupStep::key);
  return found == steps_.end() ? nullptr : &*found;
}

std::vector<std::string> Setup::Keys() const {
  std::vector<std::string> keys;
  for (const SetupStep& step : steps_) keys.push_back(step.key);
  return keys;
}

size_t Setup::Bytes(const SetupStep& step) {
  size_t sum = step.payload.size();
  for (const Match* match : {&step.expect, &step.reject}) {
    for (const std::string& part : match->contains) sum += part.size();
  }
  return sum;
}

size_t Setup::bytes() const {
  size_t sum = 0;
  for (const SetupStep& step : steps_) sum += Bytes(step);
  return sum;
}

bool Setup::Asks() const { return std::ranges::any_of(steps_, &SetupStep::ask); }

Setup::Verdict Setup::Begin() {
  at_ = 0;
  run_ = steps_;
  return Step();
}

Setup::Verdict Setup::Advance() {
  ++at_;
  return Step();
}

Setup::Verdict Setup::Step() {
  answered_ = false;
  if (running()) return current().ask ? Verdict::kAsk : Verdict::kSend;
  run_.clear();
  return Verdict::kDone;
}

bool Setup::Answer(std::string_view key) {
  if (!asking() || current().key != key) return false;
  answered_ = true;
  return true;
}

Setup::Verdict Setup::Written(std::string_view key) {
  if (!running() || current().key != key || !current().expect.empty()) return Verdict::kWait;
  return Advance();
}

Setup::Verdict Setup::Received(std::string_view payload) {
  // What comes before the answer is written answers nothing of ours.
  if (!running() || asking() || current().expect.empty()) return Verdict::kWait;
  if (current().reject(payload)) return Verdict::kRejected;
  return current().expect(payload) ? Advance() : Verdict::kWait;
}

}  // namespace fairlead
