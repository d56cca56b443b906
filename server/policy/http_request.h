// How a request to an exchange is written (RFC 9112 section 3).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/failure.h"
#include "base/frame.h"
#include "policy/egress.h"

namespace fairlead {

struct QueryParameter {
  std::string key;    // May be empty.
  std::string value;  // May be empty: "key=". May be a signature: it is never logged.
  friend bool operator==(const QueryParameter&, const QueryParameter&) = default;
};

// A token (RFC 9110 section 9.1) of capitals, digits and '-' that begins with a capital and has at most 32 bytes, and
// not CONNECT, which is no request to an exchange. Failures are kInvalidField and name "request.method".
Result<void> CheckMethod(std::string_view method);
// It asks for nothing to be done (RFC 9110 section 9.2.1: GET, HEAD, OPTIONS, TRACE): asked twice, no harm is done.
bool IsSafe(std::string_view method);

// `target` is a path with or without a query, as TargetUrl holds it. The parameters follow in their order, repetition
// kept, as KEY=VALUE with all bytes but RFC 3986's unreserved ones percent-encoded.
std::string AppendQuery(std::string target, const std::vector<QueryParameter>& query);

// Request line and headers, with the empty line that ends them: Host; `headers` in their order, repetition kept;
// "User-Agent: fairlead" unless they have one; Content-Length when there is a body, and for POST, PUT and PATCH always
// (RFC 9110 section 8.6). `method` and `headers` must have passed CheckMethod and CheckHeaders.
std::string RequestHead(std::string_view method, const TargetUrl& url, const std::vector<RequestHeader>& headers,
                        uint64_t body_bytes);

}  // namespace fairlead
