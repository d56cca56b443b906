// The control endpoint's HTTP/1.1: requests with Content-Length, keep-alive, nothing else.
#pragma once

#include "exchange/control.h"
#include "exchange/wire.h"

namespace exchange {

// Serves one client until it leaves. `control` must outlive the loop's pending operations' execution.
void ServeControl(Socket socket, Control& control);

}  // namespace exchange
