// Reads parameters of a query or of a JSON object.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "exchange/plan.h"

namespace exchange {

// Takes parameters by name and remembers the first error, so that the readers below need no branch each.
class Taker {
 public:
  explicit Taker(Parameters& parameters) : parameters_(parameters) {}

  std::optional<std::string> Text(const std::string& name) {
    const auto node = parameters_.extract(name);
    return node ? std::optional(node.mapped()) : std::nullopt;
  }
  template <typename Number>
  std::optional<Number> In(const std::string& name, Number least, Number most) {
    const auto text = Text(name);
    if (!text) return std::nullopt;
    Number value{};
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc() || end != text->data() + text->size() || !(value >= least && value <= most)) {
      Fail(name + "=" + *text + " is not a number from " + std::to_string(least) + " to " + std::to_string(most));
      return std::nullopt;
    }
    return value;
  }
  template <typename Choice>
  std::optional<Choice> OneOf(const std::string& name, const std::vector<std::pair<std::string, Choice>>& choices) {
    const auto text = Text(name);
    if (!text) return std::nullopt;
    for (const auto& [choice, value] : choices) {
      if (choice == *text) return value;
    }
    Fail(name + "=" + *text + " is not known");
    return std::nullopt;
  }
  bool Flag(const std::string& name) { return OneOf<bool>(name, {{"0", false}, {"1", true}}).value_or(false); }
  void Fail(std::string text) {
    if (error_.empty()) error_ = std::move(text);
  }
  const std::string& error() const { return error_; }

 private:
  Parameters& parameters_;
  std::string error_;
};

}  // namespace exchange
