#include "config_yaml.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/text_format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace fairlead {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr std::uint64_t kMaxDurationNs = 365ull * 24 * 3600 * 1'000'000'000;

// A number and the unit behind it, as "16" and "MiB".
struct Quantity {
  std::uint64_t number = 0;
  std::string_view unit;
};

std::optional<Quantity> SplitQuantity(std::string_view text) {
  Quantity quantity;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quantity.number);
  if (error != std::errc()) return std::nullopt;
  quantity.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  return quantity;
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr Unit kSizeUnits[] = {{"", 1}, {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}};
constexpr Unit kDurationUnits[] = {
    {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000}};

template <std::size_t N>
std::optional<std::uint64_t> ParseQuantity(std::string_view text, const Unit (&units)[N], std::uint64_t max) {
  const auto quantity = SplitQuantity(text);
  if (!quantity) return std::nullopt;
  const auto* unit = std::ranges::find(units, quantity->unit, &Unit::name);
  if (unit == std::end(units) || quantity->number > max / unit->factor) return std::nullopt;
  return quantity->number * unit->factor;
}

std::size_t EditDistance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= left.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const std::size_t replaced = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string Join(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : ", ") + word;
  return joined;
}

std::string UnknownField(const Descriptor& descriptor, const std::string& name) {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(descriptor.field_count()));
  for (int i = 0; i < descriptor.field_count(); ++i) names.push_back(descriptor.field(i)->name());
  const auto nearest =
      std::ranges::min_element(names, {}, [&](const std::string& each) { return EditDistance(each, name); });
  if (nearest != names.end() && EditDistance(*nearest, name) <= std::clamp<std::size_t>(nearest->size() / 2, 1, 4)) {
    return "unknown field; did you mean \"" + *nearest + "\"?";
  }
  return "unknown field; expected one of " + Join(names);
}

// LEVEL_DEBUG of enum Level: "debug". The zero value means "absent" and has no name in YAML.
std::vector<std::string> EnumNames(const EnumDescriptor& descriptor) {
  std::string prefix = descriptor.value(0)->name();
  prefix.resize(prefix.size() - std::string_view("UNSPECIFIED").size());
  std::vector<std::string> names;
  for (int i = 1; i < descriptor.value_count(); ++i) {
    std::string name = descriptor.value(i)->name().substr(prefix.size());
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    names.push_back(std::move(name));
  }
  return names;
}

// yaml-cpp calls a scalar without quotes "?".
bool IsQuoted(const YAML::Node& node) { return node.Tag() != "?"; }

int LineOf(const YAML::Node& node) { return node.Mark().line + 1; }

// Fills one message and, recursively, those in it.
class Reader {
 public:
  explicit Reader(ConfigErrors& errors) : errors_(errors) {}

  void ReadMessage(const YAML::Node& node, const std::string& path, Message& message) {
    if (node.IsNull()) return;  // "egress:" with nothing below: all defaults.
    if (!node.IsMap()) {
      errors_.AddAt(LineOf(node), path, "wrong type; expected fields, as \"name: value\"");
      return;
    }
    std::set<std::string> seen;
    for (const auto& each : node) {
      if (!each.first.IsScalar()) {
        errors_.AddAt(LineOf(each.first), path, "a field's name is not text; expected \"name: value\"");
        continue;
      }
      const std::string name = each.first.Scalar();
      std::string field_path = path;
      if (!path.empty()) field_path += ".";
      field_path += name;
      const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
      if (field == nullptr) {
        errors_.AddAt(LineOf(each.first), field_path, UnknownField(*message.GetDescriptor(), name));
      } else if (!seen.insert(name).second) {
        errors_.AddAt(LineOf(each.first), field_path, "given twice; expected once");
      } else {
        errors_.SetLine(field_path, LineOf(each.first));
        ReadField(each.second, field_path, *field, message);
      }
    }
  }

 private:
  void ReadField(const YAML::Node& node, const std::string& path, const FieldDescriptor& field, Message& message) {
    if (!field.is_repeated()) {
      ReadValue(node, path, field, message);
      return;
    }
    if (node.IsNull()) return;
    if (!node.IsSequence()) {
      errors_.AddAt(LineOf(node), path, "wrong type; expected a list");
      return;
    }
    for (std::size_t i = 0; i < node.size(); ++i) {
      const std::string element = path + "[" + std::to_string(i) + "]";
      errors_.SetLine(element, LineOf(node[i]));
      ReadValue(node[i], element, field, message);
    }
  }

