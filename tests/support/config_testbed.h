// Configuration files that a test writes.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config.h"

namespace fairlead {

// Of one test: a directory of its own that goes with it.
class ConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "config_test_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = directory_ / name;
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  Config Load(const std::string& yaml) const {
    auto config = LoadConfig(Write("c.yaml", yaml));
    EXPECT_TRUE(config) << config.error().front();
    return config ? *config : Config{};
  }

  // What is wrong with `yaml`, without the file's name: "LINE: field: text".
  std::vector<std::string> Errors(const std::string& yaml) const {
    const std::string path = Write("c.yaml", yaml);
    const auto config = LoadConfig(path);
    if (config) return {};
    std::vector<std::string> errors;
    for (const std::string& error : config.error()) {
      EXPECT_THAT(error, testing::StartsWith(path + ":"));
      errors.push_back(error.substr(path.size() + 1));
    }
    return errors;
  }

  std::filesystem::path directory_;
};

inline const std::string kMinimal = "listeners: [{identity: dev, unix: {path: f.sock}}]\n";

}  // namespace fairlead
