// The control endpoint's HTTP half: what was received, and what the next requests meet.
#pragma once

#include <string>

#include "exchange/control_request.h"
#include "exchange/http_connection.h"

namespace exchange {

// Loop thread, all of them.
Result<json::object> GetHttp(const HttpShared& http, const std::string& path, Parameters query);
Result<json::object> PostHttp(HttpShared& http, const std::string& path, json::object body);
// Forgets closed connections, requests, orders, counts, and what was armed; with `connections`, resets the live ones
// first.
void ResetHttp(HttpShared& http, bool connections);

}  // namespace exchange
