// Which trace a call belongs to, by W3C Trace Context (https://www.w3.org/TR/trace-context/). For logs alone.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace fairlead {

class TraceId {
 public:
  static constexpr size_t kDigits = 32;

  TraceId() = default;
  // Has kDigits.
  explicit TraceId(std::string_view digits) { digits.copy(digits_.data(), kDigits); }

  // In hexadecimal, small letters; empty: of no trace.
  std::string_view text() const {
    return digits_[0] == 0 ? std::string_view() : std::string_view(digits_.data(), kDigits);
  }
  friend bool operator==(const TraceId&, const TraceId&) = default;

 private:
  std::array<char, kDigits> digits_ = {};
};

// Of the value of a call's one `traceparent` header; of no trace if it is not valid.
TraceId ParseTraceparent(std::string_view header);

}  // namespace fairlead
