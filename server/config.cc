#include "config.h"

#include <absl/strings/ascii.h>
#include <absl/strings/str_format.h>
#include <sys/un.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include "base/read_file.h"
#include "config_access.h"
#include "config_checks.h"
#include "config_yaml.h"
#include "fairlead/config/v1/config.pb.h"

namespace fairlead {
namespace {

namespace proto = config::v1;

constexpr std::size_t kMaxFileBytes = 1 * kMiB;  // Of the configuration; real ones have a few KiB.
constexpr std::size_t kMaxUnixPathBytes = sizeof(sockaddr_un::sun_path) - 1;

// Turns one parsed file into plain values; collects what is wrong with it.
class Validation {
 public:
  explicit Validation(ConfigErrors& errors) : errors_(errors), checks_(errors) {}

  Config Convert(const proto::Config& file) {
    Config config;
    if (file.listeners().empty()) errors_.Add("listeners", "is missing; expected at least one, with unix or tcp");
    for (int i = 0; i < file.listeners_size(); ++i) {
      config.listeners.push_back(ConvertListener(file.listeners(i), absl::StrFormat("listeners[%d]", i)));
    }
    ConvertAccess(file, needs_callers_, checks_, config);
    ConvertTls(file.tls(), config.tls);
    ConvertLimits(file.limits(), config.limits);
    ConvertFlush(file.flush(), config);
    ConvertHttp(file.http(), config);
    ConvertJournalDirectory(file.journal_directory(), config.journal_directory);
    if (file.has_admin()) config.admin = ConvertAdmin(file.admin());
    if (file.log().level() != proto::Log::LEVEL_UNSPECIFIED) {
      config.log_level = static_cast<Level>(file.log().level());  // The values are the same; a test compares them.
    }
    if (file.has_reflection()) config.reflection = file.reflection();
    if (file.has_channelz()) config.channelz = file.channelz();
    if (config.channelz && !file.listeners().empty() &&
        std::ranges::all_of(file.listeners(), [](const proto::Listener& each) { return each.identity().empty(); }))
      errors_.Add("channelz", "is answered by listeners that name an identity; expected one");
    if (file.has_shutdown_timeout()) config.shutdown_timeout = ToDuration(file.shutdown_timeout());
    return config;
  }

 private:
  Config::Listener ConvertListener(const proto::Listener& file, const std::string& path) {
    Config::Listener listener;
    listener.identity = file.identity();
    if (file.identity().empty() && file.tcp().has_tls()) {
      needs_callers_ = path;
    } else {
      checks_.Name(file.identity(), path + ".identity");
    }
    if (file.has_unix() && file.has_tcp())
      errors_.Add(path + ".tcp", "unix is given too; expected one of unix and tcp");
    if (!file.has_unix() && !file.has_tcp()) errors_.Add(path, "has no address; expected one of unix and tcp");
    if (file.has_unix()) {
      listener.address = ConvertUnix(file.unix(), path + ".unix");
    } else if (file.has_tcp()) {
      listener.address = ConvertTcp(file.tcp(), path + ".tcp");
    }
    return listener;
  }

  UnixAddress ConvertUnix(const proto::UnixListener& file, const std::string& path) {
    UnixAddress listener;
    listener.path = file.path();
    const std::string field = path + ".path";
    if (listener.path.empty()) {
      errors_.Add(field, "is missing; expected where the socket shall be");
    } else if (listener.path.size() > kMaxUnixPathBytes) {
      errors_.Add(field, absl::StrFormat("has %d bytes; expected at most %d", listener.path.size(), kMaxUnixPathBytes));
    } else if (listener.path.find('\0') != std::string::npos) {
      errors_.Add(field, "has a zero byte; expected a path");
    } else {
      checks_.Unique("unix " + std::filesystem::path(listener.path).lexically_normal().string(), field);
    }
    if (!file.mode().empty()) {
      const std::string& mode = file.mode();
      const bool octal = (mode.size() == 3 || (mode.size() == 4 && mode.front() == '0')) &&
                         std::ranges::all_of(mode, [](char c) { return c >= '0' && c <= '7'; });
      if (octal) listener.mode = static_cast<unsigned>(std::stoul(mode, nullptr, 8));
      if (!octal) errors_.Add(path + ".mode", "wrong value \"" + mode + "\"; expected octal permissions, as \"0660\"");
    }
    return listener;
  }

