// What travels on a session.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/secret.h"

namespace fairlead {

// Values equal those of fairlead.v1.FrameKind.
enum class FrameKind : int { kText = 1, kBinary = 2 };

// One HTTP header field of an exchange's answer.
struct Header {
  std::string name;
  std::string value;
  friend bool operator==(const Header&, const Header&) = default;
};

// One of what an exchange is sent. The value may be a credential.
struct RequestHeader {
  RequestHeader(std::string its_name, std::string its_value)
      : name(std::move(its_name)), value(Secret(std::move(its_value))) {}

  std::string name;
  Secret value;
  friend bool operator==(const RequestHeader&, const RequestHeader&) = default;
};

// Recognises frames: all parts must occur in one payload. No parts match nothing.
struct Match {
  std::vector<std::string> contains;

  bool empty() const { return contains.empty(); }
  bool operator()(std::string_view payload) const {
    for (const std::string& part : contains) {
      if (payload.find(part) == std::string_view::npos) return false;
    }
    return !contains.empty();
  }
  friend bool operator==(const Match&, const Match&) = default;
};

}  // namespace fairlead
