#include "config.h"

#include <absl/strings/ascii.h>
#include <absl/strings/escaping.h>
#include <absl/strings/str_format.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "base/read_file.h"
#include "config_yaml.h"
#include "fairlead/config/v1/config.pb.h"
#include "policy/http_request.h"
#include "policy/jwt.h"

namespace fairlead {
namespace {

namespace proto = config::v1;

constexpr std::size_t kMaxFileBytes = 1 * kMiB;  // Of the configuration; real ones have a few KiB.
constexpr std::string_view kHashOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::size_t kMaxUnixPathBytes = sizeof(sockaddr_un::sun_path) - 1;

// Turns one parsed file into plain values; collects what is wrong with it.
class Validation {
 public:
  explicit Validation(ConfigErrors& errors) : errors_(errors) {}

  Config Convert(const proto::Config& file) {
    Config config;
    if (file.listeners().empty()) errors_.Add("listeners", "is missing; expected at least one, with unix or tcp");
    for (int i = 0; i < file.listeners_size(); ++i) {
      config.listeners.push_back(ConvertListener(file.listeners(i), absl::StrFormat("listeners[%d]", i)));
    }
    for (int i = 0; i < file.egress().rules_size(); ++i) {
      config.egress.push_back(ConvertRule(file.egress().rules(i), absl::StrFormat("egress.rules[%d]", i)));
    }
    for (int i = 0; i < file.callers_size(); ++i) {
      config.callers.push_back(ConvertCaller(file.callers(i), absl::StrFormat("callers[%d]", i)));
    }
    if (!needs_callers_.empty() && file.callers().empty())
      errors_.Add("callers", "is missing; expected at least one, since " + needs_callers_ + " names no identity");
    for (int i = 0; i < file.policies_size(); ++i) {
      config.policies.push_back(ConvertPolicy(file.policies(i), config.egress, absl::StrFormat("policies[%d]", i)));
    }
    if (!file.callers().empty() && file.policies().empty()) {
      errors_.Add("policies", "is missing; expected one for each identity of callers, as { identity: " +
                                  file.callers(0).identity() +
                                  ", methods: [\"*\"], egress: [\"*\"], http_methods: [\"*\"] }");
    }
    if (file.has_jwt()) ConvertJwt(file.jwt(), config.jwt);
    if (!first_subject_.empty() && !config.jwt)
      errors_.Add("jwt", "is missing; expected whose tokens have the subjects of " + first_subject_);
    for (int i = 0; i < file.grants_size(); ++i) {
      config.grants.push_back(ConvertGrant(file.grants(i), absl::StrFormat("grants[%d]", i)));
    }
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
      CheckName(file.identity(), path + ".identity");
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
      CheckUnique("unix " + std::filesystem::path(listener.path).lexically_normal().string(), field);
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
        CheckUnique(absl::StrFormat("tcp %s %d", listener.host, listener.port), path);
      }
    }
    if (file.has_tls()) listener.tls = ConvertListenerTls(file.tls(), path + ".tls");
    return listener;
  }

  ListenerTls ConvertListenerTls(const proto::ListenerTls& file, const std::string& path) {
    CheckPem(file.certificate_file(), path + ".certificate_file", "CERTIFICATE-----", "certificate");
    CheckPem(file.key_file(), path + ".key_file", "PRIVATE KEY-----", "key");
    if (!file.client_ca_file().empty())
      CheckPem(file.client_ca_file(), path + ".client_ca_file", "CERTIFICATE-----", "certificate");
    return {.certificate_file = file.certificate_file(),
            .key_file = file.key_file(),
            .client_ca_file = file.client_ca_file()};
  }

  // That there is a PEM block of the kind; whether it is any good, its user finds out.
  void CheckPem(const std::string& file, const std::string& field, const std::string& block, const std::string& what) {
    if (file.empty()) return errors_.Add(field, "is missing; expected a PEM file with a " + what);
    const auto text = ReadFile(file, 64 * kMiB);
    if (!text) {
      errors_.Add(field, "\"" + file + "\" cannot be read: " + text.error() + "; expected a PEM file");
    } else if (text->find(block) == std::string::npos) {
      errors_.Add(field, "\"" + file + "\" has no " + what + "; expected a PEM file");
    }
  }

