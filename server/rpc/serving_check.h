// Whether adapters would be served: asks each listener's health, as an adapter would ask it.
#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace fairlead {

// A listener that is served.
struct ServedAt {
  std::string address;  // "127.0.0.1:7070", or a path.
  bool is_unix = false;
  std::shared_ptr<grpc::Channel> inside = nullptr;  // To its server, without a connection; null: it is called.
};

// Any thread. told is called once, on one of gRPC's threads: why not, or empty; within about 2 s.
//
// On a connection of its own each: accepting is checked, too. Where a call would not do (a listener with TLS may want a
// certificate that nobody gave us) the server is asked inside of the process, and the listener only connected to.
void CheckServing(const std::vector<ServedAt>& listeners, std::function<void(std::string why_not)> told);

}  // namespace fairlead
