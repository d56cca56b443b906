#include "config.h"

#include "config_yaml.h"
#include "fairlead/config/v1/config.pb.h"
#include "support/config_testbed.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;

TEST_F(ConfigTest, FillsInDefaults) {
  const Config config = Load(kMinimal);
  ASSERT_EQ(config.listeners.size(), 1u);
  EXPECT_EQ(config.listeners[0].identity, "dev");
  EXPECT_EQ(std::get<UnixAddress>(config.listeners[0].address).path, "f.sock");
  EXPECT_EQ(std::get<UnixAddress>(config.listeners[0].address).mode, 0660u);
  EXPECT_TRUE(config.egress.empty());
  EXPECT_TRUE(config.tls.ca_files.empty());
  EXPECT_TRUE(config.tls.system_authorities);
  EXPECT_EQ(config.limits, Limits{});
  EXPECT_EQ(config.flush.frames, 2048u);
  EXPECT_EQ(config.flush.bytes, 256 * kKiB);
  EXPECT_EQ(config.http, HttpOptions{});
  EXPECT_EQ(config.journal_directory, JournalDirectoryOptions{});
  EXPECT_EQ(config.log_level, Level::kInfo);
  EXPECT_FALSE(config.reflection);
  EXPECT_FALSE(config.channelz);
  EXPECT_EQ(config.shutdown_timeout, std::chrono::seconds(5));
  EXPECT_FALSE(config.admin);
}

// A JWK Set with one public key: that of RFC 7517 appendix A.1.
const std::string kKeySet = R"({"keys":[{"kty":"EC","crv":"P-256",
  "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]})";

// Every field, none at its default. CA_FILE stands for a file that a test makes.
const std::string kEveryField = R"(
listeners:
  - identity: desk-1
    unix: { path: run/f.sock, mode: 0600 }
  - identity: desk_2
    tcp:
      host: "::1"
      port: 7071
      tls: { certificate_file: CA_FILE, key_file: CA_FILE, client_ca_file: CA_FILE }
callers:
  - identity: desk-3
    certificates: [spiffe://firm/desk, desk.firm]
    token_sha256: [00000000000000000000000000000000000000000000000000000000000000fF]
    jwt_subjects: [desk]
jwt: { issuer: "https://issuer", audience: fairlead, keys_file: KEYS_FILE }
policies:
  - identity: desk-3
    methods: [SessionService.Attach, "*"]
    egress: [lab, "*"]
    http_methods: [GET, "*"]
    max_sessions: 1
    max_streams: 2
    max_requests: 3
    max_send_queue_bytes: 4KiB
    max_connections: 5
    max_new_streams_per_second: 6
    max_body_bytes: 7KiB
egress:
  rules:
    - name: lab
      schemes: [ws, wss, http, https, tcp, tls]
      hosts: ["*.Example.com", 0::1]
      ports: [443, 9443]
      cidrs: [127.0.0.0/8, "::1/128"]
grants:
  - { identity: desk-1, sessions: [md, "trades.*", "*"], readers: [desk_2, x] }
tls:
  ca_files: [CA_FILE]
  system_authorities: false
limits:
  sessions: 1
  streams: 2
  new_streams_per_second: 0
  channels_per_stream: 3
  subscribers_per_session: 4
  connections: 5
  message_bytes: 1GiB
  journal_bytes: 7
  total_journal_bytes: 8KiB
  send_queue_bytes: "9MiB"
  total_send_queue_bytes: 10GiB
  setup_steps: 11
  setup_bytes: 12
  header_bytes: 13
  url_bytes: 14
  waiting_events: 15
  stuck_write: 16ms
  unanswered_pings: 17
  dedupe_keys: 22
  requests: 18
  http_connections: 19
  total_body_bytes: 20MiB
  linger: 21ms
http:
  connections_per_pool: 21
  waiting_per_pool: 0
  idle_timeout: 0s
  dial_timeout: 24ms
  response_bytes: 25MiB
  response_header_bytes: 26KiB
journal_directory: { path: run/journals, max_bytes: 27MiB, age: 28h }
flush: { batch_frames: 17, batch_bytes: 18 }
log: { level: debug }
reflection: true
channelz: true
shutdown_timeout: 250us
admin: { address: "[::1]:7072" }
)";

