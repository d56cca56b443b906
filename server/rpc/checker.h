// How requests are checked: field by field, whole, and told by the first thing that is wrong.
#pragma once

#include <fairlead/v1/types.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/failure.h"
#include "base/frame.h"
#include "base/time.h"

namespace fairlead {

// Of sessions, setup steps and the like.
bool IsName(std::string_view name);
inline constexpr auto kNameRule = "must match [A-Za-z0-9._:-]{1,128}";

// Collects the first thing that is wrong with a request; checks that come later cost nothing then.
class Checker {
 public:
  void Refuse(Reason reason, const std::string& path, const std::string& what) {
    if (!failure_) failure_ = Failure{reason, Phase::kNotSent, path + ": " + what};
  }
  void Require(bool holds, const std::string& path, const std::string& what) {
    if (!holds) Refuse(Reason::kInvalidField, path, what);
  }
  void NotYet(bool used, const std::string& path) {
    if (used) Refuse(Reason::kNotImplemented, path, "is not possible in this version");
  }
  void Adopt(const Failure& failure, const std::string& prefix) {
    if (!failure_) failure_ = Failure{failure.reason, failure.phase, prefix + failure.message};
  }

  enum class Zero { kAllowed, kRefused };
  // A span that may be absent. The largest is a year: longer ones are mistakes.
  Duration Span(bool present, const google::protobuf::Duration& span, Duration absent, const std::string& path,
                Zero zero = Zero::kAllowed);

  Match Parts(const v1::Match& match, const std::string& path);

  template <typename T>
  Result<T> Finish(T value) {
    if (failure_) return std::unexpected(*failure_);
    return value;
  }
  bool failed() const { return failure_.has_value(); }

 private:
  std::optional<Failure> failure_;
};

// A session's name in a request of its own; required. `field` is its name.
Result<void> CheckSessionName(std::string_view name, std::string_view field);

// kUnknownField with its place, if the message or one within it carries a field that this version does not know.
Result<void> CheckKnown(const google::protobuf::Message& message);

}  // namespace fairlead
