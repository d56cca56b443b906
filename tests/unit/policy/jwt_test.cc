#include "policy/jwt.h"

#include <cjose/header.h>
#include <cjose/jwk.h>
#include <cjose/jws.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

constexpr WallTime kNow{std::chrono::seconds(1'800'000'000)};
const std::string kGood = R"({"iss":"https://issuer","aud":"fairlead","sub":"md","exp":1800000060})";

// A key of an issuer, private and public.
class Signer {
 public:
  static Signer Rsa(size_t bits) { return Signer(cjose_jwk_create_RSA_random(bits, nullptr, 0, nullptr)); }
  // One for all tests: it takes a second to make.
  static const Signer& Rsa() {
    static const Signer signer = Rsa(2048);
    return signer;
  }
  static Signer Ec(cjose_jwk_ec_curve curve = CJOSE_JWK_EC_P_256) {
    return Signer(cjose_jwk_create_EC_random(curve, nullptr));
  }
  static Signer Symmetric() { return Signer(cjose_jwk_create_oct_random(256, nullptr)); }

  Signer Named(const char* id) && {
    EXPECT_TRUE(cjose_jwk_set_kid(key_.get(), id, std::char_traits<char>::length(id), nullptr));
    return std::move(*this);
  }
  std::string Jwk(bool with_private = false) const {
    char* text = cjose_jwk_to_json(key_.get(), with_private, nullptr);
    std::string jwk = text;
    std::free(text);
    return jwk;
  }
  std::string Token(const std::string& claims, const char* algorithm = "ES256", const char* id = nullptr,
                    const char* critical = nullptr) const {
    cjose_err why{};
    cjose_header_t* header = cjose_header_new(&why);
    cjose_header_set(header, "alg", algorithm, &why);
    if (id != nullptr) cjose_header_set(header, "kid", id, &why);
    if (critical != nullptr) cjose_header_set_raw(header, "crit", critical, &why);
    cjose_jws_t* jws =
        cjose_jws_sign(key_.get(), header, reinterpret_cast<const uint8_t*>(claims.data()), claims.size(), &why);
    EXPECT_NE(jws, nullptr) << why.message;
    const char* text = nullptr;
    cjose_jws_export(jws, &text, &why);
    std::string token = text;
    cjose_jws_release(jws);
    cjose_header_release(header);
    return token;
  }

 private:
  explicit Signer(cjose_jwk_t* key) : key_(key, &cjose_jwk_release) {}
  std::unique_ptr<cjose_jwk_t, bool (*)(cjose_jwk_t*)> key_;
};

std::string Set(std::initializer_list<std::string> keys) {
  std::string set = R"({"keys":[)";
  for (const std::string& key : keys) set += (set.back() == '[' ? "" : ",") + key;
  return set + "]}";
}

JwtKeys KeysOf(std::initializer_list<std::string> keys) { return std::move(*JwtKeys::Parse(Set(keys))); }

std::string Told(const std::string& token, const JwtKeys& keys, WallTime now = kNow) {
  const auto claims = JwtRules("https://issuer", "fairlead").Verify(token, keys, now);
  if (claims) return claims->subject;
  EXPECT_EQ(claims.error().reason, Reason::kUnauthenticated);
  return claims.error().message;
}

constexpr const char* kUnknown = "the bearer token is of no caller that is known here";

TEST(Jwt, EachAlgorithmWithAKeyOfItsKind) {
  const Signer& rsa = Signer::Rsa();
  const Signer p256 = Signer::Ec();
  const Signer p384 = Signer::Ec(CJOSE_JWK_EC_P_384);
  const JwtKeys keys = KeysOf({rsa.Jwk(), p256.Jwk(), p384.Jwk()});
  for (const char* algorithm : {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
    EXPECT_EQ(Told(rsa.Token(kGood, algorithm), keys), "md") << algorithm;
  EXPECT_EQ(Told(p256.Token(kGood, "ES256"), keys), "md");
  EXPECT_EQ(Told(p384.Token(kGood, "ES384"), keys), "md");
}

TEST(Jwt, WhatIsNotSignedByTheIssuerIsOfNobody) {
  const Signer ours = Signer::Ec();
  const JwtKeys keys = KeysOf({ours.Jwk()});
  EXPECT_EQ(Told(Signer::Ec().Token(kGood), keys), kUnknown);
  EXPECT_EQ(Told(Signer::Rsa().Token(kGood, "RS256"), keys), kUnknown);
  std::string changed = ours.Token(kGood);
  changed[changed.find('.') + 5] ^= 1;
  EXPECT_EQ(Told(changed, keys), kUnknown);
  // {"alg":"none"}, as RFC 7519 section 6.1 has it.
  EXPECT_EQ(Told("eyJhbGciOiJub25lIn0." + ours.Token(kGood).substr(ours.Token(kGood).find('.') + 1), keys), kUnknown);
  EXPECT_EQ(Told("eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZCJ9.", keys), kUnknown);
  EXPECT_EQ(Told(Signer::Symmetric().Token(kGood, "HS256"), keys), kUnknown);
  for (const char* nonsense : {"", "ey", "ey..", "ey.ey.ey", "a.b.c"}) EXPECT_EQ(Told(nonsense, keys), kUnknown);
  EXPECT_EQ(Told(ours.Token(kGood) + std::string(kMostJwtBytes, 'x'), keys), kUnknown);
}

TEST(Jwt, AKeyIsFoundByItsNameAndHeldToItsAlgorithm) {
  const Signer old = Signer::Ec().Named("old");
  const Signer next = Signer::Ec().Named("next");
  const JwtKeys keys = KeysOf({old.Jwk(), next.Jwk()});
  EXPECT_EQ(Told(next.Token(kGood, "ES256", "next"), keys), "md");
  EXPECT_EQ(Told(next.Token(kGood, "ES256"), keys), "md") << "without a name any of them will do";
  EXPECT_EQ(Told(next.Token(kGood, "ES256", "old"), keys), kUnknown);
  EXPECT_EQ(Told(next.Token(kGood, "ES256", "other"), keys), kUnknown);
  const Signer& rsa = Signer::Rsa();
  const std::string jwk = rsa.Jwk();
  const JwtKeys pinned = KeysOf({R"({"alg":"PS256",)" + jwk.substr(1)});
  EXPECT_EQ(Told(rsa.Token(kGood, "PS256"), pinned), "md");
  EXPECT_EQ(Told(rsa.Token(kGood, "RS256"), pinned), kUnknown);
}

TEST(Jwt, WhatMustBeUnderstoodAndIsNotIsRefused) {
  const Signer ours = Signer::Ec();
  EXPECT_EQ(Told(ours.Token(kGood, "ES256", nullptr, R"(["exp"])"), KeysOf({ours.Jwk()})), kUnknown);
}

TEST(Jwt, ClaimsAreForUsAndInTime) {
  const Signer ours = Signer::Ec();
  const JwtKeys keys = KeysOf({ours.Jwk()});
  const auto told = [&](const std::string& claims, WallTime now = kNow) { return Told(ours.Token(claims), keys, now); };
  const std::string begin = R"({"iss":"https://issuer","sub":"md",)";
  EXPECT_EQ(told(begin + R"("aud":["x","fairlead"],"exp":1800000060.5})"), "md");
  EXPECT_EQ(told(begin + R"("aud":"other","exp":1800000060})"), "the token is for another audience");
  EXPECT_EQ(told(begin + R"("aud":["other",1],"exp":1800000060})"), "the token is for another audience");
  EXPECT_EQ(told(begin + R"("exp":1800000060})"), "the token is for another audience");
  EXPECT_EQ(told(begin + R"("aud":"fairlead"})"), "the token does not say when it expires");
  EXPECT_EQ(told(begin + R"("aud":"fairlead","exp":"1800000060"})"), "the token does not say when it expires");
  EXPECT_EQ(told(begin + R"("aud":"fairlead","exp":1e300})"), "md");
  EXPECT_EQ(told(begin + R"("aud":"fairlead","exp":1800000060,"nbf":1800000031})"), "the token is not valid yet");
  EXPECT_EQ(told(begin + R"("aud":"fairlead","exp":1800000060,"nbf":1800000030})"), "md");
  EXPECT_EQ(told(begin + R"("aud":"fairlead","exp":1800000060,"nbf":"soon"})"), "the token is not valid yet");
  EXPECT_EQ(told(R"({"iss":"https://other","aud":"fairlead","sub":"md","exp":1800000060})"),
            "the token is of another issuer");
  EXPECT_EQ(told(R"({"aud":"fairlead","sub":"md","exp":1800000060})"), "the token is of another issuer");
  EXPECT_EQ(told(R"({"iss":"https://issuer","aud":"fairlead","exp":1800000060})"), "the token names no subject");
  EXPECT_EQ(told("[1]"), "the token's claims are no JSON object");
  EXPECT_EQ(told("no json"), "the token's claims are no JSON object");
  EXPECT_EQ(told(kGood, kNow + 60s + kJwtLeeway - 1ns), "md");
  EXPECT_EQ(told(kGood, kNow + 60s + kJwtLeeway), "the token has expired");
}

TEST(JwtKeys, WhatIsNoSetOfPublicKeysIsRefused) {
  const auto why = [](const std::string& json) {
    const auto keys = JwtKeys::Parse(json);
    return keys ? "taken" : keys.error().message;
  };
  EXPECT_EQ(why(Set({Signer::Ec().Jwk()})), "taken");
  EXPECT_THAT(why("no json"), HasSubstr("is no JWK Set"));
  EXPECT_THAT(why("[]"), HasSubstr("is no JWK Set"));
  EXPECT_THAT(why("{}"), HasSubstr("is no JWK Set"));
  EXPECT_EQ(why(Set({})), "has no RSA or EC key for signatures");
  EXPECT_EQ(why(Set({R"({"kty":"OKP","crv":"Ed25519","x":"AA"})"})), "has no RSA or EC key for signatures");
  EXPECT_EQ(why(Set({R"({"use":"enc",)" + Signer::Ec().Jwk().substr(1)})), "has no RSA or EC key for signatures");
  EXPECT_THAT(why(Set({Signer::Symmetric().Jwk(true)})), HasSubstr("symmetric"));
  const std::string secret = Signer::Ec().Jwk(true);
  EXPECT_THAT(why(Set({secret})), HasSubstr("private"));
  EXPECT_THAT(why(Set({secret})), Not(HasSubstr("\"d\"")));
  EXPECT_THAT(why(Set({R"({"kty":"EC","kid":"k","crv":"P-256","x":"AA","y":"AA"})"})),
              HasSubstr("cannot be read, kid \"k\""));
  EXPECT_THAT(why(Set({Signer::Rsa(1024).Named("short").Jwk()})), HasSubstr("less than 2048 bits, kid \"short\""));
}

TEST(Jwt, TokensWithoutItsShapeAreLookedForByTheirHash) {
  EXPECT_TRUE(LooksLikeJwt(Signer::Ec().Token(kGood)));
  for (const char* other : {"", "0123abcd", "a.b.c", "ey.b", "ey.b.c.d.e"}) EXPECT_FALSE(LooksLikeJwt(other)) << other;
}

}  // namespace
}  // namespace fairlead
