// Checks of values that several parts of a configuration have.
#pragma once

#include <map>
#include <string>

#include "config_yaml.h"

namespace fairlead {

// Of one file. A failed check is one of its errors.
class ConfigChecks {
 public:
  explicit ConfigChecks(ConfigErrors& errors) : errors_(errors) {}

  ConfigErrors& errors() { return errors_; }
  // Of identities and rules. What is in it can stand in any log, message and metric. Whether it is one.
  bool Name(const std::string& name, const std::string& field);
  // `what` stands once in the file.
  void Unique(const std::string& what, const std::string& field);
  // That there is a PEM block of the kind, of which `block` is a part; whether it is any good, its user finds out.
  void Pem(const std::string& file, const std::string& field, const std::string& block, const std::string& what);

 private:
  ConfigErrors& errors_;
  std::map<std::string, std::string> seen_;
};

}  // namespace fairlead
