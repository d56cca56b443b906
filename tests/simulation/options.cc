// What adapters ask for in a run: small rings, short timeouts, so that much happens in little time.
#include "simulation/world.h"

namespace fairlead::simulation {

using namespace std::chrono_literals;

SessionOptions RandomOptions(Scene& scene) {
  Draws& draws = scene.draws;
  const std::string version = std::to_string(++scene.version);
  SessionOptions options;
  options.url = {"ws", false, "stream.example.com", 80, Secret("/ws?token=" + version)};
  options.dial_timeout = 2s;
  options.linger = draws.OneIn(6) ? 0s : Duration(draws.Between(500, 6000) * 1ms);

  const size_t rings[] = {draws.Between(64, 300), draws.Between(700, 3000), 1'000'000, 1'000'000};
  options.journal.bytes = rings[draws.Below(4)];
  options.journal.age = draws.OneIn(4) ? 2s : 0s;

  HeartbeatPolicy& heartbeat = options.heartbeat;
  heartbeat.interval = draws.OneIn(4) ? 0s : 1s;
  heartbeat.what = draws.OneIn(2) ? HeartbeatPolicy::What::kPing : HeartbeatPolicy::What::kText;
  heartbeat.payload = heartbeat.what == HeartbeatPolicy::What::kPing ? "beat" : "beat {n}";
  if (heartbeat.what == HeartbeatPolicy::What::kText && draws.OneIn(2)) heartbeat.keepalive.contains = {"alive"};
  heartbeat.pong_timeout = draws.OneIn(6) ? 0s : 500ms;
  heartbeat.idle_timeout = draws.OneIn(3) ? 0ms : 1000ms + draws.Milliseconds(2500);
  heartbeat.write_timeout = draws.OneIn(5) ? 0s : 1s;

  ReconnectPolicy& reconnect = options.reconnect;
  reconnect.enabled = !draws.OneIn(10);
  reconnect.first_retry_at_once = draws.OneIn(2);
  reconnect.initial_backoff = draws.Between(100, 600) * 1ms;
  reconnect.max_backoff = draws.Between(600, 3000) * 1ms;
  reconnect.backoff_factor = 1.0 + 2 * draws.Unit();
  reconnect.max_attempts = draws.OneIn(5) ? 4 : 0;
  reconnect.max_outage = draws.OneIn(6) ? 10s : 0s;
  reconnect.stable_after = draws.Milliseconds(2000);
  reconnect.max_age = draws.OneIn(3) ? 1500ms + draws.Milliseconds(1500) : 0ms;
  reconnect.make_before_break = !draws.OneIn(4);
  reconnect.overlap = draws.OneIn(2) ? 100ms + draws.Milliseconds(600) : 2000ms + draws.Milliseconds(4000);
  if (draws.OneIn(2)) reconnect.shutdown.contains = {"going away"};

  options.legs = draws.OneIn(2) ? 2 : 1;
  if (options.legs == 2 || !draws.OneIn(3)) {
    options.dedupe = Dedupe{.json_pointer = draws.OneIn(2) ? "/seq" : "", .window = draws.OneIn(2) ? 1s : 5s};
  }
  options.max_leg_lag = options.legs != 2 || draws.OneIn(6) ? 0ms : 50ms + draws.Milliseconds(250);

  for (uint64_t i = draws.Below(4); i > 0; --i) {
    const std::string key = (i == 2 ? "key" : "step") + std::to_string(i);
    SetupStep step{.key = key, .payload = "do " + key + " v" + version, .timeout = draws.OneIn(3) ? 1s : 8s};
    if (!draws.OneIn(4)) {
      step.expect.contains = {"ok", key};
      step.reject.contains = {"no", key};
    }
    options.setup.push_back(step);
  }
  return options;
}

Limits RandomLimits(Draws& draws) {
  Limits limits;
  limits.send_queue_bytes = draws.Between(400, 2000);
  if (draws.OneIn(4)) limits.total_send_queue_bytes = draws.Between(400, 1500);
  if (draws.OneIn(4)) limits.total_journal_bytes = draws.Between(1000, 10'000);
  if (draws.OneIn(8)) limits.sessions = 2;
  limits.unanswered_pings = 3;
  limits.setup_steps = 4;
  limits.setup_bytes = 400;
  return limits;
}

}  // namespace fairlead::simulation
