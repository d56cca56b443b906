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
  EXPECT_FALSE(config->channelz);
  const Egress egress(config->egress);
  for (const auto& [url, rule] :
       std::vector<std::pair<std::string, std::string>>{{"ws://localhost:9001/", "loopback"},
                                                        {"wss://localhost:9001/", "loopback"},
                                                        {"ws://127.0.0.1:9001/", "loopback"},
                                                        {"ws://[::1]:9001/", "loopback"},
                                                        {"tcp://127.0.0.1:9001", "loopback"},
                                                        {"tls://localhost:9001", "loopback"},
                                                        {"tls://stream.example.com:443", "public"},
                                                        {"wss://stream.example.com/", "public"}}) {
    const auto allowed = egress.Allow(*ParseTarget(url, 8192));
    ASSERT_TRUE(allowed) << url;
    EXPECT_EQ((*allowed)->name, rule) << url;
    EXPECT_EQ(Egress::AllowAddress(**allowed, "h", IpAddress::V4({127, 0, 0, 1})).has_value(), rule == "loopback")
        << url;
  }
  EXPECT_FALSE(egress.Allow(*ParseTarget("ws://stream.example.com/", 8192)));
  EXPECT_FALSE(egress.Allow(*ParseTarget("tcp://stream.example.com:80", 8192)));
  for (const char* url : {"http://localhost:9001/", "https://127.0.0.1:9001/", "https://api.example.com/"}) {
    EXPECT_TRUE(egress.Allow(*ParseRequestUrl(url, 8192))) << url;
  }
  EXPECT_FALSE(egress.Allow(*ParseRequestUrl("http://api.example.com/", 8192)));
}

TEST(ConfigFiles, DocumentationHasEveryField) {
  const std::string page = ReadWhole(kRoot / "docs/configuration.md");
  for (const std::string& path : AllPaths()) EXPECT_THAT(page, HasSubstr("\n| `" + path + "` | ")) << path;
}

std::string Size(std::uint64_t bytes) {
  for (const auto& [factor, unit] : {std::pair{kGiB, "GiB"}, std::pair{kMiB, "MiB"}, std::pair{kKiB, "KiB"}}) {
    if (bytes % factor == 0) return std::to_string(bytes / factor) + unit;
  }
  return std::to_string(bytes);
}
std::string Seconds(Duration span) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(span).count()) + "s";
}

// The page and the proto say of each field of `section` what the code holds; the proto as "absent: DEFAULT".
void ExpectDocumented(const std::string& section, const Descriptor& descriptor,
                      const std::vector<std::pair<std::string, std::string>>& defaults) {
  const std::string page = ReadWhole(kRoot / "docs/configuration.md");
  const std::string proto = ReadWhole(kRoot / "proto/fairlead/config/v1/config.proto");
  EXPECT_EQ(defaults.size(), static_cast<std::size_t>(descriptor.field_count()));
  for (const auto& [field, value] : defaults) {
    EXPECT_THAT(page, HasSubstr(absl::StrFormat("\n| `%s.%s` | `%s` | ", section, field, value)));
    const std::size_t end = proto.find(" " + field + " = ", proto.find("message " + descriptor.name() + " {"));
    ASSERT_NE(end, std::string::npos) << field;
    const std::size_t absent = proto.rfind("absent: ", end);  // In the comment above the field.
    const std::string comment = proto.substr(absent, end - absent);
    EXPECT_EQ(comment.find(';', comment.find('\n')), std::string::npos) << field << " has no default of its own";
    EXPECT_THAT(comment, StartsWith("absent: " + value)) << field;
  }
}

TEST(ConfigFiles, DocumentedLimitsAreTheDefaults) {
  const Limits limits;
  ExpectDocumented(
      "limits", *config::v1::Limits::descriptor(),
      {
          {"sessions", std::to_string(limits.sessions)},
          {"streams", std::to_string(limits.streams)},
          {"new_streams_per_second", std::to_string(limits.new_streams_per_second)},
          {"channels_per_stream", std::to_string(limits.channels_per_stream)},
          {"subscribers_per_session", std::to_string(limits.subscribers_per_session)},
          {"connections", std::to_string(limits.connections)},
          {"message_bytes", Size(limits.message_bytes)},
          {"journal_bytes", Size(limits.journal_bytes)},
          {"total_journal_bytes", Size(limits.total_journal_bytes)},
          {"send_queue_bytes", Size(limits.send_queue_bytes)},
          {"total_send_queue_bytes", Size(limits.total_send_queue_bytes)},
          {"setup_steps", std::to_string(limits.setup_steps)},
          {"setup_bytes", Size(limits.setup_bytes)},
          {"header_bytes", Size(limits.header_bytes)},
          {"url_bytes", Size(limits.url_bytes)},
          {"waiting_events", std::to_string(limits.waiting_events)},
          {"unanswered_pings", std::to_string(limits.unanswered_pings)},
          {"dedupe_keys", std::to_string(limits.dedupe_keys)},
          {"stuck_write",
           std::to_string(std::chrono::duration_cast<std::chrono::minutes>(limits.stuck_write).count()) + "m"},
          {"linger", std::to_string(std::chrono::duration_cast<std::chrono::minutes>(limits.linger).count()) + "m"},
          {"requests", std::to_string(limits.requests)},
          {"http_connections", std::to_string(limits.http_connections)},
          {"total_body_bytes", Size(limits.total_body_bytes)},
      });
}

TEST(ConfigFiles, DocumentedHttpOptionsAreTheDefaults) {
  const HttpOptions http;
  ExpectDocumented("http", *config::v1::Http::descriptor(),
                   {
                       {"connections_per_pool", std::to_string(http.connections_per_pool)},
                       {"waiting_per_pool", std::to_string(http.waiting_per_pool)},
                       {"idle_timeout", Seconds(http.idle_timeout)},
                       {"dial_timeout", Seconds(http.dial_timeout)},
                       {"response_bytes", Size(http.response_bytes)},
                       {"response_header_bytes", Size(http.response_header_bytes)},
                   });
}

TEST(ConfigFiles, DocumentedJournalDirectoryIsTheDefault) {
  const JournalDirectoryOptions options;
  ExpectDocumented(
      "journal_directory", *config::v1::JournalDirectory::descriptor(),
      {
          {"path", '"' + options.path + '"'},
          {"max_bytes", Size(options.max_bytes)},
          {"age", std::to_string(std::chrono::duration_cast<std::chrono::hours>(options.age).count()) + "h"},
      });
}

}  // namespace
}  // namespace fairlead
