// From a URL to a connected byte stream: name, egress check of every address, address race, TLS. What sessions' dials
// and HTTP connections have in common.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>

#include "base/current.h"
#include "net/loop.h"
#include "net/tls.h"
#include "policy/access.h"
#include "policy/egress.h"
#include "policy/lifecycle.h"

namespace fairlead {

// How long each step took; absent: it did not happen.
struct ConnectTimes {
  Duration resolve = Duration::zero();
  Duration connect = Duration::zero();
  std::optional<Duration> tls = std::nullopt;
};

struct Connected {
  Wire wire;
  ConnectTimes times;
};

// A connection under way; destroying it abandons it, and its callback does not come.
class Connecting {
 public:
  virtual ~Connecting() = default;
  // "in the TLS handshake": for the message of a timeout, which is the caller's affair.
  virtual const char* doing() const = 0;
};

// Loop thread. done comes once, never from within the call. A Loss says whether trying again can help; nothing that a
// caller wants sent was sent. The references outlive what is returned.
// The rules are those of the identity. `avoid` is dialled last.
std::unique_ptr<Connecting> Connect(Loop& loop, const Current<Access>& access, TlsClient& tls,
                                    const std::string& identity, const TargetUrl& url, std::optional<IpAddress> avoid,
                                    std::function<void(std::expected<Connected, Loss>)> done);

}  // namespace fairlead
