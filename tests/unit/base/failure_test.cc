#include "base/failure.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <string>

#include "fairlead/v1/types.pb.h"

namespace fairlead {
namespace {

// Every number up to beyond the largest of the API: ours and the API's name must be the same, and both must be missing
// together. Name() is a switch over all enumerators, which the compiler checks, so no enumerator of ours is left out.
template <typename Enum>
void ExpectSameNames(const google::protobuf::EnumDescriptor& api, const std::string& prefix) {
  int named = 0;
  for (int number = -1; number < 1000; ++number) {
    const auto* value = api.FindValueByNumber(number);
    const std::string ours(Name(static_cast<Enum>(number)));
    EXPECT_EQ(value == nullptr ? "UNKNOWN" : value->name().substr(prefix.size()), ours) << number;
    if (value != nullptr) {
      EXPECT_TRUE(value->name().starts_with(prefix)) << value->name();
      ++named;
    }
  }
  EXPECT_EQ(named, api.value_count()) << "a number beyond those compared";
}

TEST(Failure, ReasonsAreThoseOfTheApi) { ExpectSameNames<Reason>(*v1::Reason_descriptor(), "REASON_"); }

TEST(Failure, PhasesAreThoseOfTheApi) { ExpectSameNames<Phase>(*v1::Phase_descriptor(), "PHASE_"); }

TEST(Failure, NotSentMakesAFailureOfThatPhase) {
  const Result<int> result = NotSent(Reason::kNotOpen, "no transport");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), (Failure{Reason::kNotOpen, Phase::kNotSent, "no transport"}));
}

}  // namespace
}  // namespace fairlead
