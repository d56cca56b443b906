#include "reload.h"

#include <absl/strings/str_join.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/log.h"

namespace fairlead {
namespace {

constexpr std::chrono::seconds kLookEvery{1};

// Who may do what; the log's level because an operator wants it while something goes wrong.
constexpr std::string_view kApplied[] = {"callers", "policies", "grants", "egress.rules", "log.level"};

std::string Joined(const std::vector<std::string>& names) {
  return names.empty() ? "nothing" : absl::StrJoin(names, ", ");
}

bool Has(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

ConfigChanges CompareFields(const std::map<std::string, std::string>& before,
                            const std::map<std::string, std::string>& after) {
  std::set<std::string> differ;
  for (const auto* one : {&before, &after}) {
    const auto& other = one == &before ? after : before;
    for (const auto& [name, value] : *one) {
      const auto found = other.find(name);
      if (found == other.end() || found->second != value) differ.insert(name);
    }
  }
  ConfigChanges changes;
  for (const std::string& name : differ)
    (std::ranges::find(kApplied, name) == std::end(kApplied) ? changes.waiting : changes.applied).push_back(name);
  return changes;
}

Reload::Reload(Loop& loop, std::string file, const Config& started, Apply apply)
    : loop_(loop),
      file_(std::move(file)),
      apply_(std::move(apply)),
      started_(started.fields),
      running_(started.fields),
      hangups_(loop.context(), SIGHUP),
      watching_([this, text = started.text]() mutable { Watch(std::move(text)); }) {
  AwaitSignal();
}

Reload::~Reload() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  woken_.notify_all();
  watching_.join();
}

void Reload::AwaitSignal() {
  hangups_.async_wait([this](boost::system::error_code error, int) {
    if (error) return;
    {
      const std::lock_guard lock(mutex_);
      asked_ = true;
    }
    woken_.notify_all();
    AwaitSignal();
  });
}

// By its text, so that it does not matter how the file was replaced. A changed one is taken when it has been the same
// for two looks: who writes it may not have finished.
void Reload::Watch(std::string text) {
  std::optional<std::string> known = std::move(text);
  std::optional<std::string> seen = known;
  for (;;) {
    bool asked = false;
    {
      std::unique_lock lock(mutex_);
      woken_.wait_for(lock, kLookEvery, [this] { return asked_ || over_; });
      if (over_) return;
      asked = std::exchange(asked_, false);
    }
    const auto now = ReadConfigText(file_);
    const bool settled = now == std::exchange(seen, now);
    if (!asked && (now == known || !settled)) continue;
    auto next = LoadConfig(file_);
    known = next ? next->text : now;
    if (next) {
      loop_.Post([this, config = std::move(*next)] { Take(config); });
      continue;
    }
    for (const std::string& error : next.error()) Log(Level::kError, "config.refused", {{"message", error}});
  }
}

void Reload::Take(const Config& next) {
  const ConfigChanges changes = CompareFields(running_, next.fields);
  const Ended ended = apply_(next, Has(changes.applied, "egress.rules") || Has(changes.applied, "policies"));
  running_ = next.fields;
  Log(Level::kInfo, "config.reload",
      {{"file", file_},
       {"changed", Joined(changes.applied)},
       {"sessions_closed", ended.sessions},
       {"streams_ended", ended.streams}});
  for (const std::string& name : CompareFields(started_, next.fields).waiting)
    Log(Level::kWarn, "config.restart", {{"field", name}, {"message", "has changed, and needs a restart"}});
}

}  // namespace fairlead
