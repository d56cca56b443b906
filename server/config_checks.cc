#include "config_checks.h"

#include <algorithm>
#include <cstring>

#include "base/limits.h"
#include "base/read_file.h"

namespace fairlead {

bool ConfigChecks::Name(const std::string& name, const std::string& field) {
  const std::string expected = "expected 1 to 128 of A-Z a-z 0-9 . _ : -";
  const bool valid = !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::strchr("._:-", c) != nullptr;
  });
  if (name.empty()) {
    errors_.Add(field, "is missing; " + expected);
  } else if (!valid) {
    errors_.Add(field, "not a name; " + expected);
  }
  return valid;
}

void ConfigChecks::Unique(const std::string& what, const std::string& field) {
  const auto [first, is_new] = seen_.emplace(what, field);
  if (!is_new) errors_.Add(field, "the same as " + first->second + "; expected another");
}

void ConfigChecks::Pem(const std::string& file, const std::string& field, const std::string& block,
                       const std::string& what) {
  if (file.empty()) return errors_.Add(field, "is missing; expected a PEM file with a " + what);
  const auto text = ReadFile(file, 64 * kMiB);
  if (!text) {
    errors_.Add(field, "\"" + file + "\" cannot be read: " + text.error() + "; expected a PEM file");
  } else if (text->find(block) == std::string::npos) {
    errors_.Add(field, "\"" + file + "\" has no " + what + "; expected a PEM file");
  }
}

}  // namespace fairlead
