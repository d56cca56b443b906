#include "policy/grants.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

TEST(Grants, EverybodyReadsTheirOwn) { EXPECT_TRUE(Grants().MayRead("desk", "desk", "orders")); }

TEST(Grants, NothingElseIsReadUnlessGranted) { EXPECT_FALSE(Grants().MayRead("desk", "feeds", "md")); }

TEST(Grants, AGrantIsForItsSessionsAndItsReaders) {
  const Grants grants({{.identity = "feeds", .sessions = {"md", "trades.*"}, .readers = {"desk", "risk"}}});
  EXPECT_TRUE(grants.MayRead("desk", "feeds", "md"));
  EXPECT_TRUE(grants.MayRead("risk", "feeds", "trades.btc"));
  EXPECT_TRUE(grants.MayRead("risk", "feeds", "trades."));
  EXPECT_FALSE(grants.MayRead("risk", "feeds", "trades")) << "the pattern has a dot";
  EXPECT_FALSE(grants.MayRead("desk", "feeds", "md2")) << "an exact name";
  EXPECT_FALSE(grants.MayRead("ops", "feeds", "md")) << "another reader";
  EXPECT_FALSE(grants.MayRead("desk", "ops", "md")) << "another identity's session";
  EXPECT_FALSE(grants.MayRead("feeds", "desk", "md")) << "not the other way round";
}

TEST(Grants, AStarAloneIsEverySession) {
  const Grants grants({{.identity = "feeds", .sessions = {"*"}, .readers = {"desk"}}});
  EXPECT_TRUE(grants.MayRead("desk", "feeds", "anything"));
}

}  // namespace
}  // namespace fairlead
