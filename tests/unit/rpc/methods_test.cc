// What a policy can grant is what there is to call.
#include <fairlead/v1/http.pb.h>
#include <fairlead/v1/quota.pb.h>
#include <fairlead/v1/session.pb.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "policy/access.h"

namespace fairlead {
namespace {

TEST(Methods, AreThoseOfTheServices) {
  std::vector<std::string> all;
  for (const auto* file : {v1::SendRequest::descriptor()->file(), v1::AcquireRequest::descriptor()->file(),
                           v1::AttachRequest::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      const auto& service = *file->service(i);
      for (int j = 0; j < service.method_count(); ++j) all.push_back(service.name() + "." + service.method(j)->name());
    }
  }
  EXPECT_THAT(kMethods, ::testing::UnorderedElementsAreArray(all));
  for (size_t rpc = 0; rpc < kRpcs; ++rpc) {
    const std::string_view method = MethodOf(static_cast<Rpc>(rpc));
    EXPECT_EQ(method.substr(method.find('.') + 1), Name(static_cast<Rpc>(rpc)));
  }
}

}  // namespace
}  // namespace fairlead
