// What the system says of this process.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fairlead {

struct ProcessUse {
  uint64_t open_files = 0;
  uint64_t open_files_limit = 0;
  uint64_t resident_bytes = 0;
};
ProcessUse ReadProcessUse();

// When the first of the certificates in these PEM files ends; absent: there are none that can be read.
std::optional<std::chrono::sys_seconds> EarliestExpiry(const std::vector<std::string>& files);

}  // namespace fairlead
