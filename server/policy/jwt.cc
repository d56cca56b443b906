#include "policy/jwt.h"

#include <cjose/header.h>
#include <cjose/jwk.h>
#include <cjose/jws.h>
#include <cjose/util.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

namespace fairlead {
namespace {

using simdjson::dom::element;

constexpr size_t kLeastRsaBits = 2048;
// What a header may name, and the kind of key that it takes (RFC 7518 section 3.1). No "none", nothing symmetric.
constexpr std::array<std::pair<std::string_view, cjose_jwk_kty_t>, 9> kAlgorithms = {{{"RS256", CJOSE_JWK_KTY_RSA},
                                                                                      {"RS384", CJOSE_JWK_KTY_RSA},
                                                                                      {"RS512", CJOSE_JWK_KTY_RSA},
                                                                                      {"PS256", CJOSE_JWK_KTY_RSA},
                                                                                      {"PS384", CJOSE_JWK_KTY_RSA},
                                                                                      {"PS512", CJOSE_JWK_KTY_RSA},
                                                                                      {"ES256", CJOSE_JWK_KTY_EC},
                                                                                      {"ES384", CJOSE_JWK_KTY_EC},
                                                                                      {"ES512", CJOSE_JWK_KTY_EC}}};

struct FreeJwk {
  void operator()(cjose_jwk_t* key) const { cjose_jwk_release(key); }
};
struct FreeJws {
  void operator()(cjose_jws_t* signed_text) const { cjose_jws_release(signed_text); }
};

std::unexpected<Failure> Bad(std::string what) { return NotSent(Reason::kInvalidField, std::move(what)); }
std::unexpected<Failure> Refused(std::string why) { return NotSent(Reason::kUnauthenticated, std::move(why)); }
// To who may be anybody.
std::unexpected<Failure> Unknown() { return Refused("the bearer token is of no caller that is known here"); }

std::string Text(const element& object, std::string_view name) {
  std::string_view text;
  return object[name].get(text) == simdjson::SUCCESS ? std::string(text) : std::string();
}

bool Has(const element& object, std::string_view name) {
  element ignored;
  return object[name].get(ignored) == simdjson::SUCCESS;
}

// NumericDate, RFC 7519 section 2: it may have a fraction.
std::optional<WallTime> Date(const element& claims, std::string_view name) {
  double seconds = 0;
  // Beyond the year 2200 is for ever.
  if (claims[name].get(seconds) != simdjson::SUCCESS || !std::isfinite(seconds) || seconds < 0) return std::nullopt;
  return WallTime(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::min(seconds, 7.2e9))));
}

bool IsFor(const element& claims, std::string_view audience) {
  if (Text(claims, "aud") == audience) return !audience.empty();
  simdjson::dom::array several;
  if (claims["aud"].get(several) != simdjson::SUCCESS) return false;
  return std::ranges::any_of(several, [&](const element& each) {
    std::string_view name;
    return each.get(name) == simdjson::SUCCESS && name == audience;
  });
}

}  // namespace

struct JwtKeys::Key {
  std::unique_ptr<cjose_jwk_t, FreeJwk> key;
  std::string id;         // Empty: it has none.
  std::string algorithm;  // Empty: any of its kind.
};

JwtKeys::JwtKeys() = default;
JwtKeys::~JwtKeys() = default;
JwtKeys::JwtKeys(JwtKeys&&) noexcept = default;
JwtKeys& JwtKeys::operator=(JwtKeys&&) noexcept = default;

