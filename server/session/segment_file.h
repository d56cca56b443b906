// Files of the journal directory: what the operating system does for session/journal_directory. Loop thread.
#pragma once

#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

namespace fairlead {

// A new file, written through memory: what stands there is the file's even if the process is killed at once.
class MappedFile {
 public:
  // Its bytes are zeros, and are there: a full disk is an error here, and no signal later. Nothing is left of a file
  // that could not be made.
  static std::expected<MappedFile, std::error_code> Create(const std::filesystem::path& path, size_t bytes);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile();

  char* bytes() const { return bytes_; }
  size_t size() const { return size_; }

 private:
  char* bytes_ = nullptr;
  size_t size_ = 0;
};

// Up to `most` bytes of a file, from its beginning; fewer or none if they cannot be read.
std::string ReadFile(const std::filesystem::path& path, size_t most);

// Locks a directory for this process, until it ends, however it does.
class DirectoryLock {
 public:
  // Makes the directory if only it is missing, readable for its user alone.
  static std::expected<DirectoryLock, std::string> Take(const std::filesystem::path& directory);
  DirectoryLock(DirectoryLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace fairlead
