// The exchange's records and feeds as JSON.
#pragma once

#include <boost/json/object.hpp>

#include "exchange/feed.h"
#include "exchange/record.h"

namespace exchange {

// With `frames`: also the headers, and what was received.
boost::json::object ToJson(const ConnectionRecord& record, bool frames);
boost::json::object ToJson(const Feed& feed, Clock::time_point now);

}  // namespace exchange
