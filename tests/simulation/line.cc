#include "simulation/line.h"

#include <algorithm>

#include "simulation/life.h"

namespace fairlead::simulation {

using namespace std::chrono_literals;

Line::Line(Scene& scene, Life& life, Peer& peer, uint64_t generation)
    : scene_(scene), life_(life), peer_(peer), generation_(generation), goodbye_timer_(scene.time.MakeTimer()) {
  peer_.takes_writes = peer_.says_goodbye = peer_.pongs = false;
  peer_.on_write = [this](const Peer::Write& write) { Begun(write); };
  peer_.on_goodbye = [this] { Goodbye(); };
  dialled_at = adopted_at = last_data = last_beat = step_since = scene.now();
  last_heard = scene.time.WallNow();
  heartbeat = life_.options().heartbeat;
}

bool Line::setting_up() const {
  return !life_.blind() && begun && !ready && !saying_goodbye() && !rejected && step < steps.size();
}

bool Line::HasUndelivered(const std::set<uint64_t>& elsewhere) const {
  return std::ranges::any_of(
      coming_, [&](const Coming& coming) { return coming.item != 0 && !elsewhere.contains(coming.item); });
}

// ---- What the session does. ----

void Line::Begun(const Peer::Write& write) {
  life_.Record();
  scene_.Trace("  g", generation_, write.ping ? " <- ping " : " <- ", write.payload);
  Written written{Written::What::kHeartbeat, write.ping, write.payload};
  if (write.payload.starts_with("beat")) {
    last_beat = scene_.now();
    if (!unanswered_since && (heartbeat.what == HeartbeatPolicy::What::kPing || !heartbeat.keepalive.empty()))
      unanswered_since = scene_.now();
  } else if (life_.blind()) {
    written.command = life_.CommandOf(write.payload);
    // Begun before: it is remembered as a step.
    if (written.command != nullptr && written.command->begun_on != nullptr) written.command = nullptr;
    written.what = Written::What::kOther;
  } else if (!write.ping && steps_begun < steps.size()) {
    scene_.Unless(write.payload == steps[steps_begun].payload, "setup step ", steps[steps_begun].key,
                  " is remembered as \"", steps[steps_begun].payload, "\" and written as \"", write.payload, "\"");
    scene_.Unless(steps_begun <= step, "setup step ", steps_begun, " is written before the one in front is complete");
    written.what = Written::What::kStep;
    written.step = steps_begun++;
  } else {
    written.command = life_.CommandOf(write.payload);
    scene_.Unless(written.command != nullptr, "nobody asked for \"", write.payload, "\" to be written");
    written.what = Written::What::kOther;
  }
  // A copy of what changed the setup elsewhere is nobody's command here.
  if (written.command != nullptr && !life_.Begun(*written.command, *this)) written.command = nullptr;
  progress_at = scene_.now();
  given_ = 0;
  under_way_ = written;
  if (by_itself) scene_.time.Post([this] { Flow(); });
}

void Line::Goodbye() {
  life_.Record();
  goodbye_at = scene_.now();
  goodbye_place = life_.place(this, /*goodbye=*/false);
  might_lag = life_.may_lag();
  scene_.Trace("  g", generation_, " <- goodbye ", peer_.goodbye->first);
  // As net/ has it: within two seconds, answered or not.
  const bool answers = by_itself && !silent && scene_.draws.OneIn(2);
  goodbye_timer_->At(scene_.now() + (answers ? scene_.draws.Milliseconds(300) : 2s), [this, answers] {
    if (!live()) return;
    if (!answers) scene_.table.Reached(Place::kGoodbye, Fault::kGoodbyeUnanswered);
    if (answers) return Close(peer_.goodbye->first);
    Drop();
  });
}

void Line::Taken() {
  const Written written = *std::exchange(under_way_, std::nullopt);
  if (written.command != nullptr) written.command->taken = true;
  // While one is under way, it stands for those that come due.
  if (written.what == Written::What::kHeartbeat) last_beat = scene_.now();
  if (written.what == Written::What::kStep && setting_up() && written.step == step && steps[step].expect.empty())
    StepDone();
  in_kernel_.push_back(written);
  peer_.Take();
}

void Line::StepDone() {
  ++step;
  step_since = scene_.now();
}

// ---- What the network and the exchange do. ----

void Line::Take(size_t bytes) {
  if (!live() || !under_way_ || stalled) return;
  const size_t wanted = std::min(bytes, under_way_->payload.size() - given_);
  given_ += wanted;
  peer_.acknowledged += wanted;
  if (wanted > 0) progress_at = scene_.now();
  if (given_ == under_way_->payload.size()) Taken();
}

bool Line::TakePart() {
  if (!live() || !under_way_ || under_way_->payload.size() < given_ + 2) return false;
  stalled = false;
  Take(scene_.draws.Between(1, under_way_->payload.size() - given_ - 1));
  stalled = true;
  return true;
}

void Line::Arrive(size_t most) {
  for (; most > 0 && !in_kernel_.empty(); --most) {
    const Written written = in_kernel_.front();
    in_kernel_.pop_front();
    Heard(written);
  }
}

void Line::Heard(const Written& written) {
  scene_.fingerprint = scene_.fingerprint * 31 + written.payload.size();
  if (written.command != nullptr) life_.Arrived(*written.command, *this);
  if (silent || !live()) return;
  if (written.ping) {
    coming_.push_back({true, written.payload});
  } else if (written.what == Written::What::kHeartbeat) {
    coming_.push_back({false, "alive " + written.payload + " g" + std::to_string(generation_)});
  } else if (by_itself && written.payload.starts_with("do ") && scene_.draws.OneIn(2)) {
    coming_.push_back({false, "ok " + written.payload.substr(3, written.payload.find(' ', 3) - 3)});
  }
}

void Line::Say(std::string payload, uint64_t item) {
  if (!live() || silent) {
    whole = whole && item == 0;
    return;
  }
  coming_.push_back({false, std::move(payload), item});
  if (item != 0) items.insert(item);
  if (by_itself) scene_.time.Post([this] { Flow(); });
}

void Line::Read(size_t most, bool together) {
  if (together) peer_.BeginRead();
  for (; most > 0 && live() && !coming_.empty(); --most) {
    const Coming coming = std::move(coming_.front());
    coming_.pop_front();
    Deliver(coming);
  }
  if (together) peer_.EndRead();
}

void Line::Deliver(const Coming& coming) {
  life_.Record();
  const SteadyTime now = scene_.now();
  last_heard = scene_.time.WallNow();
  if (coming.pong) {
    if (heartbeat.what == HeartbeatPolicy::What::kPing) unanswered_since.reset();
    life_.Answered(coming.payload, *this);
    return peer_.Pong(coming.payload);
  }
  if (!heartbeat.keepalive(coming.payload)) {
    last_data = now;
  } else if (heartbeat.what != HeartbeatPolicy::What::kPing) {
    unanswered_since.reset();
  }
  if (setting_up() && !steps[step].expect.empty()) {
    if (steps[step].reject(coming.payload)) {
      rejected = true;
      scene_.table.Reached(life_.place(this), Fault::kStepRejected);
      if (life_.own() == this) life_.MustEnd();
    } else if (steps[step].expect(coming.payload)) {
      StepDone();
    }
  }
  ++frames;
  if (ready) ++frames_since_open;
  life_.Comes(*this, coming.payload, coming.item);
  peer_.Text(coming.payload);
  life_.Came();
  if (rejected) scene_.Unless(!live() || saying_goodbye(), "a rejected setup goes on");
}

void Line::Flow() {
  if (!live()) return;
  Take(SIZE_MAX);
  Arrive(SIZE_MAX);
  if (!silent) Read(SIZE_MAX, coming_.size() > 1 && scene_.draws.OneIn(2));
}

void Line::Drop() {
  if (!live()) return;
  Arrive(scene_.draws.Below(in_kernel_.size() + 1));
  // The kernel may have got the rest of the write without our having been told.
  if (in_kernel_.empty() && under_way_ && !stalled && scene_.draws.OneIn(3)) Heard(*under_way_);
  in_kernel_.clear();
  coming_.clear();
  loss = Lost();
  peer_.End(*loss);
}

void Line::Close(uint16_t code) {
  Arrive(SIZE_MAX);
  Read(SIZE_MAX, scene_.draws.OneIn(2));
  if (!live()) return;
  coming_.clear();
  loss = Lost(code == 0 ? Reason::kConnectionLost : Reason::kPeerClosed);
  loss->close_code = code;
  peer_.End(*loss);
}

bool Line::AnswerStep(bool reject) {
  if (!live() || silent || !setting_up() || steps_begun <= step) return false;
  const SetupStep& asked = steps[step];
  if (asked.expect.empty() || (reject && asked.reject.empty())) return false;
  Say((reject ? "no " : "ok ") + asked.key);
  return true;
}

}  // namespace fairlead::simulation
