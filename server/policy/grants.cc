#include "policy/grants.h"

#include <algorithm>

namespace fairlead {
namespace {

// A name, or "md*": every name that begins so.
bool Matches(std::string_view pattern, std::string_view name) {
  if (!pattern.ends_with('*')) return pattern == name;
  pattern.remove_suffix(1);
  return name.starts_with(pattern);
}

}  // namespace

bool Grants::MayRead(std::string_view reader, std::string_view identity, std::string_view session) const {
  if (reader == identity) return true;
  return std::ranges::any_of(grants_, [&](const Grant& grant) {
    return grant.identity == identity && std::ranges::find(grant.readers, reader) != grant.readers.end() &&
           std::ranges::any_of(grant.sessions, [&](const auto& pattern) { return Matches(pattern, session); });
  });
}

}  // namespace fairlead
