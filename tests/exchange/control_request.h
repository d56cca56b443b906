// Requests to the control endpoint, as far as all have it in common.
#pragma once

#include <boost/json.hpp>
#include <expected>
#include <string>

#include "exchange/plan.h"

namespace exchange {

namespace json = boost::json;

// What is wrong with a request to the control endpoint.
struct Failure {
  int status = 400;
  std::string text;
};
template <typename T>
using Result = std::expected<T, Failure>;

inline auto Fail(int status, std::string text) { return std::unexpected(Failure{status, std::move(text)}); }

inline std::string Text(const json::string& text) { return {text.data(), text.size()}; }

inline Result<json::object> ParseBody(const std::string& body) {
  if (body.empty()) return json::object();
  json::error_code error;
  auto value = json::parse({body.data(), body.size()}, error);
  if (error || !value.is_object()) return Fail(400, "the body is not a JSON object");
  return value.as_object();
}

// JSON members as the parameters that a query would have.
inline Result<Parameters> ToParameters(const json::object& body) {
  Parameters parameters;
  for (const auto& member : body) {
    const std::string name(member.key().data(), member.key().size());
    const json::value& value = member.value();
    if (value.is_string()) {
      parameters[name] = Text(value.as_string());
    } else if (value.is_number()) {
      parameters[name] = json::serialize(value);
    } else if (value.is_bool()) {
      parameters[name] = value.as_bool() ? "1" : "0";
    } else {
      return Fail(400, name + " must be a string, a number or a boolean");
    }
  }
  return parameters;
}

}  // namespace exchange
