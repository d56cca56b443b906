// The configuration file: YAML, checked whole, as plain values with defaults filled in. config.proto has every field's
// meaning.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "base/time.h"
#include "policy/access.h"
#include "policy/callers.h"
#include "policy/egress.h"
#include "policy/flush.h"
#include "policy/grants.h"
#include "policy/journal_record.h"
#include "policy/pool_choice.h"

namespace fairlead {

struct UnixAddress {
  std::string path;
  unsigned mode = 0660;  // Permissions of the socket.
};

struct TcpAddress {
  std::string host;        // IPv6 without brackets. Not a loopback address: with TLS.
  std::uint16_t port = 0;  // 0: any free one.
  std::optional<ListenerTls> tls = std::nullopt;
};

struct Config {
  struct Listener {
    std::string identity;  // Empty: that of the call, of `callers`.
    std::variant<UnixAddress, TcpAddress> address;
  };
  struct Tls {
    std::vector<std::string> ca_files;  // Each could be read and held a certificate.
    bool system_authorities = true;
  };

  std::vector<Listener> listeners;  // At least one.
  std::vector<EgressRule> egress;
  std::vector<Grant> grants;
  std::vector<Caller> callers;
  std::vector<Policy> policies;
  std::optional<JwtOptions> jwt;  // Whose callers have subjects.
  Tls tls;
  Limits limits;
  Flush::Batch flush;
  HttpOptions http;
  JournalDirectoryOptions journal_directory;
  Level log_level = Level::kInfo;
  bool reflection = false;
  bool channelz = false;                                // A listener has an identity.
  std::optional<TcpAddress> admin;                      // On any address, without TLS.
  Duration shutdown_timeout = std::chrono::seconds(5);  // 0: at once.

  // For telling what a later file changes: the file as it was read, and each field that is given in it, or in one of
  // its sections, as text: "limits.sessions".
  std::string text;
  std::map<std::string, std::string> fields;
};

// Reads `path` and the files that it names. On failure every error, in the order of the file, each one line:
// "FILE:LINE: field.path: what is wrong; what is expected".
std::expected<Config, std::vector<std::string>> LoadConfig(const std::string& path);

// The file's text, if it can be read.
std::optional<std::string> ReadConfigText(const std::string& path);

}  // namespace fairlead
