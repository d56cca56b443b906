// Texts for frames that a test makes by hand: an entry refers to its payload, and does not own it.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>

namespace fairlead {

// Until the process ends.
inline std::string_view Kept(std::string text) {
  static std::deque<std::string> all;
  return all.emplace_back(std::move(text));
}

}  // namespace fairlead
