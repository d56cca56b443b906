// What is wrong with a configuration, and where.
#include "support/config_testbed.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kBeyondLoopback =
    "listeners beyond loopback need tls; expected \"127.0.0.1\" or \"::1\", or any address with tls";

TEST_F(ConfigTest, TellsWhatIsWrong) {
  struct Case {
    std::string yaml;  // Behind a first line with a listener.
    std::string error;
  };
  const std::string number = "expected a whole number, 0 to 4294967295";
  const std::string size = "expected a size, as 4096, 64KiB, 16MiB or 1GiB";
  const std::string duration =
      "expected a whole number with a unit (us, ms, s, m, h), as 500ms or 5m, of a year at most";
  const std::string address = "expected an IP address and a port, as \"127.0.0.1:7071\" or \"[::1]:0\"";
  const Case cases[] = {
      {"limit: {}", "2: limit: unknown field; did you mean \"limits\"?"},
      {"zzz: 1",
       "2: zzz: unknown field; expected one of listeners, egress, tls, limits, flush, log, reflection, "
       "shutdown_timeout, http, grants, journal_directory, callers, policies, jwt, admin, channelz"},
      {"limits:\n  sesions: 1", "3: limits.sesions: unknown field; did you mean \"sessions\"?"},
      {"log: {levle: info}", "2: log.levle: unknown field; did you mean \"level\"?"},
      {"reflection: true\nreflection: false", "3: reflection: given twice; expected once"},
      {"log: {verbosity: 5}", "2: log.verbosity: unknown field; expected one of level"},
      {"? [a]\n: 1", "2: a field's name is not text; expected \"name: value\""},
      {"limits: 5", "2: limits: wrong type; expected fields, as \"name: value\""},
      {"limits: [1]", "2: limits: wrong type; expected fields, as \"name: value\""},
      {"egress: {rules: {name: x}}", "2: egress.rules: wrong type; expected a list"},
      {"egress: {rules: [x]}", "2: egress.rules[0]: wrong type; expected fields, as \"name: value\""},
      {"reflection: yes", "2: reflection: wrong value \"yes\"; expected true or false"},
      {"reflection: \"true\"", "2: reflection: wrong value \"true\"; expected true or false"},
      {"reflection: [true]", "2: reflection: wrong type; expected true or false"},
      {"reflection:", "2: reflection: has no value; expected true or false"},
      {"limits: {sessions: many}", "2: limits.sessions: wrong value \"many\"; " + number},
      {"limits: {sessions: -1}", "2: limits.sessions: wrong value \"-1\"; " + number},
      {"limits: {sessions: 1.5}", "2: limits.sessions: wrong value \"1.5\"; " + number},
      {"limits: {sessions: \"1\"}", "2: limits.sessions: wrong value \"1\"; " + number},
      {"limits: {sessions: 4294967296}", "2: limits.sessions: wrong value \"4294967296\"; " + number},
      {"limits: {sessions: 0}", "2: limits.sessions: 0 is out of range; expected 1 at least"},
      {"limits: {url_bytes: 0}", "2: limits.url_bytes: 0 is out of range; expected 1 at least"},
      {"limits: {url_bytes: 8KB}", "2: limits.url_bytes: wrong value \"8KB\"; " + size},
      {"limits: {url_bytes: 1.5MiB}", "2: limits.url_bytes: wrong value \"1.5MiB\"; " + size},
      {"limits: {url_bytes: 17179869184GiB}", "2: limits.url_bytes: wrong value \"17179869184GiB\"; " + size},
      {"limits: {message_bytes: 65535}\nflush: {batch_bytes: 1}",
       "2: limits.message_bytes: 65535 is out of range; expected 64KiB to 1GiB"},
      {"limits: {message_bytes: 2GiB}", "2: limits.message_bytes: 2147483648 is out of range; expected 64KiB to 1GiB"},
      {"limits: {message_bytes: 64KiB}",
       "1: flush.batch_bytes: 262144 is out of range; expected limits.message_bytes, 65536, at most"},
      {"flush: {batch_frames: 0}", "2: flush.batch_frames: 0 is out of range; expected 1 at least"},
      {"flush: {batch_bytes: 0}", "2: flush.batch_bytes: 0 is out of range; expected 1 at least"},
      {"limits: {requests: 0}", "2: limits.requests: 0 is out of range; expected 1 at least"},
      {"http: {connections_per_pool: 0}", "2: http.connections_per_pool: 0 is out of range; expected 1 at least"},
      {"http: {dial_timeout: 0s}", "2: http.dial_timeout: 0 is out of range; expected 1us at least"},
      {"http: {response_bytes: 0}",
       "2: http.response_bytes: 0 is out of range; expected 1 to 66973696, which limits.message_bytes leaves"},
      {"http: {response_bytes: 66973697}",
       "2: http.response_bytes: 66973697 is out of range; expected 1 to 66973696, which limits.message_bytes leaves"},
      {"http: {response_header_bytes: 1023}",
       "2: http.response_header_bytes: 1023 is out of range; expected 1KiB to a quarter of limits.message_bytes, "
       "16777216"},
      {"http: {response_header_bytes: 17MiB, response_bytes: 1}",
       "2: http.response_header_bytes: 17825792 is out of range; expected 1KiB to a quarter of limits.message_bytes, "
       "16777216"},
      {"journal_directory: {path: \"a\\0b\"}", "2: journal_directory.path: has a zero byte; expected a path"},
      {"journal_directory: {max_bytes: 65535}",
       "2: journal_directory.max_bytes: 65535 is out of range; expected 64KiB at least"},
      {"journal_directory: {age: 0s}", "2: journal_directory.age: 0 is out of range; expected 1us at least"},
      {"admin: {}", "2: admin.address: is missing; expected an IP address and a port, as \"127.0.0.1:7071\""},
      {"admin: {address: localhost:1}", "2: admin.address: wrong value \"localhost:1\"; " + address},
      {"admin: {address: \"::1:80\"}", "2: admin.address: wrong value \"::1:80\"; " + address},
      {"admin: {address: \"[127.0.0.1]:80\"}", "2: admin.address: wrong value \"[127.0.0.1]:80\"; " + address},
      {"admin: {address: 127.0.0.1}", "2: admin.address: wrong value \"127.0.0.1\"; " + address},
      {"admin: {address: \"127.0.0.1:\"}", "2: admin.address: wrong value \"127.0.0.1:\"; " + address},
      {"admin: {address: \"127.0.0.1:65536\"}", "2: admin.address: wrong value \"127.0.0.1:65536\"; " + address},
      {"admin: {address: \"127.0.0.1:-1\"}", "2: admin.address: wrong value \"127.0.0.1:-1\"; " + address},
      {"limits: {stuck_write: 0s}", "2: limits.stuck_write: 0 is out of range; expected 1us at least"},
      {"shutdown_timeout: 5", "2: shutdown_timeout: wrong value \"5\"; " + duration},
      {"shutdown_timeout: 5 s", "2: shutdown_timeout: wrong value \"5 s\"; " + duration},
      {"shutdown_timeout: -5s", "2: shutdown_timeout: wrong value \"-5s\"; " + duration},
      {"shutdown_timeout: 9000h", "2: shutdown_timeout: wrong value \"9000h\"; " + duration},
      {"log: {level: loud}", "2: log.level: wrong value \"loud\"; expected one of debug, info, warn, error"},
      {"log: {level: unspecified}",
       "2: log.level: wrong value \"unspecified\"; expected one of debug, info, warn, error"},
      {"log: {level: INFO}", "2: log.level: wrong value \"INFO\"; expected one of debug, info, warn, error"},
      {"egress: {rules: [{hosts: [h]}]}",
       "2: egress.rules[0].name: is missing; expected 1 to 128 of A-Z a-z 0-9 . _ : -"},
      {"egress: {rules: [{name: a b, hosts: [h]}]}",
       "2: egress.rules[0].name: not a name; expected 1 to 128 of A-Z a-z 0-9 . _ : -"},
      {"egress: {rules: [{name: a, hosts: [h]}, {name: a, hosts: [h]}]}",
       "2: egress.rules[1].name: the same as egress.rules[0].name; expected another"},
      {"grants: [{sessions: [md], readers: [x]}]",
       "2: grants[0].identity: is missing; expected 1 to 128 of A-Z a-z 0-9 . _ : -"},
      {"grants: [{identity: a, readers: [x]}]",
       "2: grants[0].sessions: is missing; expected at least one session, \"md*\" or \"*\""},
      {"grants: [{identity: a, sessions: [\"*md\"], readers: [x]}]",
       "2: grants[0].sessions[0]: not a name; expected 1 to 128 of A-Z a-z 0-9 . _ : -"},
      {"grants: [{identity: a, sessions: [\"**\"], readers: [x]}]",
       "2: grants[0].sessions[0]: not a name; expected 1 to 128 of A-Z a-z 0-9 . _ : -"},
      {"grants: [{identity: a, sessions: [md]}]", "2: grants[0].readers: is missing; expected at least one identity"},
      {"grants: [{identity: a, sessions: [md], readers: [\"*\"]}]",
       "2: grants[0].readers[0]: not a name; expected 1 to 128 of A-Z a-z 0-9 . _ : -"},
      {"egress: {rules: [{name: a}]}",
       "2: egress.rules[0].hosts: is missing; expected at least one host, \"*.example.com\" or \"*\""},
      {"egress: {rules: [{name: a, hosts: []}]}",
       "2: egress.rules[0].hosts: is missing; expected at least one host, \"*.example.com\" or \"*\""},
      {"egress: {rules: [{name: a, hosts: [h, 127.1]}]}",
       "2: egress.rules[0].hosts[1]: the host looks like an odd spelling of an IPv4 address; expected a host without "
       "scheme and port, "
       "\"*.example.com\" or \"*\""},
      {"egress: {rules: [{name: a, hosts: [h], schemes: [ws, ftp]}]}",
       "2: egress.rules[0].schemes[1]: wrong value \"ftp\"; expected ws, wss, http, https, tcp or tls"},
      {"egress: {rules: [{name: a, hosts: [h], ports: [0]}]}",
       "2: egress.rules[0].ports[0]: 0 is out of range; expected 1 to 65535"},
      {"egress: {rules: [{name: a, hosts: [h], ports: [1, 65536]}]}",
       "2: egress.rules[0].ports[1]: 65536 is out of range; expected 1 to 65535"},
      {"egress: {rules: [{name: a, hosts: [h], cidrs: [10.0.0.1/8]}]}",
       "2: egress.rules[0].cidrs[0]: bits are set behind the prefix; expected \"10.0.0.0/8\""},
      {"tls: {ca_files: [/nonexistent.pem]}",
       "2: tls.ca_files[0]: \"/nonexistent.pem\" cannot be read: No such file or directory; expected a PEM file"},
      {"tls: {ca_files: [/]}", "2: tls.ca_files[0]: \"/\" cannot be read: is a directory; expected a PEM file"},
      {"--- {}", "2: a second YAML document; expected one"},
  };
  for (const Case& each : cases) EXPECT_THAT(Errors(kMinimal + each.yaml + "\n"), ElementsAre(each.error)) << each.yaml;
}

