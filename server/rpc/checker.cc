#include "rpc/checker.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <vector>

namespace fairlead {
namespace {

constexpr int64_t kMaxSpanSeconds = 366LL * 24 * 3600;
constexpr size_t kMaxNameBytes = 128;

Result<void> CheckKnownAt(const google::protobuf::Message& message, const std::string& path) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const auto& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) {
    return NotSent(Reason::kUnknownField, path + ": field number " + std::to_string(unknown.field(0).number()) +
                                              " is not known to this version");
  }
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const std::string name = path + "." + field->name();
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const auto& inner = field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                               : reflection.GetMessage(message, field);
      if (auto known = CheckKnownAt(inner, name); !known) return known;
    }
  }
  return {};
}

}  // namespace

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == ':' || c == '-';
  });
}

Duration Checker::Span(bool present, const google::protobuf::Duration& span, Duration absent, const std::string& path,
                       Zero zero) {
  if (!present) return absent;
  const bool valid =
      span.seconds() >= 0 && span.seconds() <= kMaxSpanSeconds && span.nanos() >= 0 && span.nanos() <= 999'999'999;
  Require(valid, path, "must be a span between zero and 366 days");
  const Duration value = valid ? std::chrono::seconds(span.seconds()) + std::chrono::nanoseconds(span.nanos()) : absent;
  Require(zero == Zero::kAllowed || value != Duration::zero(), path, "must not be zero");
  return value;
}

Match Checker::Parts(const v1::Match& match, const std::string& path) {
  Match parts;
  for (const std::string& part : match.contains()) {
    Require(!part.empty(), path + ".contains", "must not have an empty part");
    parts.contains.push_back(part);
  }
  return parts;
}

Result<void> CheckKnown(const google::protobuf::Message& message) {
  return CheckKnownAt(message, message.GetDescriptor()->name());
}

Result<void> CheckSessionName(std::string_view name, std::string_view field) {
  // The gateway's own names of anonymous sessions begin with "~".
  if (IsName(name.starts_with('~') ? name.substr(1) : name)) return {};
  return NotSent(Reason::kInvalidField, std::string(field) + ": " + kNameRule);
}

}  // namespace fairlead
