#include "exchange/record.h"

#include <algorithm>
#include <chrono>

namespace exchange {

int64_t UnixNanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::shared_ptr<ConnectionRecord> Records::Add() {
  while (records_.size() >= max_connections_) {
    // Live connections keep their records; descriptors bound their number.
    const auto oldest =
        std::ranges::find(records_, ConnectionRecord::State::kClosed, [](const auto& r) { return r->state; });
    if (oldest == records_.end()) break;
    bytes_ -= (*oldest)->kept_bytes;
    records_.erase(oldest);
    ++forgotten_;
  }
  auto record = std::make_shared<ConnectionRecord>();
  record->id = ++last_id_;
  record->accepted_at_unix_ns = UnixNanoseconds();
  records_.push_back(record);
  return record;
}

void Records::Receive(ConnectionRecord& record, Opcode opcode, std::string payload) {
  const bool ping = opcode == Opcode::kPing;
  const bool pong = opcode == Opcode::kPong;
  const uint64_t index = ping ? ++record.pings_received : pong ? ++record.pongs_received : ++record.frames_received;
  const uint64_t cost = payload.size() + sizeof(ReceivedFrame);
  if (bytes_ + cost > max_bytes_) {
    ++record.omitted;
    ++omitted_;
    return;
  }
  bytes_ += cost;
  record.kept_bytes += cost;
  auto& list = ping ? record.pings : pong ? record.pongs : record.frames;
  list.push_back({index, opcode, std::move(payload), UnixNanoseconds()});
}

void Records::Forget() {
  std::erase_if(records_, [this](const auto& record) {
    if (record->state != ConnectionRecord::State::kClosed) return false;
    bytes_ -= record->kept_bytes;
    return true;
  });
  forgotten_ = 0;
  omitted_ = 0;
}

}  // namespace exchange