TEST_F(ConfigTest, TellsWhatIsWrongWithListeners) {
  struct Case {
    std::string yaml;
    std::string error;
  };
  const std::string name = "expected 1 to 128 of A-Z a-z 0-9 . _ : -";
  const std::string at_least_one = "listeners: is missing; expected at least one, with unix or tcp";
  const Case cases[] = {
      {"", "1: " + at_least_one},
      {"{}", "1: " + at_least_one},
      {"reflection: true\nlisteners: []", "2: " + at_least_one},
      {"listeners:", "1: " + at_least_one},
      {"listeners: 5", "1: listeners: wrong type; expected a list"},
      {"listeners: [{unix: {path: a}}]", "1: listeners[0].identity: is missing; " + name},
      {"listeners: [{identity: a/b, unix: {path: a}}]", "1: listeners[0].identity: not a name; " + name},
      {"listeners: [{identity: " + std::string(129, 'a') + ", unix: {path: a}}]",
       "1: listeners[0].identity: not a name; " + name},
      {"listeners: [{identity: a}]", "1: listeners[0]: has no address; expected one of unix and tcp"},
      {"listeners: [{identity: a, unix: {path: a}, tcp: {host: 127.0.0.1}}]",
       "1: listeners[0].tcp: unix is given too; expected one of unix and tcp"},
      {"listeners: [{identity: a, unix: {}}]",
       "1: listeners[0].unix.path: is missing; expected where the socket shall be"},
      {"listeners:\n- identity: a\n  unix:\n",
       "3: listeners[0].unix.path: is missing; expected where the socket shall be"},
      {"listeners: [{identity: a, unix: {path: " + std::string(108, 'p') + "}}]",
       "1: listeners[0].unix.path: has 108 bytes; expected at most 107"},
      {"listeners: [{identity: a, unix: {path: a, mode: 0668}}]",
       "1: listeners[0].unix.mode: wrong value \"0668\"; expected octal permissions, as \"0660\""},
      {"listeners: [{identity: a, unix: {path: a, mode: 1777}}]",
       "1: listeners[0].unix.mode: wrong value \"1777\"; expected octal permissions, as \"0660\""},
      {"listeners: [{identity: a, unix: {path: a, mode: u=rw}}]",
       "1: listeners[0].unix.mode: wrong value \"u=rw\"; expected octal permissions, as \"0660\""},
      {"listeners: [{identity: a, tcp: {port: 1}}]",
       "1: listeners[0].tcp.host: is missing; expected \"127.0.0.1\" or \"::1\", or any address with tls"},
      {"listeners: [{identity: a, tcp: {host: localhost}}]",
       "1: listeners[0].tcp.host: \"localhost\" is not an IP address; expected \"127.0.0.1\" or \"::1\", or any "
       "address with tls"},
      {"listeners: [{identity: a, tcp: {host: 0.0.0.0}}]", "1: listeners[0].tcp.host: " + kBeyondLoopback},
      {"listeners: [{identity: a, tcp: {host: \"::\"}}]", "1: listeners[0].tcp.host: " + kBeyondLoopback},
      {"listeners: [{identity: a, tcp: {host: \"::ffff:127.0.0.1\"}}]", "1: listeners[0].tcp.host: " + kBeyondLoopback},
      {"listeners: [{identity: a, tcp: {host: 192.168.1.5}}]", "1: listeners[0].tcp.host: " + kBeyondLoopback},
      {"listeners: [{identity: a, tcp: {host: [127.0.0.1]}}]", "1: listeners[0].tcp.host: wrong type; expected text"},
      {"listeners: [{identity: a, tcp: {host: 127.0.0.1, port: 65536}}]",
       "1: listeners[0].tcp.port: 65536 is out of range; expected 0 (any free port) to 65535"},
      {"listeners:\n- {identity: a, tcp: {host: 127.0.0.1, port: 70}}\n- {identity: b, tcp: {host: 127.0.0.1, port: "
       "70}}",
       "3: listeners[1].tcp: the same as listeners[0].tcp; expected another"},
      {"listeners:\n- {identity: a, unix: {path: run/a}}\n- {identity: b, unix: {path: ./run//a}}",
       "3: listeners[1].unix.path: the same as listeners[0].unix.path; expected another"},
  };
  for (const Case& each : cases) EXPECT_THAT(Errors(each.yaml), ElementsAre(each.error)) << each.yaml;
  EXPECT_THAT(Errors("listeners:\n- {identity: a, tcp: {host: 127.0.0.1}}\n- {identity: b, tcp: {host: 127.0.0.1}}"),
              ElementsAre())
      << "any free port twice is two ports";
  EXPECT_THAT(Errors("listeners: [{identity: a, unix: {path: " + std::string(107, 'p') + "}}]"), ElementsAre());
}

