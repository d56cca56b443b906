#include "simulation/twins.h"

#include <algorithm>
#include <utility>

namespace fairlead::simulation {

void Twins::Replace(const std::optional<Dedupe>& dedupe) {
  if (dedupe == dedupe_) return;
  *this = Twins(dedupe);
}

std::optional<std::string> Twins::KeyOf(std::string_view payload) const {
  if (!dedupe_) return std::nullopt;
  if (dedupe_->json_pointer.empty()) return std::string(payload);
  // The exchange writes no other JSON.
  constexpr std::string_view kBefore = R"({"seq":)";
  if (!payload.starts_with(kBefore)) return std::nullopt;
  payload.remove_prefix(kBefore.size());
  return std::string(payload.substr(0, payload.find(',')));
}

// A whole payload may return: one that came before is none of the newcomer's. A number does not.
void Twins::Joined(uint64_t generation) {
  met_ = 0;
  if (!dedupe_) return;
  for (auto& [key, known] : known_) known.brought[generation] = dedupe_->json_pointer.empty() ? known.passed : 0;
}

void Twins::Ended(SteadyTime now) {
  if (dedupe_) until_ = now + dedupe_->window;
}

Twins::Verdict Twins::Come(uint64_t generation, uint64_t other, std::string_view payload, bool together,
                           SteadyTime now) {
  last_ = {};
  const auto key = KeyOf(payload);
  if (!key || !(together || (until_ && now < *until_))) return Verdict::kFirst;
  const auto at = known_.try_emplace(*key).first;
  Known& known = at->second;
  // Beyond its window it may have been forgotten, and need not.
  known.unsure = known.unsure || (known.passed > 0 && now - known.seen >= dedupe_->window);
  known.seen = now;
  last_ = {.known = &known, .of_other = known.by.contains(other), .generation = generation};
  known.by.insert(generation);
  if (++known.brought[generation] > known.passed && !known.unsure) return Verdict::kFirst;
  return known.unsure ? Verdict::kEither : Verdict::kCopy;
}

void Twins::Became(bool copy) {
  if (copy && last_.of_other) ++met_;
  Known* known = std::exchange(last_.known, nullptr);
  if (known == nullptr || copy) return;
  known->passed = std::max(known->passed, known->brought[last_.generation]);
}

}  // namespace fairlead::simulation