  void ReadValue(const YAML::Node& node, const std::string& path, const FieldDescriptor& field, Message& message) {
    const auto* reflection = message.GetReflection();
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE: {
        Message* inner = field.is_repeated() ? reflection->AddMessage(&message, &field)
                                             : reflection->MutableMessage(&message, &field);
        if (auto* duration = dynamic_cast<google::protobuf::Duration*>(inner)) {
          ReadDuration(node, path, *duration);
        } else {
          ReadMessage(node, path, *inner);
        }
        return;
      }
      case FieldDescriptor::CPPTYPE_STRING:
        Set(Text(node, path, "text"), std::string(), field, message, &google::protobuf::Reflection::SetString,
            &google::protobuf::Reflection::AddString);
        return;
      case FieldDescriptor::CPPTYPE_BOOL:
        Set(Bool(node, path), false, field, message, &google::protobuf::Reflection::SetBool,
            &google::protobuf::Reflection::AddBool);
        return;
      case FieldDescriptor::CPPTYPE_UINT32:
        Set(Number<std::uint32_t>(node, path, field), 0u, field, message, &google::protobuf::Reflection::SetUInt32,
            &google::protobuf::Reflection::AddUInt32);
        return;
      case FieldDescriptor::CPPTYPE_UINT64:
        Set(Number<std::uint64_t>(node, path, field), std::uint64_t{0}, field, message,
            &google::protobuf::Reflection::SetUInt64, &google::protobuf::Reflection::AddUInt64);
        return;
      case FieldDescriptor::CPPTYPE_ENUM:
        Set(Enum(node, path, *field.enum_type()), 0, field, message, &google::protobuf::Reflection::SetEnumValue,
            &google::protobuf::Reflection::AddEnumValue);
        return;
      default:
        // A type that config.proto does not use yet; the test of all fields finds it.
        errors_.AddAt(LineOf(node), path, "a type that cannot be configured; expected none");
    }
  }

  // A list gets `absent` for a wrong element and so keeps its length.
  template <typename T, typename Setter, typename Adder>
  void Set(std::optional<T> value, const T& absent, const FieldDescriptor& field, Message& message, Setter set,
           Adder add) {
    const auto* reflection = message.GetReflection();
    if (field.is_repeated()) {
      (reflection->*add)(&message, &field, value.value_or(absent));
    } else if (value) {
      (reflection->*set)(&message, &field, *value);
    }
  }

  std::optional<std::string> Text(const YAML::Node& node, const std::string& path, const std::string& expected) {
    if (node.IsScalar()) return node.Scalar();
    errors_.AddAt(node.IsNull() ? 0 : LineOf(node), path,
                  (node.IsNull() ? "has no value; expected " : "wrong type; expected ") + expected);
    return std::nullopt;
  }

  std::optional<bool> Bool(const YAML::Node& node, const std::string& path) {
    const std::string expected = "true or false";
    const auto text = Text(node, path, expected);
    if (!text) return std::nullopt;
    if (!IsQuoted(node) && (*text == "true" || *text == "false")) return *text == "true";
    errors_.AddAt(LineOf(node), path, "wrong value \"" + *text + "\"; expected " + expected);
    return std::nullopt;
  }

  template <typename T>
  std::optional<T> Number(const YAML::Node& node, const std::string& path, const FieldDescriptor& field) {
    const bool is_size = field.name().ends_with("_bytes");
    const std::string expected = is_size ? "a size, as 4096, 64KiB, 16MiB or 1GiB"
                                         : "a whole number, 0 to " + std::to_string(std::numeric_limits<T>::max());
    const auto text = Text(node, path, expected);
    if (!text) return std::nullopt;
    constexpr Unit kNone[] = {{"", 1}};
    const auto number = is_size ? ParseQuantity(*text, kSizeUnits, std::numeric_limits<T>::max())
                                : ParseQuantity(*text, kNone, std::numeric_limits<T>::max());
    if (number && (is_size || !IsQuoted(node))) return static_cast<T>(*number);
    errors_.AddAt(LineOf(node), path, "wrong value \"" + *text + "\"; expected " + expected);
    return std::nullopt;
  }

  std::optional<int> Enum(const YAML::Node& node, const std::string& path, const EnumDescriptor& descriptor) {
    const std::vector<std::string> names = EnumNames(descriptor);
    const std::string expected = "one of " + Join(names);
    const auto text = Text(node, path, expected);
    if (!text) return std::nullopt;
    const auto found = std::ranges::find(names, *text);
    if (found != names.end()) return descriptor.value(static_cast<int>(found - names.begin()) + 1)->number();
    errors_.AddAt(LineOf(node), path, "wrong value \"" + *text + "\"; expected " + expected);
    return std::nullopt;
  }

  void ReadDuration(const YAML::Node& node, const std::string& path, google::protobuf::Duration& duration) {
    const std::string expected = "a whole number with a unit (us, ms, s, m, h), as 500ms or 5m, of a year at most";
    const auto text = Text(node, path, expected);
    if (!text) return;
    const auto ns = ParseQuantity(*text, kDurationUnits, kMaxDurationNs);
    if (!ns) {
      errors_.AddAt(LineOf(node), path, "wrong value \"" + *text + "\"; expected " + expected);
      return;
    }
    duration.set_seconds(static_cast<std::int64_t>(*ns / 1'000'000'000));
    duration.set_nanos(static_cast<std::int32_t>(*ns % 1'000'000'000));
  }

  ConfigErrors& errors_;
};

// Of "a.b[0].c": "a.b[0]", then "a.b", then "a", then "".
std::string Holder(const std::string& field) {
  const std::size_t end = field.find_last_of(".[");
  return end == std::string::npos ? "" : field.substr(0, end);
}

}  // namespace

void ConfigErrors::Add(const std::string& field, const std::string& text) {
  std::string holder = field;
  while (!holder.empty()) {
    if (std::ranges::any_of(errors_, [&](const auto& error) { return error.second.field == holder; })) return;
    holder = Holder(holder);
  }
  AddAt(0, field, text);
}

void ConfigErrors::AddAt(int line, const std::string& field, const std::string& text) {
  std::string holder = field;
  while (line == 0 && !holder.empty()) {
    const auto found = lines_.find(holder);
    if (found != lines_.end()) line = found->second;
    holder = Holder(holder);
  }
  errors_.emplace(std::max(line, 1), Error{field, text});
}

std::vector<std::string> ConfigErrors::Lines() const {
  std::vector<std::string> lines;
  for (const auto& [line, error] : errors_) {
    lines.push_back(file_ + ":" + std::to_string(line) + ": " + (error.field.empty() ? "" : error.field + ": ") +
                    error.text);
  }
  return lines;
}

bool ReadYaml(const std::string& yaml, Message& message, ConfigErrors& errors) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(yaml);
    if (documents.size() > 1) errors.AddAt(LineOf(documents[1]), "", "a second YAML document; expected one");
    if (!documents.empty()) Reader(errors).ReadMessage(documents.front(), "", message);
    return true;
  } catch (const YAML::Exception& exception) {
    errors.AddAt(exception.mark.line + 1, "", "not YAML: " + exception.msg + "; expected \"name: value\" lines");
    return false;
  }
}

std::map<std::string, std::string> GivenFields(const google::protobuf::Message& message, const std::string& section) {
  std::map<std::string, std::string> fields;
  const auto& reflection = *message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> given;
  reflection.ListFields(message, &given);
  for (const auto* field : given) {
    const bool is_section = section.empty() && !field->is_repeated() && field->message_type() != nullptr &&
                            field->message_type() != google::protobuf::Duration::descriptor();
    if (is_section) {
      fields.merge(GivenFields(reflection.GetMessage(message, field), field->name() + "."));
      continue;
    }
    std::string& text = fields[section + field->name()];
    for (int i = 0; i < (field->is_repeated() ? reflection.FieldSize(message, field) : 1); ++i) {
      std::string value;
      google::protobuf::TextFormat::PrintFieldValueToString(message, field, field->is_repeated() ? i : -1, &value);
      text += value + "\n";
    }
  }
  return fields;
}

}  // namespace fairlead
