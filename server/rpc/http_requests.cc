#include "rpc/http_requests.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <utility>

#include "policy/http_headers.h"
#include "policy/http_request.h"
#include "rpc/checker.h"

namespace fairlead {
namespace {

// Before the RPC's deadline: our own answer, which has a phase, shall come before gRPC's, which has none.
constexpr Duration kAnswerMargin = std::chrono::milliseconds(50);

google::protobuf::Duration ToProto(Duration span) {
  return google::protobuf::util::TimeUtil::NanosecondsToDuration(span.count());
}

}  // namespace

Result<SendRequest> ParseSendRequest(const v1::SendRequest& send, const Limits& limits, const HttpOptions& options,
                                     Duration remaining) {
  if (auto known = CheckKnown(send); !known) return std::unexpected(known.error());
  Checker check;
  const auto adopt = [&check](const auto& result) {
    if (!result) check.Adopt(result.error(), "");
  };
  const v1::HttpRequest& given = send.request();
  SendRequest parsed;
  HttpRequest& request = parsed.request;
  check.Require(send.has_request(), "request", "is required");
  check.NotYet(given.charges_size() != 0, "request.charges");
  check.NotYet(!given.permit().empty(), "request.permit");
  check.NotYet(given.idempotency() != v1::IDEMPOTENCY_UNSPECIFIED, "request.idempotency");
  check.NotYet(!given.profile().empty(), "request.profile");
  adopt(CheckMethod(given.method()));
  request.method = given.method();
  if (!check.failed()) {
    auto url = ParseRequestUrl(given.url(), limits.url_bytes);
    adopt(url);
    if (url) request.url = std::move(*url);
  }
  std::vector<QueryParameter> query;
  for (const v1::QueryParameter& each : given.query()) query.push_back({each.key(), each.value()});
  const size_t own_bytes = request.url.target.size();
  request.url.target = Secret(AppendQuery(request.url.target.Reveal(), query));
  if (const size_t bytes = given.url().size() + request.url.target.size() - own_bytes; bytes > limits.url_bytes) {
    check.Refuse(
        Reason::kLimitReached, "request.query",
        std::to_string(bytes) + " bytes with the URL; limits.url_bytes is " + std::to_string(limits.url_bytes));
  }
  for (const v1::Header& each : given.headers()) request.headers.emplace_back(each.name(), each.value());
  adopt(CheckHeaders(request.headers, limits.header_bytes, "request.headers"));
  request.timeout =
      check.Span(given.has_timeout(), given.timeout(), request.timeout, "request.timeout", Checker::Zero::kRefused);
  request.max_wait = check.Span(given.has_max_wait(), given.max_wait(), request.max_wait, "request.max_wait");
  uint64_t name_bytes = 0;
  for (const std::string& name : given.response_header_names()) {
    check.Require(IsToken(name), "request.response_header_names", "must be tokens (RFC 9110 section 5.6.2)");
    name_bytes += name.size();
    parsed.response_header_names.push_back(name);
  }
  if (name_bytes > limits.header_bytes) {
    check.Refuse(Reason::kLimitReached, "request.response_header_names",
                 "limits.header_bytes is " + std::to_string(limits.header_bytes));
  }
  request.max_response_bytes = given.max_response_bytes() == 0 ? options.response_bytes : given.max_response_bytes();
  if (const uint64_t most = options.MostResponseBytes(limits); request.max_response_bytes > most) {
    check.Refuse(Reason::kLimitReached, "request.max_response_bytes",
                 "at most " + std::to_string(most) + ", which limits.message_bytes leaves");
  }
  if (remaining <= kAnswerMargin) {
    check.Refuse(Reason::kRequestTimeout, "request", "less than 50 ms are left until the RPC's deadline");
  } else {
    request.timeout = std::min(request.timeout, remaining - kAnswerMargin);
  }
  request.body = given.body();
  return check.Finish(std::move(parsed));
}

v1::HttpResponse ToProto(HttpResponse response, const std::vector<std::string>& names) {
  v1::HttpResponse proto;
  proto.set_status(response.status);
  for (Header& header : response.headers) {
    const auto asked_for = [&header](const std::string& name) { return EqualsIgnoringCase(name, header.name); };
    if (!names.empty() && std::ranges::none_of(names, asked_for)) continue;
    v1::Header& added = *proto.add_headers();
    added.set_name(std::move(header.name));
    added.set_value(std::move(header.value));
  }
  proto.set_body(std::move(response.body));
  v1::HttpTiming& timing = *proto.mutable_timing();
  *timing.mutable_pool_wait() = ToProto(response.timing.pool_wait);
  if (const auto& made = response.timing.connection) {
    *timing.mutable_resolve() = ToProto(made->resolve);
    *timing.mutable_connect() = ToProto(made->connect);
    if (made->tls) *timing.mutable_tls() = ToProto(*made->tls);
  }
  *timing.mutable_first_byte() = ToProto(response.timing.first_byte);
  *timing.mutable_total() = ToProto(response.timing.total);
  proto.set_reused_connection(response.reused_connection);
  proto.set_attempts(1);
  return proto;
}

}  // namespace fairlead
