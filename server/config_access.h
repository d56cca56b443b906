// Who may do what, and where: egress rules, callers, JSON Web Tokens, policies and grants of a configuration.
#pragma once

#include <string>

#include "config.h"
#include "config_checks.h"
#include "fairlead/config/v1/config.pb.h"

namespace fairlead {

// `needs_callers`: a listener that names no identity; empty: none.
void ConvertAccess(const config::v1::Config& file, const std::string& needs_callers, ConfigChecks& checks,
                   Config& config);

}  // namespace fairlead
