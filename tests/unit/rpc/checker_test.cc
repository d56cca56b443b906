#include "rpc/checker.h"

#include <fairlead/v1/session.pb.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(CheckKnown, TellsWhereAnUnknownFieldIs) {
  v1::Open open;
  open.add_setup()->set_key("a");
  open.add_setup()->set_key("b");
  EXPECT_TRUE(CheckKnown(open));
  auto& step = *open.mutable_setup(1);
  step.GetReflection()->MutableUnknownFields(&step)->AddVarint(99, 1);
  const auto known = CheckKnown(open);
  ASSERT_FALSE(known);
  EXPECT_EQ(known.error().reason, Reason::kUnknownField);
  EXPECT_THAT(known.error().message, HasSubstr("Open.setup: field number 99"));
}

TEST(Checker, TellsTheFirstThingThatIsWrong) {
  Checker check;
  check.Require(true, "a", "is right");
  EXPECT_FALSE(check.failed());
  check.Require(false, "b", "is wrong");
  check.NotYet(true, "c");
  check.Adopt({Reason::kLimitReached, Phase::kNotSent, "d: is too much"}, "x.");
  EXPECT_EQ(check.Finish(1).error(), (Failure{Reason::kInvalidField, Phase::kNotSent, "b: is wrong"}));
  Checker adopting;
  adopting.Adopt({Reason::kLimitReached, Phase::kNotSent, "d: is too much"}, "x.");
  EXPECT_EQ(adopting.Finish(1).error(), (Failure{Reason::kLimitReached, Phase::kNotSent, "x.d: is too much"}));
  EXPECT_EQ(Checker().Finish(1), 1);
}

TEST(Checker, SpansAreBounded) {
  const auto span = [](int64_t seconds, int32_t nanos, Checker::Zero zero = Checker::Zero::kAllowed) {
    google::protobuf::Duration duration;
    duration.set_seconds(seconds);
    duration.set_nanos(nanos);
    Checker check;
    const Duration value = check.Span(true, duration, 7s, "f", zero);
    return check.Finish(value);
  };
  EXPECT_EQ(span(1, 5), 1s + 5ns);
  EXPECT_EQ(span(0, 0), 0s);
  EXPECT_EQ(span(0, 0, Checker::Zero::kRefused).error().message, "f: must not be zero");
  EXPECT_EQ(span(366 * 24 * 3600, 0), 366 * 24h);
  for (const auto& [seconds, nanos] : std::vector<std::pair<int64_t, int32_t>>{
           {366 * 24 * 3600 + 1, 0}, {-1, 0}, {0, -1}, {0, 1'000'000'000}, {INT64_MAX, 0}, {INT64_MIN, INT32_MIN}}) {
    EXPECT_FALSE(span(seconds, nanos)) << seconds << " " << nanos;
  }
  Checker check;
  EXPECT_EQ(check.Span(false, {}, 7s, "f", Checker::Zero::kRefused), 7s) << "absent is the default";
  EXPECT_FALSE(check.failed());
}

}  // namespace
}  // namespace fairlead