TEST_F(ConfigTest, TakesEveryField) {
  const std::string ca_file = Write("ca.pem",
                                    "x\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
                                    "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n");
  std::string yaml = kEveryField;
  for (size_t at = 0; (at = yaml.find("CA_FILE")) != std::string::npos;) yaml.replace(at, 7, ca_file);
  const std::string keys_file = Write("keys.json", kKeySet);
  yaml.replace(yaml.find("KEYS_FILE"), 9, keys_file);
  const Config config = Load(yaml);

  ASSERT_EQ(config.listeners.size(), 2u);
  EXPECT_EQ(config.listeners[0].identity, "desk-1");
  EXPECT_EQ(std::get<UnixAddress>(config.listeners[0].address).path, "run/f.sock");
  EXPECT_EQ(std::get<UnixAddress>(config.listeners[0].address).mode, 0600u);
  EXPECT_EQ(config.listeners[1].identity, "desk_2");
  EXPECT_EQ(std::get<TcpAddress>(config.listeners[1].address).host, "::1");
  EXPECT_EQ(std::get<TcpAddress>(config.listeners[1].address).port, 7071);
  EXPECT_EQ(std::get<TcpAddress>(config.listeners[1].address).tls, (ListenerTls{ca_file, ca_file, ca_file}));
  Sha256 hash{};
  hash.back() = 0xff;
  EXPECT_THAT(config.callers, ElementsAre(Caller{.identity = "desk-3",
                                                 .certificates = {"spiffe://firm/desk", "desk.firm"},
                                                 .tokens = {hash},
                                                 .jwt_subjects = {"desk"}}));
  EXPECT_EQ(config.jwt, (JwtOptions{.issuer = "https://issuer", .audience = "fairlead", .keys_file = keys_file}));
  EXPECT_THAT(config.policies, ElementsAre(Policy{.identity = "desk-3",
                                                  .methods = {"SessionService.Attach", "*"},
                                                  .egress = {"lab", "*"},
                                                  .http_methods = {"GET", "*"},
                                                  .max_sessions = 1,
                                                  .max_streams = 2,
                                                  .max_requests = 3,
                                                  .max_send_queue_bytes = 4 * kKiB,
                                                  .max_connections = 5,
                                                  .max_new_streams_per_second = 6,
                                                  .max_body_bytes = 7 * kKiB}));
  EXPECT_THAT(config.egress, ElementsAre(EgressRule{.name = "lab",
                                                    .schemes = {"ws", "wss", "http", "https", "tcp", "tls"},
                                                    .hosts = {"*.example.com", "::1"},
                                                    .ports = {443, 9443},
                                                    .cidrs = {*ParseCidr("127.0.0.0/8"), *ParseCidr("::1/128")}}));
  EXPECT_THAT(
      config.grants,
      ElementsAre(Grant{.identity = "desk-1", .sessions = {"md", "trades.*", "*"}, .readers = {"desk_2", "x"}}));
  EXPECT_THAT(config.tls.ca_files, ElementsAre(ca_file));
  EXPECT_FALSE(config.tls.system_authorities);
  EXPECT_EQ(config.limits, (Limits{.sessions = 1,
                                   .streams = 2,
                                   .new_streams_per_second = 0,
                                   .channels_per_stream = 3,
                                   .subscribers_per_session = 4,
                                   .connections = 5,
                                   .message_bytes = kGiB,
                                   .journal_bytes = 7,
                                   .total_journal_bytes = 8 * kKiB,
                                   .send_queue_bytes = 9 * kMiB,
                                   .total_send_queue_bytes = 10 * kGiB,
                                   .setup_steps = 11,
                                   .setup_bytes = 12,
                                   .header_bytes = 13,
                                   .url_bytes = 14,
                                   .waiting_events = 15,
                                   .stuck_write = std::chrono::milliseconds(16),
                                   .linger = std::chrono::milliseconds(21),
                                   .unanswered_pings = 17,
                                   .dedupe_keys = 22,
                                   .requests = 18,
                                   .http_connections = 19,
                                   .total_body_bytes = 20 * kMiB}));
  EXPECT_EQ(config.http, (HttpOptions{.connections_per_pool = 21,
                                      .waiting_per_pool = 0,
                                      .idle_timeout = Duration::zero(),
                                      .dial_timeout = std::chrono::milliseconds(24),
                                      .response_bytes = 25 * kMiB,
                                      .response_header_bytes = 26 * kKiB}));
  EXPECT_EQ(config.flush.frames, 17u);
  EXPECT_EQ(config.flush.bytes, 18u);
  EXPECT_EQ(config.journal_directory,
            (JournalDirectoryOptions{.path = "run/journals", .max_bytes = 27 * kMiB, .age = std::chrono::hours(28)}));
  EXPECT_EQ(config.log_level, Level::kDebug);
  EXPECT_TRUE(config.reflection);
  EXPECT_TRUE(config.channelz);
  EXPECT_EQ(config.shutdown_timeout, std::chrono::microseconds(250));
  EXPECT_EQ(config.admin->host, "::1");
  EXPECT_EQ(config.admin->port, 7072);
}

