#include "policy/ip_address.h"

#include <gtest/gtest.h>

#include <string>

namespace fairlead {
namespace {

IpAddress Address(const std::string& text) {
  const auto address = IpAddress::Parse(text);
  EXPECT_TRUE(address) << text;
  return address.value_or(IpAddress{});
}

TEST(IpAddress, ParsesAndSpells) {
  EXPECT_EQ(Address("192.0.2.1"), IpAddress::V4({192, 0, 2, 1}));
  EXPECT_EQ(Address("::1"), IpAddress::V6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(Address("0:0:0:0:0:0:0:1").Text(), "::1");
  EXPECT_EQ(Address("2001:DB8::A").Text(), "2001:db8::a");
  EXPECT_EQ(Address("::ffff:127.0.0.1").Text(), "::ffff:127.0.0.1");
  EXPECT_NE(Address("::"), Address("0.0.0.0")) << "the family counts";
}

TEST(IpAddress, RefusesOtherSpellings) {
  for (const std::string text : {"", "1", "127.1", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.1.", "127.0.0.256",
                                 " 127.0.0.1", "[::1]", "::1%lo", "1::2::3", ":::", "12345::", "127.0.0.1/8"}) {
    EXPECT_FALSE(IpAddress::Parse(text)) << text;
  }
  EXPECT_FALSE(IpAddress::Parse(std::string("127.0.0.1\0.example.com", 22))) << "a NUL ends no address";
}

TEST(IpAddress, TellsWhichAddressesArePublic) {
  struct Case {
    const char* text;
    bool is_public;
  };
  // The first and last address of each special range, and their public neighbours.
  const Case cases[] = {
      {"0.0.0.0", false},
      {"0.255.255.255", false},
      {"1.0.0.0", true},
      {"9.255.255.255", true},
      {"10.0.0.0", false},
      {"10.255.255.255", false},
      {"11.0.0.0", true},
      {"100.63.255.255", true},
      {"100.64.0.0", false},
      {"100.100.100.200", false},
      {"100.127.255.255", false},
      {"100.128.0.0", true},
      {"126.255.255.255", true},
      {"127.0.0.0", false},
      {"127.255.255.255", false},
      {"128.0.0.0", true},
      {"168.63.129.15", true},
      {"168.63.129.16", false},
      {"168.63.129.17", true},
      {"169.253.255.255", true},
      {"169.254.0.0", false},
      {"169.254.169.254", false},
      {"169.255.0.0", true},
      {"172.15.255.255", true},
      {"172.16.0.0", false},
      {"172.31.255.255", false},
      {"172.32.0.0", true},
      {"192.0.0.192", false},
      {"192.0.1.0", true},
      {"192.0.2.255", false},
      {"192.0.3.0", true},
      {"192.88.98.255", true},
      {"192.88.99.1", false},
      {"192.167.255.255", true},
      {"192.168.0.0", false},
      {"192.168.255.255", false},
      {"192.169.0.0", true},
      {"198.17.255.255", true},
      {"198.18.0.0", false},
      {"198.19.255.255", false},
      {"198.20.0.0", true},
      {"198.51.100.1", false},
      {"198.51.101.0", true},
      {"203.0.113.1", false},
      {"203.0.114.0", true},
      {"223.255.255.255", true},
      {"224.0.0.0", false},
      {"239.255.255.255", false},
      {"240.0.0.0", false},
      {"255.255.255.255", false},
      {"8.8.8.8", true},
      {"::", false},
      {"::1", false},
      {"::8.8.8.8", false},         // IPv4-compatible.
      {"::ffff:8.8.8.8", false},    // v4-mapped.
      {"64:ff9b::8.8.8.8", false},  // NAT64.
      {"64:ff9b:1::1", false},      // NAT64 for local use.
      {"100::1", false},            // Discard.
      {"1fff:ffff::1", false},
      {"2000::1", true},
      {"2001::1", false},  // Teredo.
      {"2001:2::1", false},
      {"2001:1ff:ffff::1", false},
      {"2001:200::1", true},
      {"2001:db7:ffff::1", true},
      {"2001:db8::1", false},
      {"2001:db8:ffff::1", false},
      {"2001:db9::1", true},
      {"2001:4860:4860::8888", true},
      {"2002:808:808::1", false},  // 6to4.
      {"2003::1", true},
      {"2606:4700::1111", true},
      {"3ffe::1", true},
      {"3fff:fff:ffff::1", false},
      {"3fff:1000::1", true},
      {"4000::1", false},
      {"5f00::1", false},
      {"fc00::1", false},
      {"fd00:ec2::254", false},
      {"fe80::1", false},
      {"fec0::1", false},  // Site-local.
      {"ff02::1", false},
  };
  for (const Case& each : cases) EXPECT_EQ(Address(each.text).IsPublic(), each.is_public) << each.text;
}

TEST(IpAddress, FindsEmbeddedV4) {
  const IpAddress carried = IpAddress::V4({10, 1, 2, 3});
  EXPECT_EQ(Address("::ffff:10.1.2.3").EmbeddedV4(), carried);
  EXPECT_EQ(Address("64:ff9b::10.1.2.3").EmbeddedV4(), carried);
  EXPECT_EQ(Address("2002:a01:203::1").EmbeddedV4(), carried);
  EXPECT_FALSE(Address("::10.1.2.3").EmbeddedV4());
  EXPECT_FALSE(Address("2001:db8::10.1.2.3").EmbeddedV4());
  EXPECT_FALSE(carried.EmbeddedV4());
  EXPECT_TRUE(Address("::ffff:10.1.2.3").IsV4Mapped());
  EXPECT_FALSE(Address("64:ff9b::10.1.2.3").IsV4Mapped());
}

TEST(Cidr, ContainsWhatSharesItsPrefix) {
  struct Case {
    const char* cidr;
    const char* address;
    bool contains;
  };
  const Case cases[] = {
      {"127.0.0.0/8", "127.255.0.1", true},
      {"127.0.0.0/8", "128.0.0.0", false},
      {"10.0.0.0/9", "10.127.0.1", true},
      {"10.0.0.0/9", "10.128.0.1", false},
      {"0.0.0.0/0", "203.0.113.9", true},
      {"0.0.0.0/0", "::1", false},
      {"::/0", "127.0.0.1", false},
      {"::/0", "fd00::1", true},
      {"192.0.2.7/32", "192.0.2.7", true},
      {"192.0.2.7/32", "192.0.2.6", false},
      {"::1/128", "::1", true},
      {"::1/128", "::2", false},
      {"fd00::/9", "fd7f::1", true},
      {"fd00::/9", "fd80::1", false},
  };
  for (const Case& each : cases) {
    const auto cidr = ParseCidr(each.cidr);
    ASSERT_TRUE(cidr) << each.cidr;
    EXPECT_EQ(cidr->Contains(Address(each.address)), each.contains) << each.cidr << " " << each.address;
  }
}

TEST(Cidr, RefusesWhatIsNoRange) {
  struct Case {
    const char* text;
    const char* expected;
  };
  const Case cases[] = {
      {"", "not a range"},
      {"10.0.0.0", "not a range"},
      {"10.0.0.0/", "not a range"},
      {"10.0.0.0/x", "not a range"},
      {"10.0.0.0/8 ", "not a range"},
      {"10.0.0.0/08", "not a range"},
      {"10.0.0.0/-1", "not a range"},
      {"10.0.0.0/+8", "not a range"},
      {"10.0.0.0/255.0.0.0", "not a range"},
      {"10/8", "not a range"},
      {"/8", "not a range"},
      {"example.com/8", "not a range"},
      {"10.0.0.0/33", "at most 32"},
      {"::/129", "at most 128"},
      {"10.0.0.1/8", "expected \"10.0.0.0/8\""},
      {"10.0.0.1/31", "expected \"10.0.0.0/31\""},
      {"fd00::1/8", "expected \"fd00::/8\""},
      {"::ffff:127.0.0.0/104", "v4-mapped"},
      {"::ffff:0.0.0.0/96", "v4-mapped"},
  };
  for (const Case& each : cases) {
    const auto cidr = ParseCidr(each.text);
    ASSERT_FALSE(cidr) << each.text;
    EXPECT_EQ(cidr.error().reason, Reason::kInvalidField) << each.text;
    EXPECT_NE(cidr.error().message.find(each.expected), std::string::npos) << each.text << ": " << cidr.error().message;
  }
}

}  // namespace
}  // namespace fairlead