  TcpAddress ConvertTcp(const proto::TcpListener& file, const std::string& path) {
    TcpAddress listener;
    const auto address = IpAddress::Parse(file.host());
    const std::string expected = "expected \"127.0.0.1\" or \"::1\", or any address with tls";
    if (file.host().empty()) {
      errors_.Add(path + ".host", "is missing; " + expected);
    } else if (!address) {
      errors_.Add(path + ".host", "\"" + file.host() + "\" is not an IP address; " + expected);
    } else if (!IsLoopback(*address) && !file.has_tls()) {
      errors_.Add(path + ".host", "listeners beyond loopback need tls; " + expected);
    } else {
      listener.host = address->Text();
    }
    if (file.port() > std::numeric_limits<std::uint16_t>::max()) {
      errors_.Add(path + ".port",
                  absl::StrFormat("%d is out of range; expected 0 (any free port) to 65535", file.port()));
    } else {
      listener.port = static_cast<std::uint16_t>(file.port());
      if (!listener.host.empty() && listener.port != 0) {
        checks_.Unique(absl::StrFormat("tcp %s %d", listener.host, listener.port), path);
      }
    }
    if (file.has_tls()) listener.tls = ConvertListenerTls(file.tls(), path + ".tls");
    return listener;
  }

  ListenerTls ConvertListenerTls(const proto::ListenerTls& file, const std::string& path) {
    checks_.Pem(file.certificate_file(), path + ".certificate_file", "CERTIFICATE-----", "certificate");
    checks_.Pem(file.key_file(), path + ".key_file", "PRIVATE KEY-----", "key");
    if (!file.client_ca_file().empty())
      checks_.Pem(file.client_ca_file(), path + ".client_ca_file", "CERTIFICATE-----", "certificate");
    return {.certificate_file = file.certificate_file(),
            .key_file = file.key_file(),
            .client_ca_file = file.client_ca_file()};
  }

  TcpAddress ConvertAdmin(const proto::Admin& file) {
    const std::string& text = file.address();
    const std::size_t colon = text.rfind(':');
    std::string host = text.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    const auto address = colon == std::string::npos ? std::nullopt : IpAddress::Parse(host);
    const std::string port = text.substr(std::min(text.size(), colon + 1));
    const bool digits = !port.empty() && port.size() <= 5 && std::ranges::all_of(port, absl::ascii_isdigit);
    if (text.empty()) {
      errors_.Add("admin.address", "is missing; expected an IP address and a port, as \"127.0.0.1:7071\"");
    } else if (!address || address->is_v4 == bracketed || !digits || std::stoul(port) > 65535) {
      errors_.Add("admin.address", "wrong value \"" + text +
                                       "\"; expected an IP address and a port, as \"127.0.0.1:7071\" or \"[::1]:0\"");
    } else {
      if (std::stoul(port) != 0)
        checks_.Unique("tcp " + address->Text() + " " + std::to_string(std::stoul(port)), "admin.address");
      return {.host = address->Text(), .port = static_cast<std::uint16_t>(std::stoul(port))};
    }
    return {};
  }

  static bool IsLoopback(const IpAddress& address) {
    return address.is_v4 ? address.bytes[0] == 127 : address == IpAddress::Parse("::1");
  }

  void ConvertTls(const proto::Tls& file, Config::Tls& tls) {
    if (file.has_system_authorities()) tls.system_authorities = file.system_authorities();
    for (int i = 0; i < file.ca_files_size(); ++i) {
      const std::string field = absl::StrFormat("tls.ca_files[%d]", i);
      checks_.Pem(file.ca_files(i), field, "-----BEGIN CERTIFICATE-----", "certificate");
      tls.ca_files.push_back(file.ca_files(i));
    }
  }

