#include "reload.h"

#include "support/config_testbed.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ReloadTest : public ConfigTest {
 protected:
  ConfigChanges Compare(const std::string& before, const std::string& after) {
    return CompareFields(Load(kMinimal + before).fields, Load(kMinimal + after).fields);
  }
};

TEST_F(ReloadTest, TellsWhatCanChangeFromWhatCannot) {
  const ConfigChanges changes = Compare("log: {level: debug}\nlimits: {sessions: 5, streams: 6}\ngrants: []\n",
                                        "policies: [{identity: a}]\n"
                                        "egress: {rules: [{name: lab, hosts: [a.b]}]}\n"
                                        "limits: {sessions: 6, streams: 6}\n"
                                        "http: {idle_timeout: 1s}\n"
                                        "reflection: true\n"
                                        "grants: [{identity: a, sessions: [md], readers: [b]}]\n");
  EXPECT_THAT(changes.applied, ElementsAre("egress.rules", "grants", "log.level", "policies"));
  EXPECT_THAT(changes.waiting, ElementsAre("http.idle_timeout", "limits.sessions", "reflection"));
}

TEST_F(ReloadTest, AValueThatIsWrittenOtherwiseIsTheSame) {
  const ConfigChanges changes = Compare("limits: {message_bytes: 1MiB}\nshutdown_timeout: 1s\n",
                                        "# A comment.\nshutdown_timeout: 1000ms\nlimits:\n  message_bytes: 1048576\n");
  EXPECT_THAT(changes.applied, IsEmpty());
  EXPECT_THAT(changes.waiting, IsEmpty());
}

TEST_F(ReloadTest, OrderCounts) {
  const std::string first = "{name: one, hosts: [a.b]}";
  const std::string second = "{name: two, hosts: [a.b]}";
  EXPECT_THAT(
      Compare("egress: {rules: [" + first + ", " + second + "]}", "egress: {rules: [" + second + ", " + first + "]}")
          .applied,
      ElementsAre("egress.rules"));
}

TEST_F(ReloadTest, TheTextIsTheFiles) {
  const std::string path = Write("text.yaml", "listeners: [{identity: a, unix: {path: a}}] # here\n");
  EXPECT_EQ(LoadConfig(path)->text, "listeners: [{identity: a, unix: {path: a}}] # here\n");
  EXPECT_EQ(ReadConfigText(path), LoadConfig(path)->text);
  EXPECT_EQ(ReadConfigText(directory_ / "missing.yaml"), std::nullopt);
}

}  // namespace
}  // namespace fairlead
