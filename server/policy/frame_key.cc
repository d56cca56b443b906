#include "policy/frame_key.h"

#include <absl/hash/hash.h>
#include <simdjson.h>

namespace fairlead {
namespace {

FrameKey Hash(std::string_view bytes) {
  const absl::string_view view(bytes.data(), bytes.size());
  return {absl::HashOf(1, view), absl::HashOf(2, view)};
}

}  // namespace

bool IsJsonPointer(std::string_view pointer) {
  if (!pointer.starts_with('/')) return false;
  for (size_t at = pointer.find('~'); at != std::string_view::npos; at = pointer.find('~', at + 1)) {
    if (at + 1 == pointer.size() || (pointer[at + 1] != '0' && pointer[at + 1] != '1')) return false;
  }
  return true;
}

struct FrameKeys::Parser {
  simdjson::ondemand::parser parser;
  std::string padded;  // simdjson reads beyond the end.
};

FrameKeys::FrameKeys(std::string json_pointer)
    : pointer_(std::move(json_pointer)), parser_(pointer_.empty() ? nullptr : std::make_unique<Parser>()) {}
FrameKeys::~FrameKeys() = default;
FrameKeys::FrameKeys(FrameKeys&&) noexcept = default;
FrameKeys& FrameKeys::operator=(FrameKeys&&) noexcept = default;

std::optional<FrameKey> FrameKeys::Of(std::string_view payload) {
  if (!parser_) return Hash(payload);
  std::string& padded = parser_->padded;
  padded.reserve(payload.size() + simdjson::SIMDJSON_PADDING);
  padded.assign(payload);
  simdjson::ondemand::document document;
  if (parser_->parser.iterate(padded.data(), padded.size(), padded.capacity()).get(document)) return std::nullopt;
  simdjson::ondemand::value value;
  if (document.at_pointer(pointer_).get(value)) return std::nullopt;
  simdjson::ondemand::json_type type{};
  if (value.type().get(type)) return std::nullopt;
  if (type != simdjson::ondemand::json_type::string && type != simdjson::ondemand::json_type::number) {
    return std::nullopt;
  }
  std::string_view token = value.raw_json_token();
  if (const size_t last = token.find_last_not_of(" \t\r\n"); last != std::string_view::npos) {
    token = token.substr(0, last + 1);
  }
  return Hash(token);
}

}  // namespace fairlead
