// A directory of a test's own, gone with it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace fairlead {

class Scratch {
 public:
  Scratch() {
    std::string made = (std::filesystem::temp_directory_path() / "fairlead-XXXXXX").string();
    EXPECT_NE(mkdtemp(made.data()), nullptr);
    path_ = made;
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // The journal directory `from` as a process leaves it that is killed now.
  std::string Killed(const std::string& from) {
    const std::filesystem::path copy = path_ / ("killed-" + std::to_string(++copies_));
    std::filesystem::copy(from, copy, std::filesystem::copy_options::recursive);
    return copy.string();
  }

 private:
  std::filesystem::path path_;
  int copies_ = 0;
};

}  // namespace fairlead
