#include "policy/outbox.h"

#include <algorithm>
#include <utility>

namespace fairlead {

void Outbox::Wait(Outgoing item, SteadyTime deadline) {
  bytes_ += Cost(item);
  waiting_.push_back({deadline, std::move(item)});
}

void Outbox::Bind(Outgoing item) {
  bytes_ += Cost(item);
  bound_.push_back(std::move(item));
}

void Outbox::BindWaiting() {
  for (Waiting& waiting : waiting_) bound_.push_back(std::move(waiting.item));
  waiting_.clear();
}

const Outgoing* Outbox::Next() {
  if (in_flight_ || bound_.empty()) return nullptr;
  in_flight_ = std::move(bound_.front());
  bound_.pop_front();
  return &*in_flight_;
}

Outgoing Outbox::Written() {
  bytes_ -= Cost(*in_flight_);
  Outgoing item = std::move(*in_flight_);
  in_flight_.reset();
  return item;
}

Outbox::Left Outbox::TransportEnded() {
  Left left;
  if (in_flight_) left.in_flight = Written();
  for (Outgoing& item : bound_) {
    bytes_ -= Cost(item);
    left.not_begun.push_back(std::move(item));
  }
  bound_.clear();
  return left;
}

std::vector<Outgoing> Outbox::Expired(SteadyTime now) {
  std::vector<Outgoing> expired;
  std::erase_if(waiting_, [&](Waiting& waiting) {
    if (waiting.deadline > now) return false;
    bytes_ -= Cost(waiting.item);
    expired.push_back(std::move(waiting.item));
    return true;
  });
  return expired;
}

std::vector<Outgoing> Outbox::Abandon() { return Expired(SteadyTime::max()); }

std::vector<Outgoing> Outbox::Withdraw() {
  std::vector<Outgoing> withdrawn;
  std::erase_if(bound_, [&](Outgoing& item) {
    if (item.what != Outgoing::What::kSend && item.what != Outgoing::What::kPing) return false;
    bytes_ -= Cost(item);
    withdrawn.push_back(std::move(item));
    return true;
  });
  for (Outgoing& item : Abandon()) withdrawn.push_back(std::move(item));
  return withdrawn;
}

std::optional<SteadyTime> Outbox::NextDeadline() const {
  if (waiting_.empty()) return std::nullopt;
  return std::ranges::min_element(waiting_, {}, &Waiting::deadline)->deadline;
}

}  // namespace fairlead
