#include "net/tcp_progress.h"

// On its own: the kernel's tcp_info has the count, the C library's does not, and the two headers cannot be included
// together.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace fairlead {

uint64_t BytesAcknowledged(int descriptor) {
  tcp_info state = {};
  socklen_t size = sizeof(state);
  if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &state, &size) != 0) return 0;
  return state.tcpi_bytes_acked;
}

}  // namespace fairlead
