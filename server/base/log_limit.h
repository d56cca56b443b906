// Which lines of a log are written when many are equal: of each text so many a second. The others are counted, and told
// in one line more when their second is over.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"

namespace fairlead {

// One thread.
class LogLimit {
 public:
  static constexpr uint64_t kBurst = 20;
  static constexpr Duration kWindow = std::chrono::seconds(1);
  // More texts than these in one second are written without being counted.
  static constexpr size_t kTexts = 64;

  // A line of this text came: calls write(text, suppressed) for what is to be written now. `suppressed`, if not 0: so
  // many more of this text came, and were not written. Those of the last burst are told with the next line of any text.
  template <typename Write>
  void Came(std::string_view text, SteadyTime now, const Write& write) {
    std::erase_if(texts_, [&](const Text& each) {
      if (now - each.since < kWindow) return false;
      if (each.came > kBurst) write(each.text, each.came - kBurst);
      return true;
    });
    const auto known = std::ranges::find(texts_, text, &Text::text);
    if (known != texts_.end()) {
      if (++known->came > kBurst) return;
    } else if (texts_.size() < kTexts) {
      texts_.push_back({std::string(text), now, 1});
    }
    write(text, uint64_t{0});
  }

 private:
  struct Text {
    std::string text;
    SteadyTime since;
    uint64_t came = 0;
  };
  std::vector<Text> texts_;
};

}  // namespace fairlead
