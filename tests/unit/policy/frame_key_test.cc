#include "policy/frame_key.h"

#include <gtest/gtest.h>

#include <set>

namespace fairlead {
namespace {

bool Same(FrameKeys& keys, const std::string& one, const std::string& other) {
  const auto first = keys.Of(one);
  const auto second = keys.Of(other);
  EXPECT_TRUE(first && second) << one << " " << other;
  return first == second;
}

TEST(FrameKeys, TheWholePayloadIsTheKeyWithoutAPointer) {
  FrameKeys keys("");
  EXPECT_TRUE(keys.of_payload());
  EXPECT_TRUE(Same(keys, "not JSON", "not JSON"));
  EXPECT_FALSE(Same(keys, R"({"seq":1})", R"({"seq":1} )"));
  EXPECT_TRUE(keys.Of(""));
}

TEST(FrameKeys, WhatStandsAtThePointerIsTheKey) {
  FrameKeys keys("/data/0/seq");
  EXPECT_FALSE(keys.of_payload());
  EXPECT_TRUE(Same(keys, R"({"data":[{"seq":17}],"at":1})", R"({ "at":2, "data": [ {"x":0, "seq" : 17 } ] })"));
  EXPECT_FALSE(Same(keys, R"({"data":[{"seq":17}]})", R"({"data":[{"seq":18}]})"));
  EXPECT_TRUE(Same(keys, R"({"data":[{"seq":"a b"}]})", R"({"data":[{"seq": "a b" }]})"));
  // As it is written.
  EXPECT_FALSE(Same(keys, R"({"data":[{"seq":17}]})", R"({"data":[{"seq":17.0}]})"));
  EXPECT_FALSE(Same(keys, R"({"data":[{"seq":17}]})", R"({"data":[{"seq":"17"}]})"));
}

TEST(FrameKeys, APointersEscapesAreThoseOfRfc6901) {
  FrameKeys keys("/a~1b/m~0n");
  EXPECT_TRUE(Same(keys, R"({"a/b":{"m~n":1}})", R"({"a/b":{"m~n":1},"c":2})"));
  EXPECT_FALSE(keys.Of(R"({"a":{"b":{"m":1}}})"));
}

TEST(FrameKeys, AFrameWithoutSuchAValueHasNoKey) {
  FrameKeys keys("/data/seq");
  for (const char* payload : {"", "ping", "17", R"("text")", "[]", "{}", R"({"data":7})", R"({"data":{"seq":null}})",
                              R"({"data":{"seq":true}})", R"({"data":{"seq":[1]}})", R"({"data":{"seq":{"a":1}}})",
                              R"({"data":{"se)", R"({"data":{"seq")", "\xff\xfe", "{\"data\""}) {
    EXPECT_FALSE(keys.Of(payload)) << payload;
  }
  EXPECT_TRUE(keys.Of(R"({"data":{"seq":1}})")) << "and the next one is looked at as ever";
}

TEST(FrameKeys, HundredThousandNumbersAreAsManyKeys) {
  FrameKeys keys("/n");
  std::set<std::pair<uint64_t, uint64_t>> seen;
  std::set<uint64_t> halves;
  for (int i = 0; i < 100'000; ++i) {
    const auto key = keys.Of("{\"n\":" + std::to_string(i) + "}");
    ASSERT_TRUE(key);
    seen.emplace(key->high, key->low);
    halves.insert(key->high ^ key->low);
  }
  EXPECT_EQ(seen.size(), 100'000u);
  EXPECT_EQ(halves.size(), 100'000u) << "the two halves say different things";
}

TEST(JsonPointer, BeginsWithASlashAndEscapesOnlyTildeAndSlash) {
  for (const char* good : {"/", "/a", "/a/0/b", "/a~0b", "/~1", "//"}) EXPECT_TRUE(IsJsonPointer(good)) << good;
  for (const char* bad : {"", "a", "a/b", "/~", "/a~", "/~2", "/~01~x"}) EXPECT_FALSE(IsJsonPointer(bad)) << bad;
}

}  // namespace
}  // namespace fairlead
