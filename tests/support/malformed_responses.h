// The malformed responses of malformed_responses.json, which every test that has to do with them reads, in C++ and
// Python. A case has a `name`; `bytes`, in which each character is the byte of its number (Latin-1), and `then`, a text
// and how many times it follows them; `closes`, whether the exchange closes the connection behind them; `to_head`,
// whether they answer a HEAD request; and its `verdict`: the reason of the failure, or "NOT_REUSED": a response that is
// complete, on a connection that must not carry another request. `limits` are those with which the verdicts are true.
#pragma once

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace fairlead {

struct MalformedResponse {
  std::string name;
  std::string bytes;  // With what `then` says.
  bool closes = false;
  bool to_head = false;
  std::string verdict;
};

struct MalformedResponses {
  uint64_t header_bytes = 0;
  uint64_t body_bytes = 0;
  std::vector<MalformedResponse> cases;
};

inline std::string FromLatin1(const std::string& utf8) {
  std::string bytes;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    // Two bytes are all that U+0080 to U+00FF need.
    bytes += lead < 0x80 ? utf8[i] : static_cast<char>((lead & 0x03) << 6 | (utf8[++i] & 0x3f));
  }
  return bytes;
}

inline MalformedResponses ReadMalformedResponses() {
  std::ostringstream text;
  text << std::ifstream(std::filesystem::path(__FILE__).replace_extension(".json")).rdbuf();
  google::protobuf::Struct file;
  const auto parsed = google::protobuf::util::JsonStringToMessage(text.str(), &file);
  EXPECT_TRUE(parsed.ok()) << parsed.ToString();

  const auto number = [](const google::protobuf::Value& value) { return static_cast<uint64_t>(value.number_value()); };
  auto& limits = *file.mutable_fields()->at("limits").mutable_struct_value()->mutable_fields();
  MalformedResponses responses{number(limits["header_bytes"]), number(limits["body_bytes"]), {}};
  for (auto& value : *file.mutable_fields()->at("cases").mutable_list_value()->mutable_values()) {
    auto& fields = *value.mutable_struct_value()->mutable_fields();
    std::string bytes = fields["bytes"].string_value();
    auto& then = *fields["then"].mutable_struct_value()->mutable_fields();
    for (uint64_t i = 0; i < number(then["times"]); ++i) bytes += then["text"].string_value();
    responses.cases.push_back({.name = fields["name"].string_value(),
                               .bytes = FromLatin1(bytes),
                               .closes = fields["closes"].bool_value(),
                               .to_head = fields["to_head"].bool_value(),
                               .verdict = fields["verdict"].string_value()});
  }
  return responses;
}

}  // namespace fairlead
