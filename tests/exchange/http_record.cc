#include "exchange/http_record.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>

namespace exchange {
namespace {

constexpr size_t kMaxOrders = 1'000'000;

std::string Sha256(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : digest) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

}  // namespace

std::shared_ptr<HttpConnectionRecord> HttpRecords::Open() {
  while (connections_.size() >= max_records_) {
    // Live connections keep their records; descriptors bound their number.
    const auto oldest = std::ranges::find_if(connections_, [](const auto& r) { return r->closed_at_unix_ns != 0; });
    if (oldest == connections_.end()) break;
    connections_.erase(oldest);
    ++counts_.forgotten_connections;
  }
  auto record = std::make_shared<HttpConnectionRecord>();
  record->id = ++last_connection_;
  record->accepted_at_unix_ns = UnixNanoseconds();
  connections_.push_back(record);
  ++counts_.connections_opened;
  ++counts_.connections_open;
  counts_.connections_most_open = std::max(counts_.connections_most_open, counts_.connections_open);
  return record;
}

void HttpRecords::Closed(HttpConnectionRecord& connection, const std::string& why) {
  connection.closed_by = why;
  connection.closed_at_unix_ns = UnixNanoseconds();
  --counts_.connections_open;
}

std::shared_ptr<HttpRequestRecord> HttpRecords::Begin(HttpConnectionRecord& connection, bool pipelined) {
  while (requests_.size() >= max_records_) {
    bytes_ -= requests_.front()->kept_bytes;
    requests_.front()->kept_bytes = 0;
    requests_.pop_front();
    ++counts_.forgotten_requests;
  }
  auto record = std::make_shared<HttpRequestRecord>();
  record->id = ++last_request_;
  record->connection = connection.id;
  record->index = ++connection.requests;
  record->pipelined = pipelined;
  record->begun_at_unix_ns = UnixNanoseconds();
  if (pipelined) {
    connection.pipelined = true;
    ++counts_.requests_pipelined;
  }
  requests_.push_back(record);
  return record;
}

void HttpRecords::End(HttpRequestRecord& request, bool complete, std::string body) {
  request.complete = complete;
  request.body_bytes = body.size();
  if (!body.empty()) request.body_sha256 = Sha256(body);
  ++(complete ? counts_.requests_complete : counts_.requests_incomplete);
  if (complete) request.received_at_unix_ns = UnixNanoseconds();
  if (complete && !request.order.empty()) {
    if (orders_.size() < kMaxOrders || orders_.contains(request.order)) {
      ++orders_[request.order];
    } else {
      ++counts_.omitted_orders;
    }
  }
  if (bytes_ + body.size() > max_bytes_) {
    request.body_omitted = true;
    return;
  }
  // A request that was forgotten meanwhile gives nothing back.
  if (requests_.empty() || requests_.front()->id > request.id) return;
  bytes_ += body.size();
  request.kept_bytes = body.size();
  request.body = std::move(body);
}

void HttpRecords::ProtocolError(HttpConnectionRecord& connection, const std::string& text) {
  connection.protocol_error = text;
  ++counts_.protocol_errors;
}

void HttpRecords::Forget() {
  std::erase_if(connections_, [](const auto& record) { return record->closed_at_unix_ns != 0; });
  requests_.clear();
  bytes_ = 0;
  orders_.clear();
  const uint64_t open = counts_.connections_open;
  counts_ = {.connections_opened = open, .connections_open = open, .connections_most_open = open};
}

}  // namespace exchange
