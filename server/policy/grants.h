// Which sessions of one identity others may read. Nothing that is not granted.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fairlead {

// Of fairlead.config.v1.Grant, which documents each.
struct Grant {
  std::string identity;
  std::vector<std::string> sessions;
  std::vector<std::string> readers;

  friend bool operator==(const Grant&, const Grant&) = default;
};

class Grants {
 public:
  Grants() = default;
  explicit Grants(std::vector<Grant> grants) : grants_(std::move(grants)) {}

  // Everybody may read what is their own.
  bool MayRead(std::string_view reader, std::string_view identity, std::string_view session) const;

 private:
  std::vector<Grant> grants_;
};

}  // namespace fairlead
