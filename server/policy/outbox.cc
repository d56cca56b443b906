#include "policy/outbox.h"

#include <algorithm>
#include <utility>

namespace fairlead {
namespace {

size_t Cost(const Outgoing& item) { return kOutgoingBytes + item.payload.size(); }

}  // namespace

// ---- SendQueue. ----

void SendQueue::Wait(Outgoing item, SteadyTime deadline) {
  bytes_ += Cost(item);
  waiting_.push_back({deadline, std::move(item)});
}

std::vector<Outgoing> SendQueue::Expired(SteadyTime now) {
  std::vector<Outgoing> expired;
  std::erase_if(waiting_, [&](Waiting& waiting) {
    if (waiting.deadline > now) return false;
    bytes_ -= Cost(waiting.item);
    expired.push_back(std::move(waiting.item));
    return true;
  });
  return expired;
}

std::optional<SteadyTime> SendQueue::NextDeadline() const {
  if (waiting_.empty()) return std::nullopt;
  return std::ranges::min_element(waiting_, {}, &Waiting::deadline)->deadline;
}

// ---- Outbox. ----

void Outbox::Bind(Outgoing item) {
  bytes_ += Cost(item);
  bound_.push_back(std::move(item));
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

std::vector<Outgoing> Outbox::Withdraw() {
  if (in_flight_ && in_flight_->what == Outgoing::What::kSend) {
    in_flight_->setup_key.clear();
    in_flight_->forget_setup_keys.clear();
  }
  std::vector<Outgoing> withdrawn;
  std::erase_if(bound_, [&](Outgoing& item) {
    if (item.what != Outgoing::What::kSend && item.what != Outgoing::What::kPing) return false;
    bytes_ -= Cost(item);
    withdrawn.push_back(std::move(item));
    return true;
  });
  return withdrawn;
}

}  // namespace fairlead
