// What goes wrong in a run, and how it ends.
#include <algorithm>

#include "simulation/world.h"

namespace fairlead::simulation {

using namespace std::chrono_literals;

void World::Took(Place place, Fault fault, const char* what) {
  scene_.Trace("-- ", what, " while ", Name(place));
  scene_.table.Reached(place, fault);
}

// Where the model has lost sight, it does not know whose transport it is.
void World::TookOf(const Line& line, Fault fault, const char* what) {
  Life& life = line.life();
  const Place place = life.place(&line);
  scene_.Trace("-- ", what, " of g", line.generation(), " while ", Name(place));
  if (!life.blind()) scene_.table.Reached(place, fault);
}

// ---- Of transports. ----

bool World::Drop() {
  Line* line = AnyLine();
  if (line == nullptr) return false;
  TookOf(*line, Fault::kDrop, "drop");
  line->Drop();
  return true;
}

bool World::CloseFrame() {
  Line* line = AnyLine();
  if (line == nullptr) return false;
  TookOf(*line, Fault::kCloseFrame, "close frame");
  line->Close(draws_.OneIn(2) ? 1000 : 1011);
  return true;
}

bool World::GoingAway() {
  Line* line = AnyLine();
  if (line == nullptr) return false;
  TookOf(*line, Fault::kGoingAway, "close frame, going away");
  line->Close(draws_.OneIn(2) ? 1001 : 1012);
  return true;
}

// A frame that matches reconnect.shutdown, where the owner has given one.
bool World::Announce() {
  Line* line = AnyLine();
  if (line == nullptr || line->silent || line->life().options().reconnect.shutdown.empty()) return false;
  TookOf(*line, Fault::kShutdown, "announces its end");
  const std::string payload = "going away " + std::to_string(++scene_.version);
  if (draws_.OneIn(4)) {
    stream_.payload = payload;
    ++stream_.item;
    SayToAll(line->life());
  } else {
    line->Say(payload);
  }
  return true;
}

// What others of its session bring comes later on it.
bool World::Lag() {
  Line* line = AnyLine();
  if (line == nullptr || !line->by_itself || line->life().second() == nullptr) return false;
  scene_.Trace("-- g", line->generation(), " lags");
  line->by_itself = false;
  return true;
}

bool World::HalfClose() {
  Line* line = AnyLine();
  if (line == nullptr) return false;
  TookOf(*line, Fault::kHalfClose, "half-close");
  line->Close(0);
  return true;
}

bool World::Silence() {
  Line* line = LineAmid();
  if (line == nullptr || line->silent) return false;
  TookOf(*line, Fault::kSilence, "silence");
  line->silent = true;
  return true;
}

bool World::Stall() {
  Line* line = LineAmid();
  if (line == nullptr || line->stalled) return false;
  TookOf(*line, Fault::kStall, "writes stall");
  line->stalled = true;
  return true;
}

bool World::PartialWrite() {
  Line* line = AnyLine(/*writing=*/true);
  if (line == nullptr) return false;
  const Place place = line->life().place(line);
  if (!line->TakePart()) return false;
  if (!line->life().blind()) Took(place, Fault::kPartialWrite, "a part of a write is taken");
  return true;
}

bool World::RejectStep() {
  Line* line = AnyLine();
  return line != nullptr && line->AnswerStep(/*reject=*/true);
}

// ---- Of dials. ----

void World::Refuse(const Loss& loss, Fault fault) {
  Life* life = Dialling();
  if (life == nullptr) return;
  const Place place = life->dials_second() ? Place::kBesideDial : life->place();
  if (!life->blind()) Took(place, fault, "a dial fails");
  life->DialFails(loss);
  if (loss.fatal && !life->dials_second()) life->MustEnd();
  dialler_.Refuse(loss);
}

bool World::RefuseDial() {
  if (dialler_.under_way() == 0 || hung_) return false;
  Refuse(Lost(Reason::kConnectFailed), Fault::kRefused);
  return true;
}

bool World::Hang() {
  if (dialler_.under_way() == 0 || hung_) return false;
  hung_ = true;
  return true;
}

bool World::RefuseForNow() {
  if (dialler_.under_way() == 0 || hung_) return false;
  Loss loss = Lost(Reason::kUpgradeRefused);
  loss.cause.retry_after = draws_.Milliseconds(4000);
  Refuse(loss, Fault::kRetryAfter);
  return true;
}

bool World::Forbid() {
  if (dialler_.under_way() == 0 || hung_) return false;
  Loss loss = Lost(Reason::kUpgradeRefused);
  loss.fatal = true;
  Refuse(loss, Fault::kForbidden);
  return true;
}

// ---- Of adapters. ----

void World::Depart(Adapter& adapter) {
  scene_.Trace("-- adapter ", adapter.number(), " leaves");
  if (adapter.attached()) scene_.table.Reached(adapter.life().place(), Fault::kLeave);
  positions_.push_back({adapter.life().epoch(), adapter.position()});
  std::erase_if(adapters_, [&](const auto& each) { return each.get() == &adapter; });
  Observe();
}

bool World::Leave() {
  Adapter* adapter = AnyAdapter();
  if (adapter == nullptr) return false;
  if (draws_.OneIn(2)) adapter->Read(SIZE_MAX);
  if (!adapter->ended()) Depart(*adapter);
  DropEnded();
  return true;
}

bool World::LeaveAll() {
  if (adapters_.empty()) return false;
  while (!adapters_.empty()) Depart(*adapters_.back());
  return true;
}

// As an Open over the API does it: create or take over, join, begin.
bool World::Open() {
  Observe();
  const SessionOptions options = RandomOptions(scene_);
  Life* life = Current();
  const bool takes_over = life != nullptr && !life->session()->closing();
  const size_t before = registry_->size();
  if (life != nullptr) Took(life->place(), Fault::kOpen, "another Open");
  if (takes_over) {
    life->TakenOver(options);
  } else if (life != nullptr) {
    life->NameTaken();
  }
  std::vector<Adapter*> former;
  for (const auto& adapter : adapters_) {
    if (takes_over && &adapter->life() == life && adapter->owner()) former.push_back(adapter.get());
  }
  const auto opened = registry_->Open("dev", "md", options);
  scene_.Unless(opened || (!takes_over && (before >= limits_.sessions || draining_)), "an Open is refused");
  if (!opened) return true;
  if (takes_over) {
    scene_.Unless(*opened == life->session(), "an Open did not take the live session over");
    life->TookOver();
    for (Adapter* each : former) {
      scene_.Unless(!each->owner(), "adapter ", each->number(), " still commands what another has taken over");
      if (each->attached())
        scene_.Unless(false, "adapter ", each->number(), " is superseded, and counts as subscriber");
      each->Superseded();
    }
  } else {
    life = lives_.emplace_back(std::make_unique<Life>(scene_, *opened)).get();
  }
  const bool is_new = (*opened)->IsNew();
  scene_.Unless(is_new != takes_over, "a session is new to who takes it over");
  adapters_.push_back(std::make_unique<Adapter>(scene_, *life, *opened, ++numbers_, /*owner=*/true, RandomStart(),
                                                draws_.OneIn(4) ? Overflow::kDetach : Overflow::kSkip));
  if (is_new) (*opened)->Begin();
  return true;
}

bool World::Close() {
  Life* life = Current();
  if (life == nullptr) return false;
  Took(life->place(), Fault::kClose, "Close");
  life->WillClose();
  life->session()->Close({Reason::kClosed, Phase::kUnspecified, "somebody closed it"});
  return true;
}

bool World::Reconnect() { return ReconnectAs(/*beside=*/false); }
bool World::ReconnectBeside() { return ReconnectAs(/*beside=*/true); }

bool World::ReconnectAs(bool beside) {
  Adapter* owner = Owner();
  if (owner == nullptr) return false;
  const Fault fault = beside ? Fault::kReconnectBeside : Fault::kReconnect;
  if (owner->attached()) Took(owner->life().place(), fault, beside ? "Reconnect, make before break" : "Reconnect");
  const uint64_t number = ++commands_;
  Command& command = Issue(*owner, {.what = Command::What::kReconnect, .number = number, .beside = beside});
  owner->session()->Reconnect(number, beside);
  owner->life().Issued(command);
  return true;
}

bool World::Hold() {
  Adapter* adapter = AnyAdapter();
  if (adapter == nullptr || !adapter->attached()) return false;
  if (!adapter->held()) Took(adapter->life().place(), Fault::kHold, "Hold");
  adapter->Hold(!adapter->held());
  return true;
}

// More than the queue takes.
bool World::Flood() {
  Adapter* owner = Owner();
  if (owner == nullptr) return false;
  for (size_t bytes = 0; bytes <= limits_.send_queue_bytes; bytes += 150 + kOutgoingBytes)
    SendOne(*owner, {.payload = std::string(150, 'x'), .max_wait = 1s}, /*has_id=*/true);
  return true;
}

// ---- The end. ----

void World::Finish() {
  if (!scene_.complaint.empty()) return;
  // Some amid a rotation, if one comes.
  if (draws_.OneIn(3)) {
    const Place wanted = draws_.OneIn(3) ? Place::kBesideOpening : Place::kOverlap;
    const auto amid = [&] { return Current() != nullptr && Current()->place() == wanted; };
    for (int more = 0; more < kEvents && !amid() && scene_.complaint.empty(); ++more) Happen();
  } else if (draws_.OneIn(3)) {
    LeaveAll();
  }
  const uint64_t end = draws_.Below(4);
  if (end == 0) {
    Close();
  } else if (end == 1) {
    LeaveAll();
  } else {
    if (draws_.OneIn(2)) Forbid();  // One that is kept for its linger.
    Observe();
    if (Life* life = Current()) Took(life->place(), Fault::kDrain, "drain");
    for (const auto& life : lives_) {
      if (!life->gone()) life->WillClose();
    }
    draining_ = true;
    registry_->Drain(time_.Now() + 5s, [this] { drained_ = true; });
  }
  Observe();
  Advance(10s);
  for (const auto& adapter : adapters_) {
    adapter->Hold(false);
    adapter->Read(SIZE_MAX);
    scene_.Unless(adapter->ended(), "adapter ", adapter->number(), " is not told that its session is CLOSED");
  }
  adapters_.clear();
  Observe();
  Advance(10s);
}

// Everything is over, and everything is given back.
void World::Judge() {
  if (!scene_.complaint.empty()) return;
  for (const auto& life : lives_) {
    life->Judge();
    ++scene_.table.sums.sessions;
    if (life->blind()) ++scene_.table.sums.blind_sessions;
    scene_.table.sums.entries += life->head();
  }
  scene_.table.sums.transports += lines_.size();
  scene_.table.sums.commands += commands_;
  scene_.Unless(registry_->size() == 0, registry_->size(), " sessions are left");
  scene_.Unless(drained_ == draining_, "a drain does not end");
  scene_.Unless(dialler_.under_way() == 0, "a dial is left");
  for (const auto& line : lines_) scene_.Unless(!line->live(), "a transport is left");
  scene_.Unless(!time_.NextDue(), "a callback is left");
  // The exchange has one for each line, and one for dials.
  scene_.Unless(time_.timers() == lines_.size() + 1, time_.timers() - lines_.size() - 1, " timers are left");
}

}  // namespace fairlead::simulation
