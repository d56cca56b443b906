// The exchange's records and feeds as JSON.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>

#include "exchange/feed.h"
#include "exchange/record.h"

namespace exchange {

// nullptr (null) stands for what has not happened.
template <typename Number>
boost::json::value OrNull(Number number) {
  return number == 0 ? boost::json::value(nullptr) : boost::json::value(number);
}
// The peer's bytes need not be UTF-8, which JSON must be: others become "base64:...".
boost::json::value ToText(const std::string& text);

// With `frames`: also the headers, and what was received.
boost::json::object ToJson(const ConnectionRecord& record, bool frames);
boost::json::object ToJson(const Feed& feed, Clock::time_point now);

}  // namespace exchange
