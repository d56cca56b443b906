#include "config_access.h"

#include <absl/strings/ascii.h>
#include <absl/strings/escaping.h>
#include <absl/strings/str_format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "base/read_file.h"
#include "policy/http_request.h"
#include "policy/jwt.h"

namespace fairlead {
namespace {

namespace proto = config::v1;

constexpr std::string_view kHashOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

class AccessValidation {
 public:
  explicit AccessValidation(ConfigChecks& checks) : checks_(checks), errors_(checks.errors()) {}

  void Convert(const proto::Config& file, const std::string& needs_callers, Config& config) {
    for (int i = 0; i < file.egress().rules_size(); ++i) {
      config.egress.push_back(ConvertRule(file.egress().rules(i), absl::StrFormat("egress.rules[%d]", i)));
    }
    for (int i = 0; i < file.callers_size(); ++i) {
      config.callers.push_back(ConvertCaller(file.callers(i), absl::StrFormat("callers[%d]", i)));
    }
    if (!needs_callers.empty() && file.callers().empty())
      errors_.Add("callers", "is missing; expected at least one, since " + needs_callers + " names no identity");
    for (int i = 0; i < file.policies_size(); ++i) {
      config.policies.push_back(ConvertPolicy(file.policies(i), config.egress, absl::StrFormat("policies[%d]", i)));
    }
    if (!file.callers().empty() && file.policies().empty()) {
      errors_.Add("policies", "is missing; expected one for each identity of callers, as { identity: " +
                                  file.callers(0).identity() +
                                  ", methods: [\"*\"], egress: [\"*\"], http_methods: [\"*\"] }");
    }
    if (file.has_jwt()) config.jwt = ConvertJwt(file.jwt());
    if (!first_subject_.empty() && !config.jwt)
      errors_.Add("jwt", "is missing; expected whose tokens have the subjects of " + first_subject_);
    for (int i = 0; i < file.grants_size(); ++i) {
      config.grants.push_back(ConvertGrant(file.grants(i), absl::StrFormat("grants[%d]", i)));
    }
  }

 private:
  Caller ConvertCaller(const proto::Caller& file, const std::string& path) {
    Caller caller{.identity = file.identity(), .certificates = {}, .tokens = {}};
    checks_.Name(file.identity(), path + ".identity");
    if (file.certificates().empty() && file.token_sha256().empty() && file.jwt_subjects().empty()) {
      errors_.Add(path,
                  "has none of certificates, token_sha256 and jwt_subjects; expected how the caller proves itself");
    }
    for (int i = 0; i < file.certificates_size(); ++i) {
      const std::string field = absl::StrFormat("%s.certificates[%d]", path, i);
      const std::string& name = file.certificates(i);
      if (name.empty()) errors_.Add(field, "is empty; expected a URI or DNS name of a client certificate");
      if (name.contains('*')) errors_.Add(field, "\"" + name + "\" has a \"*\"; expected a whole name");
      checks_.Unique("certificate " + name, field);
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
      checks_.Unique("token " + bytes, field);
      caller.tokens.push_back(hash);
    }
    for (int i = 0; i < file.jwt_subjects_size(); ++i) {
      const std::string field = absl::StrFormat("%s.jwt_subjects[%d]", path, i);
      if (file.jwt_subjects(i).empty()) errors_.Add(field, "is empty; expected the sub of tokens");
      checks_.Unique("subject " + file.jwt_subjects(i), field);
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

  JwtOptions ConvertJwt(const proto::Jwt& file) {
    if (file.issuer().empty()) errors_.Add("jwt.issuer", "is missing; expected the iss of tokens");
    if (file.audience().empty())
      errors_.Add("jwt.audience", "is missing; expected what aud of tokens has for this gateway");
    CheckJwtKeys(file.keys_file());
    return {.issuer = file.issuer(), .audience = file.audience(), .keys_file = file.keys_file()};
  }

  Policy ConvertPolicy(const proto::Policy& file, const std::vector<EgressRule>& rules, const std::string& path) {
    if (checks_.Name(file.identity(), path + ".identity"))
      checks_.Unique("policy " + file.identity(), path + ".identity");
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
    cap(file.has_max_connections(), file.max_connections(), "max_connections", policy.max_connections);
    cap(file.has_max_new_streams_per_second(), file.max_new_streams_per_second(), "max_new_streams_per_second",
        policy.max_new_streams_per_second);
    cap(file.has_max_body_bytes(), file.max_body_bytes(), "max_body_bytes", policy.max_body_bytes);
    return policy;
  }

  EgressRule ConvertRule(const proto::EgressRule& file, const std::string& path) {
    EgressRule rule;
    rule.name = file.name();
    if (checks_.Name(file.name(), path + ".name")) checks_.Unique("rule " + rule.name, path + ".name");
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
    checks_.Name(file.identity(), path + ".identity");
    if (file.sessions().empty())
      errors_.Add(path + ".sessions", "is missing; expected at least one session, \"md*\" or \"*\"");
    for (int i = 0; i < file.sessions_size(); ++i) {
      std::string name = file.sessions(i);
      const bool any = name == "*";
      if (name.ends_with('*')) name.pop_back();
      if (!any) checks_.Name(name, absl::StrFormat("%s.sessions[%d]", path, i));
    }
    if (file.readers().empty()) errors_.Add(path + ".readers", "is missing; expected at least one identity");
    for (int i = 0; i < file.readers_size(); ++i)
      checks_.Name(file.readers(i), absl::StrFormat("%s.readers[%d]", path, i));
    return {.identity = file.identity(),
            .sessions = {file.sessions().begin(), file.sessions().end()},
            .readers = {file.readers().begin(), file.readers().end()}};
  }

  ConfigChecks& checks_;
  ConfigErrors& errors_;
  std::string first_subject_;  // Of a JWT; empty: none.
};

}  // namespace

void ConvertAccess(const proto::Config& file, const std::string& needs_callers, ConfigChecks& checks, Config& config) {
  AccessValidation(checks).Convert(file, needs_callers, config);
}

}  // namespace fairlead
