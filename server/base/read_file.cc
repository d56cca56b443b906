#include "base/read_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace fairlead {

std::expected<std::string, std::string> ReadFile(const std::string& path, std::size_t max_bytes) {
  if (std::error_code error; std::filesystem::is_directory(path, error)) return std::unexpected("is a directory");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::unexpected(std::strerror(errno));
  // Without zeros first: the bound is large, and files are small.
  std::string text;
  text.resize_and_overwrite(max_bytes + 1, [&file](char* bytes, std::size_t most) {
    file.read(bytes, static_cast<std::streamsize>(most));
    return static_cast<std::size_t>(file.gcount());
  });
  if (file.bad()) return std::unexpected(std::strerror(errno));
  if (text.size() > max_bytes) return std::unexpected("has more than " + std::to_string(max_bytes) + " bytes");
  return text;
}

}  // namespace fairlead
