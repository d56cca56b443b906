// What an adapter asks of an exchange over HTTP, checked and with defaults filled in, and what comes of it.
// fairlead.v1.HttpRequest and HttpResponse document each field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/frame.h"
#include "base/time.h"
#include "net/connect.h"
#include "policy/egress.h"
#include "policy/trace_context.h"

namespace fairlead {

struct HttpRequest {
  std::string method;
  TargetUrl url;  // The query parameters are in it.
  std::vector<RequestHeader> headers = {};
  std::string body = {};
  Duration timeout = std::chrono::seconds(10);
  Duration max_wait = std::chrono::seconds(1);
  uint64_t max_response_bytes = 0;
  TraceId trace = {};  // For logs.
};

struct HttpTiming {
  Duration pool_wait = Duration::zero();
  std::optional<ConnectTimes> connection = std::nullopt;  // If it was made for this request.
  Duration first_byte = Duration::zero();
  Duration total = Duration::zero();
};

struct HttpResponse {
  unsigned status = 0;
  std::vector<Header> headers = {};
  std::string body = {};
  HttpTiming timing = {};
  bool reused_connection = false;
};

}  // namespace fairlead
