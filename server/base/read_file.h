// A whole file at once.
#pragma once

#include <cstddef>
#include <expected>
#include <string>

namespace fairlead {

// What the system says of a file that cannot be read, or its text. Any thread; it blocks.
std::expected<std::string, std::string> ReadFile(const std::string& path, std::size_t max_bytes);

}  // namespace fairlead
