// The simulated exchange as a test sees it: asks its control endpoint until what must come has come.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "exchange/exchange.h"
#include "support/network.h"

namespace fairlead {

// Waits until the answer to a GET holds the text; returns it.
inline std::string WaitForRecord(exchange::Exchange& exchange, const std::string& text,
                                 const std::string& path = "/connections/latest") {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::string answer;
  do {
    answer = exchange.Control("GET", path).json;
    if (answer.find(text) != std::string::npos) return answer;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < deadline);
  ADD_FAILURE() << "waited in vain for " << text << " in " << answer.substr(0, 2000);
  return answer;
}

}  // namespace fairlead
