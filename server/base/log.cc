#include "base/log.h"

#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

#include "base/log_limit.h"

namespace fairlead {
namespace {

std::atomic<Level> g_level = Level::kInfo;

struct Sink {
  std::mutex mutex;
  LogLimit limit;
  std::function<void(std::string_view)> replacement;
};

// Never destroyed: a thread may log while the process exits.
Sink& TheSink() {
  static Sink& sink = *new Sink;
  return sink;
}

const char* LevelName(Level level) {
  switch (level) {
    case Level::kDebug:
      return "DEBUG";
    case Level::kInfo:
      return "INFO";
    case Level::kWarn:
      return "WARN";
    case Level::kError:
      return "ERROR";
  }
  return "UNKNOWN";
}

bool IsPlain(char c) { return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\'; }

void AppendEscaped(std::string& line, std::string_view value) {
  constexpr char kHex[] = "0123456789abcdef";
  for (const char c : value) {
    if (IsPlain(c) || c == ' ' || c == '=') {
      line += c;
    } else if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else {
      const auto byte = static_cast<unsigned char>(c);
      line += "\\x";
      line += kHex[byte >> 4];
      line += kHex[byte & 0xf];
    }
  }
}

void AppendText(std::string& line, std::string_view value) {
  if (!value.empty() && value.size() <= kMaxLogValueBytes && std::ranges::all_of(value, IsPlain)) {
    line += value;
    return;
  }
  line += '"';
  AppendEscaped(line, value.substr(0, kMaxLogValueBytes));
  if (value.size() > kMaxLogValueBytes) line += "... (" + std::to_string(value.size()) + " bytes)";
  line += '"';
}

void WriteToStandardError(std::string_view line) {
  while (!line.empty()) {
    const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    line.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

bool LogField::is_empty() const {
  const auto* text = std::get_if<std::string_view>(&value_);
  return text != nullptr && text->empty();
}

void LogField::AppendTo(std::string& line) const {
  line += name_;
  line += '=';
  struct Append {
    std::string& line;
    void operator()(std::string_view value) { AppendText(line, value); }
    void operator()(bool value) { line += value ? "true" : "false"; }
    void operator()(std::int64_t value) { line += std::to_string(value); }
    void operator()(std::uint64_t value) { line += std::to_string(value); }
    void operator()(Duration value) { line += absl::FormatDuration(absl::FromChrono(value)); }
  };
  std::visit(Append{line}, value_);
}

void Log(Level level, std::string_view event, std::initializer_list<LogField> fields) {
  if (!LogEnabled(level)) return;
  const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ ", absl::Now(), absl::UTCTimeZone());
  std::string text = LevelName(level);
  text += ' ';
  text += event;
  size_t compared = std::string::npos;
  for (const LogField& field : fields) {
    if (field.is_detail() && field.is_empty()) continue;
    if (field.is_detail()) compared = std::min(compared, text.size());
    text += ' ';
    field.AppendTo(text);
  }

  Sink& sink = TheSink();
  const std::lock_guard lock(sink.mutex);
  if (sink.replacement) {
    sink.replacement(time + text);
    return;
  }
  const std::string_view same = std::string_view(text).substr(0, compared);
  sink.limit.Came(same, std::chrono::steady_clock::now(), [&](std::string_view equal, uint64_t suppressed) {
    std::string line = time;
    line += suppressed > 0 ? equal : text;
    if (suppressed > 0) line += " suppressed=" + std::to_string(suppressed);
    line += '\n';
    WriteToStandardError(line);
  });
}

void SetLogLevel(Level level) { g_level.store(level, std::memory_order_relaxed); }

bool LogEnabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }

ScopedLogSink::ScopedLogSink(std::function<void(std::string_view)> sink) {
  const std::lock_guard lock(TheSink().mutex);
  TheSink().replacement = std::move(sink);
}

ScopedLogSink::~ScopedLogSink() {
  const std::lock_guard lock(TheSink().mutex);
  TheSink().replacement = nullptr;
}

}  // namespace fairlead
