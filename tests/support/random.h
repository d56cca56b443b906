// Randomness that can be had again: a random test runs over seeds, prints the one that failed, and runs that one alone
// when the environment variable FAIRLEAD_SEED names it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

#include "base/time.h"

namespace fairlead {

class Draws {
 public:
  explicit Draws(uint64_t seed) : engine_(seed) {}

  uint64_t Below(uint64_t end) { return engine_() % end; }
  uint64_t Between(uint64_t least, uint64_t most) { return least + Below(most - least + 1); }
  bool OneIn(uint64_t times) { return Below(times) == 0; }
  double Unit() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }  // From [0, 1).
  // From zero to `most`, in milliseconds.
  Duration Milliseconds(uint64_t most) { return std::chrono::milliseconds(Below(most + 1)); }
  std::string Text(size_t most) { return std::string(Below(most + 1), static_cast<char>('a' + Below(26))); }

 private:
  std::mt19937_64 engine_;
};

template <typename Run>
void ForEachSeed(uint64_t seeds, const Run& run) {
  const char* chosen = std::getenv("FAIRLEAD_SEED");
  const uint64_t first = chosen == nullptr ? 1 : std::strtoull(chosen, nullptr, 10);
  for (uint64_t seed = first; seed < first + (chosen == nullptr ? seeds : 1); ++seed) {
    SCOPED_TRACE("FAIRLEAD_SEED=" + std::to_string(seed));
    Draws draws(seed);
    run(draws);
    if (testing::Test::HasFailure()) return;  // One is enough to look at.
  }
}

}  // namespace fairlead
