// YAML into a protobuf message by its descriptor, with the line of every field. Knows nothing of what the fields mean
// beyond their types; config.cc does.
#pragma once

#include <google/protobuf/message.h>

#include <map>
#include <string>
#include <vector>

namespace fairlead {

// What is wrong with a file, and on which lines its fields stand.
class ConfigErrors {
 public:
  explicit ConfigErrors(std::string file) : file_(std::move(file)) {}

  // `field` is a path as "egress.rules[0].name"; lines count from 1.
  void SetLine(const std::string& field, int line) { lines_[field] = line; }
  // `text` is "what is wrong; what is expected". An absent field is blamed on the line of what should hold it. Ignored
  // when the field, or what holds it, has an error already: that one is the cause.
  void Add(const std::string& field, const std::string& text);
  // Without regard to earlier errors. An empty field: the error is not about one.
  void AddAt(int line, const std::string& field, const std::string& text);

  bool empty() const { return errors_.empty(); }
  // "FILE:LINE: field: text", in the order of lines.
  std::vector<std::string> Lines() const;

 private:
  struct Error {
    std::string field;
    std::string text;
  };

  std::string file_;
  std::map<std::string, int> lines_;
  std::multimap<int, Error> errors_;  // By line; of one line in the order of Add.
};

// Fills `message`; an absent field stays absent. Where a value is wrong the field stays absent too, but a list keeps
// its length, so that indexes agree with the file.
//
// Durations are "500ms", integers ending in _bytes also "16MiB", enum values their name without the prefix in small
// letters. What is not in the descriptor, given twice or of another type is an error. False when the text is no YAML at
// all: then nothing more can be said of it.
bool ReadYaml(const std::string& yaml, google::protobuf::Message& message, ConfigErrors& errors);

// The fields that are given, those of a section ("limits.sessions") by themselves, with their values as text.
// `section`: what goes before the names, for this function's own use.
std::map<std::string, std::string> GivenFields(const google::protobuf::Message& message,
                                               const std::string& section = "");

}  // namespace fairlead
