// Structured logs on standard error, one line an event (logfmt):
//
//   2026-11-23T16:00:00.123456Z INFO session.open session=md identity=dev generation=2 message="hello, \"world\""
//
// What may be secret is not logged: no payloads, no header values but ids of traces, no query strings; a Secret does
// not compile as a field.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "base/secret.h"
#include "base/time.h"

namespace fairlead {

enum class Level : int { kDebug = 1, kInfo = 2, kWarn = 3, kError = 4 };

// A name and a value of one event. The name is a bare word; the value is quoted and escaped where needed (control
// characters and bytes beyond ASCII as \xNN) and cut after kMaxLogValueBytes. Refers to its text: made within the call
// of Log.
class LogField {
 public:
  LogField(std::string_view name, std::string_view value) : name_(name), value_(value) {}
  LogField(std::string_view name, const std::string& value) : name_(name), value_(std::string_view(value)) {}
  LogField(std::string_view name, const char* value) : name_(name), value_(std::string_view(value)) {}
  LogField(std::string_view name, bool value) : name_(name), value_(value) {}
  LogField(std::string_view name, std::signed_integral auto value) : name_(name), value_(std::int64_t{value}) {}
  LogField(std::string_view name, std::unsigned_integral auto value) : name_(name), value_(std::uint64_t{value}) {}
  // With a unit: "1.5s", "250us".
  LogField(std::string_view name, Duration value) : name_(name), value_(value) {}
  LogField(std::string_view name, const Secret& value) = delete;
  // Left out if it is an empty text; behind the other fields. Lines that differ in such fields alone are equal to
  // base/log_limit: for what is another each time.
  template <typename T>
  static LogField Detail(std::string_view name, const T& value) {
    LogField field(name, value);
    field.is_detail_ = true;
    return field;
  }
  bool is_detail() const { return is_detail_; }
  bool is_empty() const;

  void AppendTo(std::string& line) const;

 private:
  std::string_view name_;
  std::variant<std::string_view, bool, std::int64_t, std::uint64_t, Duration> value_;
  bool is_detail_ = false;
};

inline constexpr std::size_t kMaxLogValueBytes = 1024;

// Any thread. `event` is a bare dotted word of the code, as "session.open". Below the level it costs one atomic load. A
// line is one write(2); what standard error does not take is lost.
void Log(Level level, std::string_view event, std::initializer_list<LogField> fields = {});

// Any thread. At first kInfo.
void SetLogLevel(Level level);
bool LogEnabled(Level level);

// For tests: while it lives, lines (without the newline) go to `sink` instead of standard error. The sink runs under a
// lock, on the thread that logs, and must not log. One at a time.
class ScopedLogSink {
 public:
  explicit ScopedLogSink(std::function<void(std::string_view line)> sink);
  ~ScopedLogSink();
  ScopedLogSink(const ScopedLogSink&) = delete;
  ScopedLogSink& operator=(const ScopedLogSink&) = delete;
};

}  // namespace fairlead
