// What an exchange's answer to the WebSocket upgrade means, and which upgrade headers a caller may set.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/failure.h"
#include "base/frame.h"
#include "policy/lifecycle.h"

namespace fairlead {

// An answer other than 101. 401 and 403 are fatal: no retry will mend them. retry_after is the field's value (RFC 9110
// section 10.2.3: seconds or a date), empty if there was none.
Loss UpgradeRefused(unsigned status, std::string_view retry_after, WallTime now);

// An answer of 101: whether its choice of subprotocol is one that we can accept (RFC 6455 section 4.1, point 6 of the
// client's checks).
std::optional<Failure> CheckSubprotocol(const std::vector<std::string>& offered, std::string_view chosen);

// CheckHeaders of "target.headers", and none is a Sec-WebSocket-*: these belong to Fairlead, too.
Result<void> CheckUpgradeHeaders(const std::vector<RequestHeader>& headers, uint64_t max_bytes);

}  // namespace fairlead
