// What the fuzz targets share. A target is tests/fuzz/NAME.cc, which defines LLVMFuzzerTestOneInput, a line in
// CMakeLists.txt beside it, and a corpus in tests/fuzz/corpus/NAME; NAME.dict is optional. `make fuzz` runs it with
// libFuzzer; `make test` replays its corpus.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

// Ends the process if the condition does not hold: for libFuzzer, and for the replay, the input is a find.
#define FUZZ_CHECK(condition)                                                             \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)

namespace fairlead {

// Values taken from the front of an input, as long as it lasts; then zeros and empty texts.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* bytes, size_t size) : left_(reinterpret_cast<const char*>(bytes), size) {}

  bool empty() const { return left_.empty(); }
  uint8_t Byte() {
    const std::string_view byte = Take(1);
    return byte.empty() ? 0 : static_cast<uint8_t>(byte.front());
  }
  // One byte tells its length.
  std::string Text() { return std::string(Take(Byte())); }
  std::string_view Rest() { return Take(left_.size()); }

 private:
  std::string_view Take(size_t bytes) {
    const std::string_view taken = left_.substr(0, bytes);
    left_.remove_prefix(taken.size());
    return taken;
  }

  std::string_view left_;
};

}  // namespace fairlead