  void ConvertLimits(const proto::Limits& file, Limits& limits) {
    const auto take = [this]<typename T>(bool given, T value, const char* name, T& limit) {
      if (!given) return;
      if (value == 0) errors_.Add(std::string("limits.") + name, "0 is out of range; expected 1 at least");
      limit = value;
    };
    take(file.has_sessions(), file.sessions(), "sessions", limits.sessions);
    take(file.has_streams(), file.streams(), "streams", limits.streams);
    if (file.has_new_streams_per_second()) limits.new_streams_per_second = file.new_streams_per_second();
    take(file.has_channels_per_stream(), file.channels_per_stream(), "channels_per_stream", limits.channels_per_stream);
    take(file.has_subscribers_per_session(), file.subscribers_per_session(), "subscribers_per_session",
         limits.subscribers_per_session);
    take(file.has_connections(), file.connections(), "connections", limits.connections);
    take(file.has_message_bytes(), file.message_bytes(), "message_bytes", limits.message_bytes);
    take(file.has_journal_bytes(), file.journal_bytes(), "journal_bytes", limits.journal_bytes);
    take(file.has_total_journal_bytes(), file.total_journal_bytes(), "total_journal_bytes", limits.total_journal_bytes);
    take(file.has_send_queue_bytes(), file.send_queue_bytes(), "send_queue_bytes", limits.send_queue_bytes);
    take(file.has_total_send_queue_bytes(), file.total_send_queue_bytes(), "total_send_queue_bytes",
         limits.total_send_queue_bytes);
    take(file.has_setup_steps(), file.setup_steps(), "setup_steps", limits.setup_steps);
    take(file.has_setup_bytes(), file.setup_bytes(), "setup_bytes", limits.setup_bytes);
    take(file.has_header_bytes(), file.header_bytes(), "header_bytes", limits.header_bytes);
    take(file.has_url_bytes(), file.url_bytes(), "url_bytes", limits.url_bytes);
    take(file.has_waiting_events(), file.waiting_events(), "waiting_events", limits.waiting_events);
    take(file.has_unanswered_pings(), file.unanswered_pings(), "unanswered_pings", limits.unanswered_pings);
    take(file.has_dedupe_keys(), file.dedupe_keys(), "dedupe_keys", limits.dedupe_keys);
    take(file.has_requests(), file.requests(), "requests", limits.requests);
    take(file.has_http_connections(), file.http_connections(), "http_connections", limits.http_connections);
    take(file.has_total_body_bytes(), file.total_body_bytes(), "total_body_bytes", limits.total_body_bytes);
    if (limits.message_bytes < 64 * kKiB || limits.message_bytes > 1 * kGiB) {
      errors_.Add("limits.message_bytes",
                  absl::StrFormat("%d is out of range; expected 64KiB to 1GiB", limits.message_bytes));
    }
    const auto take_span = [this](bool given, const google::protobuf::Duration& value, const char* name,
                                  Duration& limit) {
      if (!given) return;
      limit = ToDuration(value);
      if (limit == Duration::zero())
        errors_.Add(std::string("limits.") + name, "0 is out of range; expected 1us at least");
    };
    take_span(file.has_stuck_write(), file.stuck_write(), "stuck_write", limits.stuck_write);
    take_span(file.has_linger(), file.linger(), "linger", limits.linger);
  }

  void ConvertFlush(const proto::Flush& file, Config& config) {
    if (file.has_batch_frames()) config.flush.frames = file.batch_frames();
    if (file.has_batch_bytes()) config.flush.bytes = file.batch_bytes();
    if (config.flush.frames == 0) errors_.Add("flush.batch_frames", "0 is out of range; expected 1 at least");
    if (config.flush.bytes == 0) errors_.Add("flush.batch_bytes", "0 is out of range; expected 1 at least");
    if (config.flush.bytes > config.limits.message_bytes) {
      errors_.Add("flush.batch_bytes", absl::StrFormat("%d is out of range; expected limits.message_bytes, %d, at most",
                                                       config.flush.bytes, config.limits.message_bytes));
    }
  }