bool IsFields(const google::protobuf::FieldDescriptor& field) {
  return field.message_type() != nullptr && field.message_type()->full_name() != "google.protobuf.Duration";
}

// Whether every field is given in `message` or in another of its list.
void ExpectAllGiven(const std::vector<const google::protobuf::Message*>& messages,
                    const google::protobuf::Descriptor& descriptor) {
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *descriptor.field(i);
    bool given = false;
    std::vector<const google::protobuf::Message*> inner;
    for (const auto* message : messages) {
      const auto& reflection = *message->GetReflection();
      given |= field.is_repeated() ? reflection.FieldSize(*message, &field) > 0 : reflection.HasField(*message, &field);
      if (!IsFields(field)) continue;
      for (int j = 0; field.is_repeated() && j < reflection.FieldSize(*message, &field); ++j) {
        inner.push_back(&reflection.GetRepeatedMessage(*message, &field, j));
      }
      if (!field.is_repeated()) inner.push_back(&reflection.GetMessage(*message, &field));
    }
    EXPECT_TRUE(given) << field.full_name();
    if (IsFields(field)) ExpectAllGiven(inner, *field.message_type());
  }
}

// What a gRPC message of the configured length has room for.
TEST_F(ConfigTest, HttpDefaultsFollowTheMessageLimit) {
  const Config small = Load(kMinimal + "limits: {message_bytes: 64KiB}\nflush: {batch_bytes: 1KiB}\n");
  EXPECT_EQ(small.http.response_header_bytes, 16 * kKiB);
  EXPECT_EQ(small.http.response_bytes, 28 * kKiB);
}

TEST(ConfigYaml, ReadsEveryFieldOfTheDescriptor) {
  ConfigErrors errors("f");
  config::v1::Config message;
  EXPECT_TRUE(ReadYaml(kEveryField, message, errors));
  EXPECT_THAT(errors.Lines(), ElementsAre());
  ExpectAllGiven({&message}, *message.GetDescriptor());
}

TEST(ConfigYaml, LevelsAreThoseOfTheLog) {
  EXPECT_EQ(static_cast<int>(Level::kDebug), config::v1::Log::LEVEL_DEBUG);
  EXPECT_EQ(static_cast<int>(Level::kInfo), config::v1::Log::LEVEL_INFO);
  EXPECT_EQ(static_cast<int>(Level::kWarn), config::v1::Log::LEVEL_WARN);
  EXPECT_EQ(static_cast<int>(Level::kError), config::v1::Log::LEVEL_ERROR);
  EXPECT_EQ(config::v1::Log::Level_descriptor()->value_count(), 5);
}

}  // namespace
}  // namespace fairlead
