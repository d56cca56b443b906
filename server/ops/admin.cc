#include "ops/admin.h"

#include <utility>

namespace fairlead {
namespace {

// A loop that has not turned for so long is stuck: it never works for more than milliseconds at a time.
constexpr Duration kStuck = std::chrono::seconds(5);

constexpr Duration kServingAge = std::chrono::seconds(1);
constexpr Duration kMetricsAge = std::chrono::milliseconds(100);
constexpr Duration kStatusAge = std::chrono::milliseconds(500);

std::string NotTurned(Duration waits) {
  return "the loop has not turned for " +
         std::to_string(std::chrono::duration_cast<std::chrono::seconds>(waits).count()) + " s";
}

AdminServer::Reply Unavailable(const std::string& why) { return {.status = 503, .body = why + "\n"}; }
AdminServer::Reply Ok() { return {.body = "ok\n"}; }

}  // namespace

Admin::Admin(std::unique_ptr<AdminServer> server, Timers& loop, const Shown& shown, Facts facts)
    : loop_(loop),
      shown_(shown),
      facts_(std::move(facts)),
      started_(loop.WallNow()),
      server_(std::move(server)),
      watch_(server_->timers(), loop, [this](Duration late) { loop_lag_.Observe(late); }),
      serving_(server_->timers(), kServingAge, [this](const auto& tell) { CheckServing(tell); }),
      metrics_(server_->timers(), kMetricsAge, [this](const auto& tell) { MakeMetrics(tell); }),
      status_(server_->timers(), kStatusAge, [this](const auto& tell) { MakeStatus(tell); }) {
  const auto file = [this](const char* path, std::string_view text, const char* type) {
    server_->Serve(path, [text, type](const auto& answer) { answer({.body = std::string(text), .type = type}); });
  };
  file("/", kStatusHtml, "text/html; charset=utf-8");
  file("/status.css", kStatusCss, "text/css; charset=utf-8");
  file("/status.js", kStatusJs, "text/javascript; charset=utf-8");
  server_->Serve("/status.json", [this](auto answer) { status_.Ask(std::move(answer)); });
  server_->Serve("/metrics", [this](auto answer) { metrics_.Ask(std::move(answer)); });
  server_->Serve("/healthz", [this](const auto& answer) { answer(Health()); });
  server_->Serve("/readyz", [this](const auto& answer) { Ready(answer); });
}

void Admin::Run() {
  watch_.Begin();
  server_->Run();
}

AdminServer::Reply Admin::Health() const {
  const Duration waits = watch_.Waits();
  return waits < kStuck ? Ok() : Unavailable(NotTurned(waits));
}

void Admin::Ready(const AdminServer::Answer& answer) {
  if (draining_) return answer(Unavailable("draining"));
  if (auto health = Health(); health.status != 200) return answer(std::move(health));
  if (!watch_.begun()) return answer(Unavailable("starting"));
  serving_.Ask(
      [this, answer](AdminServer::Reply reply) { answer(draining_ ? Unavailable("draining") : std::move(reply)); });
}

void Admin::CheckServing(const SharedAnswer::Tell& tell) {
  facts_.check_serving([tell, post = server_->poster()](const std::string& why_not) {
    post([tell, why_not] { tell(why_not.empty() ? Ok() : Unavailable(why_not)); });
  });
}

// On the loop things are only copied: texts are made on the server's thread.
void Admin::MakeMetrics(const SharedAnswer::Tell& tell) {
  loop_.Post([this, tell, post = server_->poster()] {
    post([this, tell, snapshot = TakeSnapshot(shown_, loop_lag_)] {
      tell({.body = MetricsText(snapshot, shown_.rpcs.Copy(), Process()), .type = kMetricsType});
    });
  });
}

void Admin::MakeStatus(const SharedAnswer::Tell& tell) {
  loop_.Post([this, tell, post = server_->poster()] {
    post([this, tell, snapshot = TakeSnapshot(shown_, loop_lag_), listing = TakeListing(shown_, loop_)] {
      tell({.body = StatusJson(listing, snapshot, shown_.rpcs.Copy(), Process(), shown_.limits),
            .type = "application/json"});
    });
  });
}

ProcessFacts Admin::Process() const {
  return {.version = facts_.version,
          .started = started_,
          .use = ReadProcessUse(),
          .certificate_expiry = EarliestExpiry(facts_.certificate_files)};
}

}  // namespace fairlead