TEST_F(ConfigTest, TellsAllErrorsAtOnceInTheOrderOfTheFile) {
  EXPECT_THAT(
      Errors(R"(listeners:
  - identity: a b
    tcp: { host: 10.0.0.1, prot: 5 }
egress:
  rules:
    - name: r
      hosts: [h]
      cidrs: [10.0.0.0, 127.0.0.0/8]
limits:
  sessions: 0
  url_bytes: x
log:
  level: loud
)"),
      ElementsAreArray(std::vector<std::string>{
          "2: listeners[0].identity: not a name; expected 1 to 128 of A-Z a-z 0-9 . _ : -",
          "3: listeners[0].tcp.prot: unknown field; did you mean \"port\"?",
          "3: listeners[0].tcp.host: " + kBeyondLoopback,
          "8: egress.rules[0].cidrs[0]: not a range; expected ADDRESS/PREFIX, as \"10.0.0.0/8\" or \"fd00::/8\"",
          "10: limits.sessions: 0 is out of range; expected 1 at least",
          "11: limits.url_bytes: wrong value \"x\"; expected a size, as 4096, 64KiB, 16MiB or 1GiB",
          "13: log.level: wrong value \"loud\"; expected one of debug, info, warn, error",
      }));
}

TEST_F(ConfigTest, TellsWhereTheFileIsNotYaml) {
  for (const std::string yaml : {"a: [", "a: b: c", "a: 1\n- b", "{", "a: &x [*y]", "\t- a", "%YAML 9.9\n---\n\x01"}) {
    const auto errors = Errors(yaml);
    EXPECT_THAT(errors, ElementsAre(HasSubstr(": not YAML: "))) << yaml;
  }
  EXPECT_THAT(Errors("reflection: true\nlimits: [\n").front(), testing::MatchesRegex("[23]: not YAML: .*"));
}

