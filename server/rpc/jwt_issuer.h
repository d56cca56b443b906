// The one issuer of JSON Web Tokens whose callers are served, and its keys, as a file that may be replaced.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/time.h"
#include "policy/callers.h"
#include "policy/jwt.h"

namespace fairlead {

// Any thread.
class JwtIssuer {
 public:
  // kInvalidField: the file has no good keys.
  static Result<std::unique_ptr<JwtIssuer>> Open(JwtOptions options, const Clock& clock);

  // The file is looked at by a call with a token that is not known yet, once a second at most. Keys that are no good
  // are not taken: those before go on, and the log says so, once. A token that was good is not verified again while the
  // keys are the same, and before it expires.
  Result<JwtClaims> Verify(std::string_view token);

 private:
  JwtIssuer(JwtOptions options, const Clock& clock);
  Result<void> Take(std::string text);
  void LookAgain();

  const JwtOptions options_;
  const JwtRules rules_;
  const Clock& clock_;

  std::mutex mutex_;  // Guards what follows.
  std::shared_ptr<const JwtKeys> keys_;
  std::string seen_;  // What the file held last.
  SteadyTime looked_at_;
  std::map<Sha256, JwtClaims> good_;
};

}  // namespace fairlead
