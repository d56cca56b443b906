// What HTTP header fields may be, in both directions (RFC 9110 section 5).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/failure.h"
#include "base/frame.h"

namespace fairlead {

// RFC 9110 section 5.6.2.
bool IsToken(std::string_view text);

// RFC 9110 section 5.5: no control character but the tab. White space at its ends is not looked at.
bool IsFieldValue(std::string_view text);

// Without spaces and tabs at both ends (OWS, RFC 9110 section 5.6.3).
std::string_view Trimmed(std::string_view text);

// Names of header fields, and the tokens in most of their values, compare without regard to case.
bool EqualsIgnoringCase(std::string_view left, std::string_view right);

// Whether callers' headers may go out as they are: RFC 9110 names and values, none that belongs to Fairlead (Host,
// Connection, Content-Length, Transfer-Encoding, TE, Trailer, Upgrade, Expect, Keep-Alive, Proxy-*), names and values
// together at most `max_bytes`. Failures name `field`, as in "request.headers[0].name", and never quote a value:
// kInvalidField, or kLimitReached, whose message names limits.header_bytes.
Result<void> CheckHeaders(const std::vector<RequestHeader>& headers, uint64_t max_bytes, std::string_view field);

}  // namespace fairlead
