#include "base/measures.h"

namespace fairlead {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::array<Duration, 13> kShort = {microseconds(50), microseconds(100),  microseconds(250), microseconds(500),
                                             milliseconds(1),  microseconds(2500), milliseconds(5),   milliseconds(10),
                                             milliseconds(25), milliseconds(50),   milliseconds(100), milliseconds(250),
                                             seconds(1)};
constexpr std::array<Duration, 14> kLong = {
    microseconds(500), milliseconds(1),    microseconds(2500), milliseconds(5),   milliseconds(10),
    milliseconds(25),  milliseconds(50),   milliseconds(100),  milliseconds(250), milliseconds(500),
    seconds(1),        milliseconds(2500), seconds(5),         seconds(10)};
constexpr std::array<Duration, 13> kOutage = {
    milliseconds(50),   milliseconds(100), milliseconds(250), milliseconds(500), seconds(1),
    milliseconds(2500), seconds(5),        seconds(10),       seconds(30),       seconds(60),
    seconds(120),       seconds(300),      seconds(900)};
static_assert(std::max({kShort.size(), kLong.size(), kOutage.size()}) <= Histogram::kMostBounds);

// gRPC's names of its codes, by number.
constexpr std::array<std::string_view, kStatusCodes> kCodes = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

}  // namespace

std::span<const Duration> ShortSpans() { return kShort; }
std::span<const Duration> LongSpans() { return kLong; }
std::span<const Duration> OutageSpans() { return kOutage; }

std::string_view CodeName(int code) { return kCodes[std::min(static_cast<size_t>(code), kStatusCodes - 1)]; }

std::string_view Name(Rpc rpc) {
  static constexpr std::array<std::string_view, kRpcs> kNames = {
      "Attach",   "Tail",     "ListSessions", "GetSession", "CloseSession", "Send",
      "Pipeline", "Download", "Acquire",      "ListQuotas", "ReportUsage"};
  return kNames[static_cast<size_t>(rpc)];
}

}  // namespace fairlead
