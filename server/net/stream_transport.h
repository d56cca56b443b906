// A raw socket, plain or TLS: frames cut out of a byte stream by policy/framing.
#pragma once

#include <memory>

#include "net/dial.h"
#include "net/tls.h"

namespace fairlead {

// Loop thread. Writes the preamble, if there is one; done comes once, never from within the call, unless what is
// returned is destroyed before: that closes the wire.
std::unique_ptr<Dialling> OpenStream(Wire wire, const SocketOptions& options, Loop& loop, Dialler::Done done);

}  // namespace fairlead