TEST_F(ConfigTest, SurvivesHostileYaml) {
  EXPECT_FALSE(Errors("a: &x {b: *x}").empty()) << "refers to itself";
  EXPECT_FALSE(Errors("limits: &x {limits: *x}").empty());
  EXPECT_FALSE(Errors(std::string(100'000, '[')).empty()) << "deep";
  EXPECT_FALSE(Errors(std::string(100'000, '{')).empty());
  EXPECT_FALSE(Errors(std::string("a\0b: 1", 6)).empty());
}

TEST_F(ConfigTest, TellsThatTheFileCannotBeRead) {
  const std::string missing = directory_ / "missing.yaml";
  EXPECT_EQ(LoadConfig(missing).error(),
            std::vector{missing + ": cannot be read: No such file or directory; expected a YAML file"});
  EXPECT_EQ(LoadConfig(directory_).error(),
            std::vector{directory_.string() + ": cannot be read: is a directory; expected a YAML file"});
  const std::string large = Write("large.yaml", std::string(kMiB + 1, '#'));
  EXPECT_EQ(LoadConfig(large).error(),
            std::vector{large + ": cannot be read: has more than 1048576 bytes; expected a YAML file"});
}

TEST_F(ConfigTest, RefusesACaFileWithoutACertificate) {
  const std::string path = Write("ca.pem", "-----BEGIN PRIVATE KEY-----\n");
  EXPECT_THAT(Errors(kMinimal + "tls: {ca_files: [" + path + "]}"),
              ElementsAre("2: tls.ca_files[0]: \"" + path + "\" has no certificate; expected a PEM file"));
}

// ---- Who is served where. ----

constexpr const char* kCertificate = "-----BEGIN CERTIFICATE-----\n";
constexpr const char* kKey = "-----BEGIN PRIVATE KEY-----\n";
const std::string kHash(64, '0');
const std::string kCaller = "callers: [{identity: a, token_sha256: [" + kHash + "]}]\npolicies: [{identity: a}]\n";

TEST_F(ConfigTest, AListenerWithoutAnIdentityNeedsTlsAndCallers) {
  const std::string certificate = Write("a.pem", kCertificate);
  const std::string key = Write("a.key", kKey);
  const std::string tls = "tls: {certificate_file: " + certificate + ", key_file: " + key;
  const std::string listener = "listeners: [{tcp: {host: 0.0.0.0, " + tls + "}}}]\n";
  EXPECT_THAT(Errors("listeners: [{tcp: {host: 127.0.0.1}}]"),
              ElementsAre(HasSubstr("1: listeners[0].identity: is missing; expected 1 to 128")));
  EXPECT_THAT(
      Errors(listener),
      ElementsAre(HasSubstr("callers: is missing; expected at least one, since listeners[0] names no identity")));
  EXPECT_THAT(Errors("listeners: [{tcp: {host: 0.0.0.0, tls: {}}}]\n" + kCaller),
              ElementsAre(HasSubstr("tls.certificate_file: is missing; expected a PEM file with a certificate"),
                          HasSubstr("tls.key_file: is missing; expected a PEM file with a key")));
  EXPECT_THAT(
      Errors("listeners: [{identity: a, tcp: {host: 0.0.0.0, tls: {certificate_file: " + key +
             ", key_file: " + certificate + ", client_ca_file: /nonexistent.pem}}}]"),
      ElementsAre(HasSubstr("has no certificate; expected a PEM file"), HasSubstr("has no key; expected a PEM file"),
                  HasSubstr("client_ca_file: \"/nonexistent.pem\" cannot be read")));
  EXPECT_THAT(Errors(listener + kCaller), ElementsAre());
  EXPECT_THAT(Errors(listener + kCaller + "channelz: true"),
              ElementsAre(HasSubstr("4: channelz: is answered by listeners that name an identity; expected one")));
  EXPECT_THAT(Errors(listener + kCaller + "channelz: false"), ElementsAre());
}

TEST_F(ConfigTest, CallersAreToldApart) {
  struct Case {
    std::string yaml;
    std::string error;
  };
  const Case cases[] = {
      {"{certificates: [a]}", "callers[0].identity: is missing; "},
      {"{identity: a}",
       "callers[0]: has none of certificates, token_sha256 and jwt_subjects; expected how the caller proves itself"},
      {"{identity: a, certificates: [\"\"]}", "callers[0].certificates[0]: is empty; "},
      {"{identity: a, certificates: [\"*.firm\"]}", "callers[0].certificates[0]: \"*.firm\" has a \"*\"; "},
      {"{identity: a, certificates: [x]}, {identity: b, certificates: [x]}",
       "callers[1].certificates[0]: the same as callers[0].certificates[0]; expected another"},
      {"{identity: a, token_sha256: [sesame]}", "callers[0].token_sha256[0]: is not a hash; expected 64 hexadecimal"},
      {"{identity: a, token_sha256: [" + std::string(63, 'a') + "g]}", "callers[0].token_sha256[0]: is not a hash; "},
      {"{identity: a, token_sha256: [E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855]}",
       "callers[0].token_sha256[0]: is the hash of no text at all; expected that of a token"},
      {"{identity: a, token_sha256: [" + kHash + ", " + kHash + "]}",
       "callers[0].token_sha256[1]: the same as callers[0].token_sha256[0]; expected another"},
  };
  for (const Case& each : cases) {
    EXPECT_THAT(
        Errors("listeners: [{identity: a, unix: {path: a}}]\ncallers: [" + each.yaml + "]\npolicies: [{identity: a}]"),
        ElementsAre(HasSubstr("2: " + each.error)))
        << each.yaml;
  }
}

TEST_F(ConfigTest, SubjectsAreOfAnIssuer) {
  const std::string caller = "callers: [{identity: a, jwt_subjects: [md]}]\npolicies: [{identity: a}]\n";
  const std::string listener = "listeners: [{identity: a, unix: {path: a}}]\n";
  EXPECT_THAT(
      Errors(listener + caller),
      ElementsAre(HasSubstr("jwt: is missing; expected whose tokens have the subjects of callers[0].jwt_subj")));
  EXPECT_THAT(Errors(listener + caller + "jwt: {}\n"),
              ElementsAre(HasSubstr("jwt.issuer: is missing; "), HasSubstr("jwt.audience: is missing; "),
                          HasSubstr("jwt.keys_file: is missing; ")));
  EXPECT_THAT(Errors(listener +
                     "callers: [{identity: a, jwt_subjects: [md, \"\"]}, {identity: b, jwt_subjects: [md]}]\n"
                     "policies: [{identity: a}]\njwt: {issuer: i, audience: a, keys_file: " +
                     Write("keys.json", "{}") + "}\n"),
              ElementsAre(HasSubstr("callers[0].jwt_subjects[1]: is empty; "),
                          HasSubstr("callers[1].jwt_subjects[0]: the same as callers[0].jwt_subjects[0]; "),
                          HasSubstr("keys.json\" is no JWK Set: {\"keys\": [...]}; expected the issuer's JWK Set")));
}

// ---- Who may do what. ----

TEST_F(ConfigTest, CallersNeedPolicies) {
  EXPECT_THAT(
      Errors("listeners: [{identity: a, unix: {path: a}}]\ncallers: [{identity: md, token_sha256: [" + kHash + "]}]"),
      ElementsAre(HasSubstr("policies: is missing; expected one for each identity of callers, as { identity: md, "
                            "methods: [\"*\"], egress: [\"*\"], http_methods: [\"*\"] }")));
}

TEST_F(ConfigTest, PoliciesGrantWhatThereIs) {
  struct Case {
    std::string yaml;
    std::string error;
  };
  const Case cases[] = {
      {"{methods: [\"*\"]}", "policies[0].identity: is missing; "},
      {"{identity: a b}", "policies[0].identity: not a name; "},
      {"{identity: a}, {identity: b}, {identity: a}",
       "policies[2].identity: the same as policies[0].identity; expected another"},
      {"{identity: a, methods: [SessionService.Attach, Attach]}",
       "policies[0].methods[1]: no method \"Attach\"; expected one as \"SessionService.Attach\", or \"*\""},
      {"{identity: a, methods: [\"SessionService.*\"]}", "policies[0].methods[0]: no method \"SessionService.*\"; "},
      {"{identity: a, egress: [lab, lob]}",
       "policies[0].egress[1]: no rule \"lob\"; expected the name of one of egress.rules, or \"*\""},
      {"{identity: a, http_methods: [GET, get]}",
       "policies[0].http_methods[1]: no method of requests: \"get\"; expected one as \"GET\", or \"*\""},
      {"{identity: a, http_methods: [\"\"]}", "policies[0].http_methods[0]: no method of requests: \"\"; "},
      {"{identity: a, max_sessions: 0}", "policies[0].max_sessions: 0 is out of range; expected 1 at least"},
      {"{identity: a, max_streams: 0}", "policies[0].max_streams: 0 is out of range; expected 1 at least"},
      {"{identity: a, max_requests: 0}", "policies[0].max_requests: 0 is out of range; expected 1 at least"},
      {"{identity: a, max_send_queue_bytes: 0}",
       "policies[0].max_send_queue_bytes: 0 is out of range; expected 1 at least"},
      {"{identity: a, max_connections: 0}", "policies[0].max_connections: 0 is out of range; expected 1 at least"},
      {"{identity: a, max_new_streams_per_second: 0}",
       "policies[0].max_new_streams_per_second: 0 is out of range; expected 1 at least"},
      {"{identity: a, max_body_bytes: 0}", "policies[0].max_body_bytes: 0 is out of range; expected 1 at least"},
  };
  for (const Case& each : cases) {
    EXPECT_THAT(Errors("listeners: [{identity: a, unix: {path: a}}]\negress: {rules: [{name: lab, hosts: [a.b]}]}\n"
                       "policies: [" +
                       each.yaml + "]"),
                ElementsAre(HasSubstr("3: " + each.error)))
        << each.yaml;
  }
}

}  // namespace
}  // namespace fairlead
