// A string that does not print: payloads, header values, tokens, query strings.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace fairlead {

// Every way of printing one shows "***", and Log does not take one. Only Reveal gives the text, so that a reader of the
// code sees where it goes.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}

  const std::string& Reveal() const { return text_; }
  std::size_t size() const { return text_.size(); }
  bool empty() const { return text_.empty(); }

  friend bool operator==(const Secret&, const Secret&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Secret&) { return out << kShown; }
  template <typename Sink>
  friend void AbslStringify(Sink& sink, const Secret&) {
    sink.Append(kShown);
  }

 private:
  static constexpr const char* kShown = "***";

  std::string text_;
};

}  // namespace fairlead
