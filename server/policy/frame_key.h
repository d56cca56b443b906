// What two copies of one frame have in common, and no other frame: a value in it, or the whole of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fairlead {

// 128 bits of a hash, salted by the process: nobody can make two frames meet, and chance will not.
struct FrameKey {
  uint64_t high = 0;
  uint64_t low = 0;

  friend bool operator==(const FrameKey&, const FrameKey&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const FrameKey& key) {
    return H::combine(std::move(state), key.low);
  }
};

// Whether this is an RFC 6901 pointer to something within a document.
bool IsJsonPointer(std::string_view pointer);

class FrameKeys {
 public:
  // Empty: the whole payload is the key; else IsJsonPointer.
  explicit FrameKeys(std::string json_pointer);
  ~FrameKeys();
  FrameKeys(FrameKeys&&) noexcept;
  FrameKeys& operator=(FrameKeys&&) noexcept;

  // Absent: the payload is no JSON document, or has no string or number there. What stands behind the value is not
  // looked at.
  std::optional<FrameKey> Of(std::string_view payload);

  bool of_payload() const { return pointer_.empty(); }

 private:
  struct Parser;

  std::string pointer_;
  std::unique_ptr<Parser> parser_;  // Null: not needed.
};

}  // namespace fairlead