Result<JwtKeys> JwtKeys::Parse(std::string_view json) {
  simdjson::dom::parser parser;
  element set;
  simdjson::dom::array listed;
  if (parser.parse(simdjson::padded_string(json)).get(set) != simdjson::SUCCESS ||
      set["keys"].get(listed) != simdjson::SUCCESS)
    return Bad("is no JWK Set: {\"keys\": [...]}");
  JwtKeys keys;
  for (const element& each : listed) {
    const std::string type = Text(each, "kty");
    if (type == "oct") return Bad("has a symmetric key: who can read it could make tokens");
    if (Has(each, "d")) return Bad("has a private key, which is the issuer's alone");
    const std::string use = Text(each, "use");
    if ((type != "RSA" && type != "EC") || (!use.empty() && use != "sig")) continue;
    const std::string text = simdjson::minify(each);
    cjose_err why{};
    std::unique_ptr<cjose_jwk_t, FreeJwk> key(cjose_jwk_import(text.data(), text.size(), &why));
    if (!key) return Bad("has a key that cannot be read, kid \"" + Text(each, "kid") + "\"");
    if (type == "RSA" && cjose_jwk_get_keysize(key.get(), &why) < kLeastRsaBits)
      return Bad("has an RSA key of less than 2048 bits, kid \"" + Text(each, "kid") + "\"");
    keys.keys_.push_back({.key = std::move(key), .id = Text(each, "kid"), .algorithm = Text(each, "alg")});
  }
  if (keys.keys_.empty()) return Bad("has no RSA or EC key for signatures");
  return keys;
}

bool LooksLikeJwt(std::string_view token) { return std::ranges::count(token, '.') == 2 && token.starts_with("ey"); }

Result<JwtClaims> JwtRules::Verify(std::string_view token, const JwtKeys& keys, WallTime now) const {
  if (token.size() > kMostJwtBytes || !LooksLikeJwt(token)) return Unknown();
  cjose_err why{};
  const std::unique_ptr<cjose_jws_t, FreeJws> jws(cjose_jws_import(token.data(), token.size(), &why));
  if (!jws) return Unknown();
  cjose_header_t* header = cjose_jws_get_protected(jws.get());
  const auto named = [&](const char* attribute) {
    const char* value = cjose_header_get(header, attribute, &why);
    return std::string_view(value == nullptr ? "" : value);
  };
  const auto algorithm = std::ranges::find(kAlgorithms, named("alg"), [](const auto& each) { return each.first; });
  if (algorithm == kAlgorithms.end()) return Unknown();
  // Extensions that must be understood (RFC 7515 section 4.1.11): none is.
  char* critical = cjose_header_get_raw(header, "crit", &why);
  if (critical != nullptr) {
    cjose_get_dealloc()(critical);
    return Unknown();
  }
  const std::string_view id = named("kid");
  const bool is_signed = std::ranges::any_of(keys.keys_, [&](const JwtKeys::Key& each) {
    return cjose_jwk_get_kty(each.key.get(), &why) == algorithm->second &&
           (each.algorithm.empty() || each.algorithm == algorithm->first) && (id.empty() || each.id == id) &&
           cjose_jws_verify(jws.get(), each.key.get(), &why);
  });
  uint8_t* payload = nullptr;  // The token's.
  size_t length = 0;
  if (!is_signed || !cjose_jws_get_plaintext(jws.get(), &payload, &length, &why)) return Unknown();

  simdjson::dom::parser parser;
  element claims;
  const std::string_view text(reinterpret_cast<const char*>(payload), length);
  if (parser.parse(simdjson::padded_string(text)).get(claims) != simdjson::SUCCESS || !claims.is_object())
    return Refused("the token's claims are no JSON object");
  if (Text(claims, "iss") != issuer_) return Refused("the token is of another issuer");
  if (!IsFor(claims, audience_)) return Refused("the token is for another audience");
  const auto expires = Date(claims, "exp");
  if (!expires) return Refused("the token does not say when it expires");
  if (now >= *expires + kJwtLeeway) return Refused("the token has expired");
  const auto begins = Has(claims, "nbf") ? Date(claims, "nbf") : WallTime();
  if (!begins || now < *begins - kJwtLeeway) return Refused("the token is not valid yet");
  std::string subject = Text(claims, "sub");
  if (subject.empty()) return Refused("the token names no subject");
  return JwtClaims{.subject = std::move(subject), .expires = *expires};
}

}  // namespace fairlead