  Caller ConvertCaller(const proto::Caller& file, const std::string& path) {
    Caller caller{.identity = file.identity(), .certificates = {}, .tokens = {}};
    CheckName(file.identity(), path + ".identity");
    if (file.certificates().empty() && file.token_sha256().empty() && file.jwt_subjects().empty()) {
      errors_.Add(path,
                  "has none of certificates, token_sha256 and jwt_subjects; expected how the caller proves itself");
    }
    for (int i = 0; i < file.certificates_size(); ++i) {
      const std::string field = absl::StrFormat("%s.certificates[%d]", path, i);
      const std::string& name = file.certificates(i);
      if (name.empty()) errors_.Add(field, "is empty; expected a URI or DNS name of a client certificate");
      if (name.contains('*')) errors_.Add(field, "\"" + name + "\" has a \"*\"; expected a whole name");
      CheckUnique("certificate " + name, field);
      caller.certificates.push_back(name);
    }
    for (int i = 0; i < file.token_sha256_size(); ++i) {
      const std::string field = absl::StrFormat("%s.token_sha256[%d]", path, i);
      const std::string& text = file.token_sha256(i);
      Sha256 hash{};
      const bool is_hex = text.size() == 2 * hash.size() && std::ranges::all_of(text, absl::ascii_isxdigit);
      if (!is_hex) {
        errors_.Add(field, "is not a hash; expected 64 hexadecimal digits, as `printf %s TOKEN | sha256sum` prints");
        continue;
      }
      const std::string bytes = absl::HexStringToBytes(text);
      if (absl::AsciiStrToLower(text) == kHashOfNothing)
        errors_.Add(field, "is the hash of no text at all; expected that of a token");
      std::ranges::copy(bytes, reinterpret_cast<char*>(hash.data()));
      CheckUnique("token " + bytes, field);
      caller.tokens.push_back(hash);
    }
    for (int i = 0; i < file.jwt_subjects_size(); ++i) {
      const std::string field = absl::StrFormat("%s.jwt_subjects[%d]", path, i);
      if (file.jwt_subjects(i).empty()) errors_.Add(field, "is empty; expected the sub of tokens");
      CheckUnique("subject " + file.jwt_subjects(i), field);
      caller.jwt_subjects.push_back(file.jwt_subjects(i));
      if (first_subject_.empty()) first_subject_ = field;
    }
    return caller;
  }

  void CheckJwtKeys(const std::string& file) {
    const std::string field = "jwt.keys_file";
    if (file.empty()) return errors_.Add(field, "is missing; expected a file with the issuer's JWK Set");
    const auto text = ReadFile(file, kMostJwtKeyBytes);
    if (!text) return errors_.Add(field, "\"" + file + "\" cannot be read: " + text.error() + "; expected a JWK Set");
    if (const auto keys = JwtKeys::Parse(*text); !keys)
      errors_.Add(field, "\"" + file + "\" " + keys.error().message + "; expected the issuer's JWK Set");
  }

  void ConvertJwt(const proto::Jwt& file, std::optional<JwtOptions>& jwt) {
    if (file.issuer().empty()) errors_.Add("jwt.issuer", "is missing; expected the iss of tokens");
    if (file.audience().empty())
      errors_.Add("jwt.audience", "is missing; expected what aud of tokens has for this gateway");
    CheckJwtKeys(file.keys_file());
    jwt = JwtOptions{.issuer = file.issuer(), .audience = file.audience(), .keys_file = file.keys_file()};
  }

