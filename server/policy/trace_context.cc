#include "policy/trace_context.h"

#include <algorithm>

namespace fairlead {
namespace {

// "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
constexpr size_t kVersion = 2;
constexpr size_t kTrace = kVersion + 1;
constexpr size_t kParent = kTrace + TraceId::kDigits + 1;
constexpr size_t kFlags = kParent + 16 + 1;
constexpr size_t kEnd = kFlags + 2;

bool IsHex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

TraceId ParseTraceparent(std::string_view header) {
  if (header.size() < kEnd) return {};
  const std::string_view version = header.substr(0, kVersion);
  const std::string_view trace = header.substr(kTrace, TraceId::kDigits);
  const std::string_view parent = header.substr(kParent, kFlags - 1 - kParent);
  const std::string_view flags = header.substr(kFlags, kEnd - kFlags);
  for (const size_t dash : {kTrace - 1, kParent - 1, kFlags - 1}) {
    if (header[dash] != '-') return {};
  }
  if (!IsHex(version) || !IsHex(trace) || !IsHex(parent) || !IsHex(flags)) return {};
  if (version == "ff" || IsZero(trace) || IsZero(parent)) return {};
  // A later version may have more parts.
  if (header.size() > kEnd && (version == "00" || header[kEnd] != '-')) return {};
  return TraceId(trace);
}

}  // namespace fairlead
