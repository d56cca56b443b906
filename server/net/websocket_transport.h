// WebSocket (RFC 6455) as a client, over a Wire: moves bytes between the socket and policy/websocket_codec.
#pragma once

#include <functional>
#include <memory>

#include "net/dial.h"
#include "net/tls.h"

namespace fairlead {

// Loop thread. Sends the upgrade request and waits for its answer; done comes once, unless what is returned is
// destroyed before: that closes the wire.
std::unique_ptr<Dialling> UpgradeToWebSocket(Wire wire, const DialRequest& request, const Clock& clock,
                                             Dialler::Done done);

}  // namespace fairlead