  Policy ConvertPolicy(const proto::Policy& file, const std::vector<EgressRule>& rules, const std::string& path) {
    if (CheckName(file.identity(), path + ".identity")) CheckUnique("policy " + file.identity(), path + ".identity");
    for (int i = 0; i < file.methods_size(); ++i) {
      const std::string& method = file.methods(i);
      if (method == "*" || std::ranges::find(kMethods, method) != kMethods.end()) continue;
      errors_.Add(absl::StrFormat("%s.methods[%d]", path, i),
                  "no method \"" + method + "\"; expected one as \"SessionService.Attach\", or \"*\"");
    }
    for (int i = 0; i < file.egress_size(); ++i) {
      const std::string& name = file.egress(i);
      if (name == "*" || std::ranges::find(rules, name, &EgressRule::name) != rules.end()) continue;
      errors_.Add(absl::StrFormat("%s.egress[%d]", path, i),
                  "no rule \"" + name + "\"; expected the name of one of egress.rules, or \"*\"");
    }
    for (int i = 0; i < file.http_methods_size(); ++i) {
      const std::string& method = file.http_methods(i);
      if (method == "*" || CheckMethod(method)) continue;
      errors_.Add(absl::StrFormat("%s.http_methods[%d]", path, i),
                  "no method of requests: \"" + method + "\"; expected one as \"GET\", or \"*\"");
    }
    Policy policy{.identity = file.identity(),
                  .methods = {file.methods().begin(), file.methods().end()},
                  .egress = {file.egress().begin(), file.egress().end()},
                  .http_methods = {file.http_methods().begin(), file.http_methods().end()}};
    const auto cap = [&]<typename T>(bool given, T value, const char* name, std::optional<T>& most) {
      if (!given) return;
      if (value == 0) errors_.Add(path + "." + name, "0 is out of range; expected 1 at least");
      most = value;
    };
    cap(file.has_max_sessions(), file.max_sessions(), "max_sessions", policy.max_sessions);
    cap(file.has_max_streams(), file.max_streams(), "max_streams", policy.max_streams);
    cap(file.has_max_requests(), file.max_requests(), "max_requests", policy.max_requests);
    cap(file.has_max_send_queue_bytes(), file.max_send_queue_bytes(), "max_send_queue_bytes",
        policy.max_send_queue_bytes);
    return policy;
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
        CheckUnique("tcp " + address->Text() + " " + std::to_string(std::stoul(port)), "admin.address");
      return {.host = address->Text(), .port = static_cast<std::uint16_t>(std::stoul(port))};
    }
    return {};
  }

  static bool IsLoopback(const IpAddress& address) {
    return address.is_v4 ? address.bytes[0] == 127 : address == IpAddress::Parse("::1");
  }

  EgressRule ConvertRule(const proto::EgressRule& file, const std::string& path) {
    EgressRule rule;
    rule.name = file.name();
    if (CheckName(file.name(), path + ".name")) CheckUnique("rule " + rule.name, path + ".name");
    for (int i = 0; i < file.schemes_size(); ++i) {
      static constexpr std::array<std::string_view, 6> kSchemes = {"ws", "wss", "http", "https", "tcp", "tls"};
      if (std::ranges::find(kSchemes, file.schemes(i)) == kSchemes.end()) {
        errors_.Add(absl::StrFormat("%s.schemes[%d]", path, i),
                    "wrong value \"" + file.schemes(i) + "\"; expected ws, wss, http, https, tcp or tls");
      }
      rule.schemes.push_back(file.schemes(i));
    }
    if (file.hosts().empty())
      errors_.Add(path + ".hosts", "is missing; expected at least one host, \"*.example.com\" or \"*\"");
    for (int i = 0; i < file.hosts_size(); ++i) {
      const auto host = ParseHostPattern(file.hosts(i));
      if (host) rule.hosts.push_back(*host);
      if (!host) {
        errors_.Add(absl::StrFormat("%s.hosts[%d]", path, i),
                    host.error().message + "; expected a host without scheme and port, \"*.example.com\" or \"*\"");
      }
    }
    for (int i = 0; i < file.ports_size(); ++i) {
      if (file.ports(i) == 0 || file.ports(i) > std::numeric_limits<std::uint16_t>::max()) {
        errors_.Add(absl::StrFormat("%s.ports[%d]", path, i),
                    absl::StrFormat("%d is out of range; expected 1 to 65535", file.ports(i)));
      }
      rule.ports.push_back(static_cast<std::uint16_t>(file.ports(i)));
    }
    for (int i = 0; i < file.cidrs_size(); ++i) {
      const auto cidr = ParseCidr(file.cidrs(i));
      if (cidr) rule.cidrs.push_back(*cidr);
      if (!cidr) errors_.Add(absl::StrFormat("%s.cidrs[%d]", path, i), cidr.error().message);
    }
    return rule;
  }

  Grant ConvertGrant(const proto::Grant& file, const std::string& path) {
    CheckName(file.identity(), path + ".identity");
    if (file.sessions().empty())
      errors_.Add(path + ".sessions", "is missing; expected at least one session, \"md*\" or \"*\"");
    for (int i = 0; i < file.sessions_size(); ++i) {
      std::string name = file.sessions(i);
      const bool any = name == "*";
      if (name.ends_with('*')) name.pop_back();
      if (!any) CheckName(name, absl::StrFormat("%s.sessions[%d]", path, i));
    }
    if (file.readers().empty()) errors_.Add(path + ".readers", "is missing; expected at least one identity");
    for (int i = 0; i < file.readers_size(); ++i)
      CheckName(file.readers(i), absl::StrFormat("%s.readers[%d]", path, i));
    return {.identity = file.identity(),
            .sessions = {file.sessions().begin(), file.sessions().end()},
            .readers = {file.readers().begin(), file.readers().end()}};
  }

  void ConvertTls(const proto::Tls& file, Config::Tls& tls) {
    if (file.has_system_authorities()) tls.system_authorities = file.system_authorities();
    for (int i = 0; i < file.ca_files_size(); ++i) {
      const std::string field = absl::StrFormat("tls.ca_files[%d]", i);
      CheckPem(file.ca_files(i), field, "-----BEGIN CERTIFICATE-----", "certificate");
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

  // Of identities and rules. What is in it can stand in any log, message and metric.
  bool CheckName(const std::string& name, const std::string& field) {
    const std::string expected = "expected 1 to 128 of A-Z a-z 0-9 . _ : -";
    const bool valid = !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [](char c) {
      return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
             std::strchr("._:-", c) != nullptr;
    });
    if (name.empty()) {
      errors_.Add(field, "is missing; " + expected);
    } else if (!valid) {
      errors_.Add(field, "not a name; " + expected);
    }
    return valid;
  }

  // `what` stands once in the file.
  void CheckUnique(const std::string& what, const std::string& field) {
    const auto [first, is_new] = seen_.emplace(what, field);
    if (!is_new) errors_.Add(field, "the same as " + first->second + "; expected another");
  }

  static Duration ToDuration(const google::protobuf::Duration& duration) {
    return std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
  }

  ConfigErrors& errors_;
  std::map<std::string, std::string> seen_;
  std::string needs_callers_;  // A listener that does; empty: none.
  std::string first_subject_;  // Of a JWT; empty: none.
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
