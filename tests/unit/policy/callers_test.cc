#include "policy/callers.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

using Names = std::vector<std::string>;

const Callers kCallers({{.identity = "md", .certificates = {"spiffe://firm/md", "md.firm"}, .tokens = {Sha256{1}}},
                        {.identity = "desk", .certificates = {"desk.firm"}, .tokens = {Sha256{2}, Sha256{3}}},
                        {.identity = "md", .certificates = {"md-2.firm"}, .tokens = {}}});

TEST(Callers, AreKnownByANameOfTheirCertificate) {
  EXPECT_EQ(kCallers.OfCertificate(Names{"spiffe://firm/md"}), "md");
  EXPECT_EQ(kCallers.OfCertificate(Names{"unknown.firm", "desk.firm"}), "desk");
  EXPECT_EQ(kCallers.OfCertificate(Names{"md.firm", "spiffe://firm/md", "md-2.firm"}), "md") << "all of one identity";
}

TEST(Callers, ACertificateOfNobodyOrOfSeveralIsRefused) {
  for (const Names& names :
       {Names{}, Names{"unknown.firm"}, Names{"MD.firm"}, Names{"md.firm", "desk.firm"}, Names{""}}) {
    const auto identity = kCallers.OfCertificate(names);
    ASSERT_FALSE(identity);
    EXPECT_EQ(identity.error(), (Failure{Reason::kUnauthenticated, Phase::kNotSent,
                                         "the certificate is of no caller that is known here"}));
  }
}

TEST(Callers, AreKnownByATokensHash) {
  EXPECT_EQ(kCallers.OfToken(Sha256{1}), "md");
  EXPECT_EQ(kCallers.OfToken(Sha256{3}), "desk") << "each of several";
  ASSERT_FALSE(kCallers.OfToken(Sha256{}));
  EXPECT_EQ(kCallers.OfToken(Sha256{4}).error().reason, Reason::kUnauthenticated);
}

TEST(Callers, WithoutAnyNobodyIsKnown) {
  EXPECT_FALSE(Callers().OfCertificate(Names{"md.firm"}));
  EXPECT_FALSE(Callers().OfToken(Sha256{1}));
}

TEST(BearerToken, IsWhatFollowsTheScheme) {
  EXPECT_EQ(BearerToken("Bearer sesame"), "sesame");
  EXPECT_EQ(BearerToken("bearer  sesame"), "sesame") << "schemes have no case (RFC 9110 section 11.1)";
  for (const char* other : {"", "Bearer", "Bearer ", "Basic sesame", "sesame", "Bearersesame"})
    EXPECT_EQ(BearerToken(other), "") << other;
}

}  // namespace
}  // namespace fairlead
