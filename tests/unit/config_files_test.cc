// Files of the project that speak of the configuration: the development configuration loads, the documentation is whole
// and true.
#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "config.h"
#include "fairlead/config/v1/config.pb.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::filesystem::path kRoot = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path();

std::string ReadWhole(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_FALSE(text.str().empty()) << path;
  return text.str();
}

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

bool IsFields(const FieldDescriptor& field) {
  return field.message_type() != nullptr && field.message_type()->full_name() != "google.protobuf.Duration";
}

// "egress.rules[].name" and so on, of the whole descriptor.
void CollectPaths(const Descriptor& descriptor, const std::string& prefix, std::vector<std::string>& paths) {
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    paths.push_back(prefix + field.name());
    if (IsFields(field)) CollectPaths(*field.message_type(), paths.back() + (field.is_repeated() ? "[]." : "."), paths);
  }
}

std::vector<std::string> AllPaths() {
  std::vector<std::string> paths;
  CollectPaths(*config::v1::Config::descriptor(), "", paths);
  return paths;
}

TEST(ConfigFiles, DevelopmentConfigurationLoads) {
  const auto config = LoadConfig(kRoot / "deploy/development.yaml");
  ASSERT_TRUE(config) << config.error().front();
  EXPECT_EQ(config->listeners.size(), 2u);
  EXPECT_TRUE(config->reflection);
  const Egress egress(config->egress);
  for (const auto& [url, rule] :
       std::vector<std::pair<std::string, std::string>>{{"ws://localhost:9001/", "loopback"},
                                                        {"wss://localhost:9001/", "loopback"},
                                                        {"ws://127.0.0.1:9001/", "loopback"},
                                                        {"ws://[::1]:9001/", "loopback"},
                                                        {"wss://stream.example.com/", "public"}}) {
    const auto allowed = egress.Allow(*ParseTarget(url, 8192));
    ASSERT_TRUE(allowed) << url;
    EXPECT_EQ((*allowed)->name, rule) << url;
    EXPECT_EQ(Egress::AllowAddress(**allowed, "h", IpAddress::V4({127, 0, 0, 1})).has_value(), rule == "loopback")
        << url;
  }
  EXPECT_FALSE(egress.Allow(*ParseTarget("ws://stream.example.com/", 8192)));
}

TEST(ConfigFiles, DocumentationHasEveryField) {
  const std::string page = ReadWhole(kRoot / "docs/configuration.md");
  for (const std::string& path : AllPaths()) EXPECT_THAT(page, HasSubstr("\n| `" + path + "` | ")) << path;
}

// Both say "absent: DEFAULT" of each limit; Limits is what holds.
TEST(ConfigFiles, DocumentedLimitsAreTheDefaults) {
  const std::string page = ReadWhole(kRoot / "docs/configuration.md");
  const std::string proto = ReadWhole(kRoot / "proto/fairlead/config/v1/config.proto");
  const Limits limits;
  const auto size = [](std::uint64_t bytes) {
    for (const auto& [factor, unit] : {std::pair{kGiB, "GiB"}, std::pair{kMiB, "MiB"}, std::pair{kKiB, "KiB"}}) {
      if (bytes % factor == 0) return std::to_string(bytes / factor) + unit;
    }
    return std::to_string(bytes);
  };
  const std::vector<std::pair<std::string, std::string>> defaults = {
      {"sessions", std::to_string(limits.sessions)},
      {"streams", std::to_string(limits.streams)},
      {"channels_per_stream", std::to_string(limits.channels_per_stream)},
      {"subscribers_per_session", std::to_string(limits.subscribers_per_session)},
      {"connections", std::to_string(limits.connections)},
      {"message_bytes", size(limits.message_bytes)},
      {"journal_bytes", size(limits.journal_bytes)},
      {"total_journal_bytes", size(limits.total_journal_bytes)},
      {"send_queue_bytes", size(limits.send_queue_bytes)},
      {"total_send_queue_bytes", size(limits.total_send_queue_bytes)},
      {"setup_steps", std::to_string(limits.setup_steps)},
      {"setup_bytes", size(limits.setup_bytes)},
      {"header_bytes", size(limits.header_bytes)},
      {"url_bytes", size(limits.url_bytes)},
      {"waiting_events", std::to_string(limits.waiting_events)},
      {"unanswered_pings", std::to_string(limits.unanswered_pings)},
      {"stuck_write",
       std::to_string(std::chrono::duration_cast<std::chrono::minutes>(limits.stuck_write).count()) + "m"},
  };
  EXPECT_EQ(defaults.size(), static_cast<std::size_t>(config::v1::Limits::descriptor()->field_count()));
  for (const auto& [field, value] : defaults) {
    EXPECT_THAT(page, HasSubstr(absl::StrFormat("\n| `limits.%s` | `%s` | ", field, value)));
    const std::size_t end = proto.find(" " + field + " = ", proto.find("message Limits"));
    ASSERT_NE(end, std::string::npos) << field;
    const std::size_t absent = proto.rfind("absent: ", end);  // In the comment above the field.
    const std::string comment = proto.substr(absent, end - absent);
    EXPECT_EQ(comment.find(';', comment.find('\n')), std::string::npos) << field << " has no default of its own";
    EXPECT_THAT(comment, StartsWith("absent: " + value)) << field;
  }
}

}  // namespace
}  // namespace fairlead
