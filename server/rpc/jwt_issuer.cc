#include "rpc/jwt_issuer.h"

#include <utility>

#include "base/log.h"
#include "base/read_file.h"
#include "rpc/identity.h"

namespace fairlead {
namespace {

constexpr Duration kLookAgain = std::chrono::seconds(1);
// Of tokens that are remembered; at the bound all are verified anew.
constexpr size_t kMostTokens = 10'000;

}  // namespace

JwtIssuer::JwtIssuer(JwtOptions options, const Clock& clock)
    : options_(std::move(options)), rules_(options_.issuer, options_.audience), clock_(clock) {}

Result<std::unique_ptr<JwtIssuer>> JwtIssuer::Open(JwtOptions options, const Clock& clock) {
  std::unique_ptr<JwtIssuer> issuer(new JwtIssuer(std::move(options), clock));
  auto text = ReadFile(issuer->options_.keys_file, kMostJwtKeyBytes);
  Result<void> taken;
  if (text) {
    taken = issuer->Take(std::move(*text));
  } else {
    taken = NotSent(Reason::kInvalidField, text.error());
  }
  if (!taken) {
    return NotSent(Reason::kInvalidField,
                   "jwt.keys_file: \"" + issuer->options_.keys_file + "\" " + taken.error().message);
  }
  issuer->looked_at_ = clock.Now();
  return issuer;
}

Result<void> JwtIssuer::Take(std::string text) {
  seen_ = std::move(text);
  auto keys = JwtKeys::Parse(seen_);
  if (!keys) return std::unexpected(std::move(keys.error()));
  keys_ = std::make_shared<const JwtKeys>(std::move(*keys));
  good_.clear();
  return {};
}

void JwtIssuer::LookAgain() {
  if (clock_.Now() - looked_at_ < kLookAgain) return;
  looked_at_ = clock_.Now();
  auto text = ReadFile(options_.keys_file, kMostJwtKeyBytes);
  if (text && *text == seen_) return;
  if (!text && std::exchange(seen_, text.error()) == text.error()) return;
  const Result<void> taken = text ? Take(std::move(*text)) : Result<void>(NotSent(Reason::kInvalidField, text.error()));
  const std::string file = "\"" + options_.keys_file + "\" ";
  if (taken) return Log(Level::kInfo, "jwt.keys", {{"message", file + "is taken anew"}});
  Log(Level::kWarn, "jwt.keys", {{"message", file + taken.error().message + "; the keys before go on"}});
}

Result<JwtClaims> JwtIssuer::Verify(std::string_view token) {
  const Sha256 hash = HashOf(token);
  std::shared_ptr<const JwtKeys> keys;
  {
    const std::lock_guard lock(mutex_);
    LookAgain();
    const auto found = good_.find(hash);
    if (found != good_.end() && clock_.WallNow() < found->second.expires) return found->second;
    keys = keys_;
  }
  auto claims = rules_.Verify(token, *keys, clock_.WallNow());
  if (!claims) return claims;
  const std::lock_guard lock(mutex_);
  if (keys == keys_) {
    if (good_.size() >= kMostTokens) good_.clear();
    good_.insert_or_assign(hash, *claims);
  }
  return claims;
}

}  // namespace fairlead
