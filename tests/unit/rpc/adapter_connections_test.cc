// Whose the connections of adapters are, and how many each identity may have.
#include "rpc/adapter_connections.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

// `md` may have two.
Access TwoForMd() {
  return Access(
      {.listeners = {"md", "desk"}, .policies = {{.identity = "md", .max_connections = 2}, {.identity = "desk"}}});
}

class Connections : public testing::Test {
 protected:
  std::string Claim(const std::string& peer, const std::string& identity, uint64_t listener = 0) {
    const auto claimed = connections_.Claim(listener, peer, identity, access_);
    return claimed ? "yes" : std::string(Name(claimed.error().reason));
  }

  const Access access_ = TwoForMd();
  AdapterConnections connections_;
};

TEST_F(Connections, AreTheirsWhoseCallsComeByThem) {
  const auto a = connections_.Open(0, "a");
  const auto b = connections_.Open(0, "b");
  const auto c = connections_.Open(0, "c");
  EXPECT_EQ(Claim("a", "md"), "yes");
  EXPECT_EQ(Claim("b", "md"), "yes");
  EXPECT_EQ(Claim("c", "md"), "LIMIT_REACHED");
  EXPECT_EQ(Claim("a", "md"), "yes") << "it is one of the two";
  EXPECT_EQ(Claim("c", "desk"), "yes") << "without a cap";
  a();
  EXPECT_EQ(Claim("c", "md"), "yes") << "it may be both's";
  EXPECT_EQ(Claim("a", "md"), "CONNECTION_LOST") << "it is over";
  b();
  c();
  const auto d = connections_.Open(0, "d");
  const auto e = connections_.Open(0, "e");
  EXPECT_EQ(Claim("d", "md"), "yes");
  EXPECT_EQ(Claim("e", "md"), "yes");
}

TEST_F(Connections, OfOneListenerAreNotThoseOfAnother) {
  const auto first = connections_.Open(1, "a");
  const auto second = connections_.Open(2, "a");
  EXPECT_EQ(Claim("a", "md"), "CONNECTION_LOST");
  EXPECT_EQ(Claim("a", "md", 1), "yes");
  EXPECT_EQ(Claim("a", "md", 2), "yes");
  const auto third = connections_.Open(2, "b");
  EXPECT_EQ(Claim("b", "md", 2), "LIMIT_REACHED") << "they count together";
}

TEST_F(Connections, AnAddressThatIsUsedAgainIsAnotherConnection) {
  const auto former = connections_.Open(0, "a");
  EXPECT_EQ(Claim("a", "md"), "yes");
  const auto next = connections_.Open(0, "a");  // Before anybody has seen the end of the former.
  EXPECT_EQ(Claim("a", "md"), "yes");
  const auto b = connections_.Open(0, "b");
  EXPECT_EQ(Claim("b", "md"), "LIMIT_REACHED") << "both count while both may be there";
  former();
  EXPECT_EQ(Claim("a", "md"), "yes") << "the end of the former is not that of the next";
  EXPECT_EQ(Claim("b", "md"), "yes");
  next();
  EXPECT_EQ(Claim("a", "md"), "CONNECTION_LOST");
}

// A listener on all addresses: one peer may use its port for each of them.
TEST_F(Connections, ThatCannotBeToldApartCountEach) {
  const auto first = connections_.Open(0, "a");
  const auto second = connections_.Open(0, "a");
  const auto third = connections_.Open(0, "a");
  EXPECT_EQ(Claim("a", "md"), "LIMIT_REACHED");
  third();
  EXPECT_EQ(Claim("a", "md"), "yes");
}

TEST_F(Connections, OfAListenersIdentityCountFromTheirBeginning) {
  const auto first = connections_.OpenOf("md", access_);
  const auto second = connections_.OpenOf("md", access_);
  ASSERT_TRUE(first && second);
  const auto third = connections_.OpenOf("md", access_);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().message, "policies[md].max_connections, 2, are open");
  const auto by_call = connections_.Open(0, "a");
  EXPECT_EQ(Claim("a", "md"), "LIMIT_REACHED");
  (*first)();
  EXPECT_EQ(Claim("a", "md"), "yes");
  EXPECT_FALSE(connections_.OpenOf("md", access_));
  EXPECT_TRUE(connections_.OpenOf("desk", access_));
}

TEST(PeerOf, IsOneSpellingOfAnAddress) {
  EXPECT_EQ(PeerOf("ipv4:192.0.2.1:4711"), "192.0.2.1 4711");
  for (const char* peer : {"ipv6:%5B2001:db8::1%5D:4711", "ipv6:[2001:db8::1]:4711", "ipv6:[2001:db8:0:0::1]:4711"})
    EXPECT_EQ(PeerOf(peer), "2001:db8::1 4711") << peer;
  for (const char* peer : {"ipv6:%5Bfe80::1%252%5D:1", "ipv6:[fe80::1%eth0]:1"})
    EXPECT_EQ(PeerOf(peer), "fe80::1 1") << peer;
  EXPECT_EQ(PeerOf("ipv6:%5B::ffff:192.0.2.1%5D:1"), "192.0.2.1 1");
  for (const char* peer : {"", "unix:", "unix:/run/f.sock", "ipv4:", "ipv4:192.0.2.1", "ipv4:192.0.2.1:x",
                           "ipv4:192.0.2.1:70000", "ipv6:[::1", "inproc"})
    EXPECT_EQ(PeerOf(peer), "") << peer;
}

}  // namespace
}  // namespace fairlead