  void ConvertHttp(const proto::Http& file, Config& config) {
    HttpOptions& http = config.http;
    if (file.has_connections_per_pool()) http.connections_per_pool = file.connections_per_pool();
    if (http.connections_per_pool == 0)
      errors_.Add("http.connections_per_pool", "0 is out of range; expected 1 at least");
    if (file.has_waiting_per_pool()) http.waiting_per_pool = file.waiting_per_pool();
    if (file.has_idle_timeout()) http.idle_timeout = ToDuration(file.idle_timeout());
    if (file.has_dial_timeout()) http.dial_timeout = ToDuration(file.dial_timeout());
    if (http.dial_timeout == Duration::zero())
      errors_.Add("http.dial_timeout", "0 is out of range; expected 1us at least");
    if (file.has_response_header_bytes()) http.response_header_bytes = file.response_header_bytes();
    // Header fields grow by some bytes each in a message; a message must have room for them and for the body.
    const std::uint64_t most_headers = config.limits.message_bytes / 4;
    if (http.response_header_bytes < kKiB ||
        (file.has_response_header_bytes() && http.response_header_bytes > most_headers)) {
      errors_.Add("http.response_header_bytes",
                  absl::StrFormat("%d is out of range; expected 1KiB to a quarter of limits.message_bytes, %d",
                                  http.response_header_bytes, most_headers));
    }
    http.response_header_bytes = std::min(http.response_header_bytes, most_headers);
    const std::uint64_t most = http.MostResponseBytes(config.limits);
    http.response_bytes = std::min(http.response_bytes, most);
    if (file.has_response_bytes()) http.response_bytes = file.response_bytes();
    if (http.response_bytes == 0 || http.response_bytes > most) {
      errors_.Add("http.response_bytes",
                  absl::StrFormat("%d is out of range; expected 1 to %d, which limits.message_bytes leaves",
                                  http.response_bytes, most));
    }
  }

  void ConvertJournalDirectory(const proto::JournalDirectory& file, JournalDirectoryOptions& directory) {
    directory.path = file.path();
    if (directory.path.find('\0') != std::string::npos)
      errors_.Add("journal_directory.path", "has a zero byte; expected a path");
    if (file.has_max_bytes()) directory.max_bytes = file.max_bytes();
    if (directory.max_bytes < kLeastSegmentBytes) {
      errors_.Add("journal_directory.max_bytes",
                  absl::StrFormat("%d is out of range; expected 64KiB at least", directory.max_bytes));
    }
    if (file.has_age()) directory.age = ToDuration(file.age());
    if (directory.age == Duration::zero())
      errors_.Add("journal_directory.age", "0 is out of range; expected 1us at least");
  }

  static Duration ToDuration(const google::protobuf::Duration& duration) {
    return std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
  }

  ConfigErrors& errors_;
  ConfigChecks checks_;
  std::string needs_callers_;  // A listener that does; empty: none.
};

}  // namespace

std::expected<Config, std::vector<std::string>> LoadConfig(const std::string& path) {
  const auto text = ReadFile(path, kMaxFileBytes);
  if (!text) return std::unexpected(std::vector{path + ": cannot be read: " + text.error() + "; expected a YAML file"});
  ConfigErrors errors(path);
  proto::Config file;
  if (!ReadYaml(*text, file, errors)) return std::unexpected(errors.Lines());
  Config config = Validation(errors).Convert(file);
  if (!errors.empty()) return std::unexpected(errors.Lines());
  config.text = *text;
  config.fields = GivenFields(file);
  return config;
}

std::optional<std::string> ReadConfigText(const std::string& path) {
  auto text = ReadFile(path, kMaxFileBytes);
  return text ? std::optional(std::move(*text)) : std::nullopt;
}

}  // namespace fairlead
