// From the API's HTTP requests to the engine's, and back: checked whole, defaults filled in.
#pragma once

#include <fairlead/v1/http.pb.h>

#include <string>
#include <vector>

#include "base/limits.h"
#include "http/request.h"
#include "policy/pool_choice.h"

namespace fairlead {

struct SendRequest {
  HttpRequest request;
  std::vector<std::string> response_header_names;  // Empty: all.
};

// `remaining`: until the RPC's deadline; caps the timeout.
Result<SendRequest> ParseSendRequest(const v1::SendRequest& send, const Limits& limits, const HttpOptions& options,
                                     Duration remaining);

// `names`: of the headers that come back; empty: all.
v1::HttpResponse ToProto(HttpResponse response, const std::vector<std::string>& names);

}  // namespace fairlead
