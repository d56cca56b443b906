#include "session/segment_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace fairlead {
namespace {

// Frames may be anything: they are for the gateway's user alone.
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;

std::error_code LastError() { return {errno, std::generic_category()}; }

}  // namespace

std::expected<MappedFile, std::error_code> MappedFile::Create(const std::filesystem::path& path, size_t bytes) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode);
  if (descriptor < 0) return std::unexpected(LastError());
  MappedFile file;
  std::error_code error(posix_fallocate(descriptor, 0, static_cast<off_t>(bytes)), std::generic_category());
  if (!error) {
    void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED) {
      error = LastError();
    } else {
      file.bytes_ = static_cast<char*>(mapped);
      file.size_ = bytes;
    }
  }
  close(descriptor);
  if (!error) return file;
  unlink(path.c_str());
  return std::unexpected(error);
}

MappedFile::~MappedFile() {
  if (bytes_ != nullptr) munmap(bytes_, size_);
}

std::string ReadFile(const std::filesystem::path& path, size_t most) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return {};
  std::string bytes(most, '\0');
  size_t got = 0;
  while (got < most) {
    const ssize_t piece = read(descriptor, bytes.data() + got, most - got);
    if (piece < 0 && errno == EINTR) continue;
    if (piece <= 0) break;
    got += static_cast<size_t>(piece);
  }
  close(descriptor);
  bytes.resize(got);
  return bytes;
}

std::expected<DirectoryLock, std::string> DirectoryLock::Take(const std::filesystem::path& directory) {
  if (mkdir(directory.c_str(), kDirectoryMode) != 0 && errno != EEXIST)
    return std::unexpected(std::string("cannot be made: ") + std::strerror(errno));
  const int descriptor = open((directory / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode);
  if (descriptor < 0) return std::unexpected(std::string("cannot be written: ") + std::strerror(errno));
  DirectoryLock lock(descriptor);
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return std::unexpected("is in use by another process");
  return std::unexpected(std::string("cannot be locked: ") + std::strerror(errno));
}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace fairlead
