// What the control endpoint can do, apart from how it is reached.
#pragma once

#include <functional>
#include <string>

#include "exchange/connection.h"
#include "exchange/exchange.h"
#include "exchange/http_connection.h"

namespace exchange {

// Loop thread.
class Control {
 public:
  // Of the listener that the ready line calls so; empty = of all. False: there is none.
  using SetAccept = std::function<bool(const AcceptMode&, const std::string& on)>;

  Control(Shared& shared, HttpShared& http, SetAccept set_accept)
      : shared_(shared), http_(http), set_accept_(std::move(set_accept)) {}

  ControlReply Execute(const std::string& method, const std::string& target, const std::string& body);

 private:
  Shared& shared_;
  HttpShared& http_;
  const SetAccept set_accept_;
};

}  // namespace exchange
