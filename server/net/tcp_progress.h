// How far a TCP connection has got.
#pragma once

#include <cstdint>

namespace fairlead {

// Bytes of ours that the peer's kernel has acknowledged (TCP_INFO); zero when the descriptor is no TCP socket.
uint64_t BytesAcknowledged(int descriptor);

}  // namespace fairlead
