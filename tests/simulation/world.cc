// How a run goes, and what goes well in it. What does not is in faults.cc.
#include "simulation/world.h"

#include <algorithm>

namespace fairlead::simulation {

using namespace std::chrono_literals;

World::World(Draws& draws, Table& table, bool trace)
    : limits_(RandomLimits(draws)),
      scene_{.time = time_, .limits = limits_, .draws = draws, .table = table, .trace = trace},
      draws_(draws),
      registry_(std::make_unique<Registry>(
          dialler_, time_, [this] { return scene_.draw; }, limits_,
          [this] { return "epoch-" + std::to_string(++epochs_) + "-of-a-simulation"; }, access_)),
      dial_timer_(time_.MakeTimer()) {
  time_.after_each = [this] {
    Observe();
    scene_.draw = draws_.Unit();
  };
  dialler_.on_dial = [this] {
    Life* life = Dialling();
    scene_.Unless(life != nullptr, "somebody dials who is neither CONNECTING nor OPEN");
    if (life != nullptr) life->DialBegins();
  };
}

World::~World() {
  time_.after_each = nullptr;
  adapters_.clear();
  time_.Settle();  // What is posted may hold sessions.
}

const std::vector<World::Event>& World::Events() {
  static const std::vector<Event> events = {
      {24, &World::Accept},    {14, &World::Say},     {12, &World::Move},         {10, &World::AnswerStep},
      {10, &World::Send},      {3, &World::Ping},     {8, &World::ReadOne},       {6, &World::ReadAll},
      {6, &World::Join},       {12, &World::Pass},    {6, &World::PassToNext},    {2, &World::PassLong},
      {3, &World::Recover},    {2, &World::Drop},     {1, &World::CloseFrame},    {1, &World::HalfClose},
      {4, &World::Silence},    {2, &World::Stall},    {3, &World::PartialWrite},  {2, &World::RejectStep},
      {3, &World::RefuseDial}, {1, &World::Hang},     {1, &World::RefuseForNow},  {1, &World::Forbid},
      {4, &World::Leave},      {1, &World::LeaveAll}, {4, &World::Open},          {1, &World::Close},
      {2, &World::Reconnect},  {3, &World::Hold},     {1, &World::Flood},         {3, &World::ReconnectBeside},
      {2, &World::GoingAway},  {2, &World::Announce}, {10, &World::AcceptSecond}, {6, &World::Lag},
  };
  return events;
}

// What ends a session's own transport, or the session: in calm runs it is rare, so that two transports stay together.
bool World::Ends(bool (World::*happen)()) {
  return happen == &World::Open || happen == &World::Close || happen == &World::Reconnect ||
         happen == &World::LeaveAll || happen == &World::Leave || happen == &World::Forbid || happen == &World::Hang;
}

bool World::Happen() {
  static const unsigned total = [] {
    unsigned sum = 0;
    for (const Event& event : Events()) sum += event.weight;
    return sum;
  }();
  uint64_t at = draws_.Below(total);
  for (const Event& event : Events()) {
    if (at >= event.weight) {
      at -= event.weight;
      continue;
    }
    if (calm_ && Ends(event.happen) && !draws_.OneIn(5)) return false;
    scene_.draw = draws_.Unit();
    if (!(this->*event.happen)()) return false;
    Observe();
    if (draws_.OneIn(3)) Advance(Duration::zero());
    return true;
  }
  return false;
}

std::string World::Run() {
  calm_ = !draws_.OneIn(3);
  Open();
  Observe();
  for (int happened = 0; happened < kEvents && scene_.complaint.empty();) {
    if (Happen()) ++happened;
  }
  Finish();
  Judge();
  return scene_.complaint;
}

// ---- Watching. ----

void World::Advance(Duration span) {
  time_.Advance(span);
  for (const auto& life : lives_) life->Settled();
}

void World::Observe() {
  const auto found = registry_->Find("dev", "md");
  size_t journals = 0;
  for (const auto& life : lives_) {
    const auto session = life->session();
    if (session == nullptr) continue;
    life->Observe(session == found);
    journals += session->journal().bytes();
  }
  // Those who have lost their name give up nothing any more.
  scene_.Unless(journals <= limits_.total_journal_bytes || found == nullptr ||
                    found->journal().oldest() == found->journal().head(),
                "journals of ", journals, " bytes together, of ", limits_.total_journal_bytes);
  WatchDials();
}

// As net/ has it: a dial ends within its timeout.
void World::WatchDials() {
  const size_t under_way = dialler_.under_way();
  scene_.Unless(under_way <= 1, under_way, " dials at once");
  if (under_way == 0) {
    for (const auto& life : lives_) life->DialEnded();
    hung_ = false;
    return dial_timer_->Cancel();
  }
  if (std::exchange(dials_seen_, dialler_.requests.size()) == dialler_.requests.size()) return;
  const DialRequest& request = dialler_.requests.back();
  const Life* life = Dialling();
  if (life == nullptr) return;
  scene_.Unless(request.url == life->options().url, "a dial to ", request.url.target.Reveal(), " and not to ",
                life->options().url.target.Reveal());
  hung_ = draws_.OneIn(16);
  dial_timer_->At(time_.Now() + request.timeout, [this] {
    if (dialler_.under_way() == 0) return;
    hung_ = false;
    Refuse(Lost(Reason::kDialTimeout), Fault::kDialTimeout);
  });
}

Life* World::Current() {
  const auto found = registry_->Find("dev", "md");
  if (found == nullptr) return nullptr;
  const auto life = std::ranges::find_if(lives_, [&](const auto& each) { return each->session() == found; });
  return life == lives_.end() ? nullptr : life->get();
}

Life* World::Dialling() {
  for (const auto& life : lives_) {
    const auto session = life->session();
    if (session == nullptr || session->closing()) continue;
    if (session->state() == State::kConnecting || session->state() == State::kOpen) return life.get();
  }
  return nullptr;
}

Line* World::AnyLine(bool writing) {
  std::vector<Line*> live;
  for (const auto& line : lines_) {
    if (!line->live() || (writing && !line->writing())) continue;
    live.push_back(line.get());
  }
  return live.empty() ? nullptr : live[draws_.Below(live.size())];
}

// Rather one of two that are together only for a while.
Line* World::LineAmid() {
  std::vector<Line*> amid;
  for (const auto& line : lines_) {
    const Life& life = line->life();
    const bool opening = line.get() == life.second() && !line->ready;
    if (line->live() && !life.blind() && (opening || life.retiring() != nullptr)) amid.push_back(line.get());
  }
  return amid.empty() || draws_.OneIn(2) ? AnyLine() : amid[draws_.Below(amid.size())];
}

Adapter* World::AnyAdapter() { return adapters_.empty() ? nullptr : adapters_[draws_.Below(adapters_.size())].get(); }

Adapter* World::Owner() {
  std::vector<Adapter*> owners;
  for (const auto& adapter : adapters_) {
    if (adapter->owner() && !adapter->ended()) owners.push_back(adapter.get());
  }
  return owners.empty() ? nullptr : owners[draws_.Below(owners.size())];
}

// ---- The exchange. ----

bool World::Accept() {
  Life* life = Dialling();
  if (life == nullptr || dialler_.under_way() == 0 || hung_) return false;
  dialler_.prepare = [&](Peer& peer) {
    lines_.push_back(std::make_unique<Line>(scene_, *life, peer, life->transports() + 1));
    lines_.back()->by_itself = !draws_.OneIn(4);
    life->Dialled(*lines_.back());
    // The latest that there was: what some exchanges greet with.
    if (stream_.item != 0 && draws_.OneIn(4)) lines_.back()->Say(StreamPayload(*life, lines_.back()->generation()));
  };
  dialler_.Accept();
  return true;
}

// What the exchange sends on all transports: the same, or with the same number in it.
std::string World::StreamPayload(const Life& life, uint64_t generation) const {
  const Kind kind = life.kind();
  if (kind != Kind::kRotatesPointer && kind != Kind::kTwoPointer) return stream_.payload;
  return R"({"seq":)" + std::to_string(stream_.item) + R"(,"by":)" + std::to_string(generation) + R"(,"text":")" +
         stream_.payload + "\"}";
}

// One that is made before the other breaks is made sooner than it.
bool World::AcceptSecond() {
  Life* life = Dialling();
  return life != nullptr && life->dials_second() && Accept();
}

bool World::Say() {
  Line* line = AnyLine();
  if (line == nullptr || line->silent) return false;
  for (uint64_t i = draws_.Between(1, 3); i > 0; --i) {
    const std::string payload = "frame " + std::to_string(++scene_.version) + " " + draws_.Text(60);
    if (draws_.OneIn(8)) {
      line->Say(payload);
      continue;
    }
    if (stream_.item != 0 && draws_.OneIn(30)) {
      line->life().Repeats();
    } else {
      stream_.payload = payload;
    }
    ++stream_.item;
    SayToAll(line->life());
  }
  return true;
}

void World::SayToAll(const Life& life) {
  for (const auto& each : lines_) {
    if (&each->life() == &life && each->live()) each->Say(StreamPayload(life, each->generation()), stream_.item);
  }
}

bool World::Move() {
  Line* line = AnyLine();
  if (line == nullptr) return false;
  if (draws_.OneIn(2)) line->Take(draws_.OneIn(2) ? SIZE_MAX : draws_.Below(40));
  if (draws_.OneIn(2)) line->Arrive(draws_.Below(4));
  if (draws_.OneIn(2)) line->Read(draws_.Below(4), draws_.OneIn(2));
  return true;
}

bool World::AnswerStep() {
  Line* line = AnyLine();
  return line != nullptr && line->AnswerStep(/*reject=*/false);
}

bool World::Recover() {
  Line* line = AnyLine();
  if (line == nullptr || (!line->silent && !line->stalled)) return false;
  line->silent = line->stalled = false;
  line->Flow();
  return true;
}

// ---- Adapters. ----

Command& World::Issue(Adapter& owner, Command command) {
  Observe();
  command.owner = owner.number();
  for (const auto& life : lives_) command.all_before += life->waiting_bytes();
  return owner.life().Issue(std::move(command));
}

void World::SendOne(Adapter& owner, SendCommand send, bool has_id) {
  const uint64_t number = ++commands_;
  send.payload = "send " + std::to_string(number) + " " + send.payload;
  send.id = has_id ? number : 0;
  Command& command = Issue(owner, {.number = number, .has_id = has_id, .send = send});
  scene_.Trace("adapter ", owner.number(), ": ", send.payload, ", max_wait ", send.max_wait.count() / 1'000'000,
               " ms, key ", send.setup_key);
  owner.session()->Send(std::move(send));
  owner.life().Issued(command);
  size_t waiting = 0;
  for (const auto& life : lives_) waiting += life->blind() ? 0 : life->waiting_bytes();
  scene_.Unless(waiting <= limits_.total_send_queue_bytes, "limits.total_send_queue_bytes is exceeded");
}

bool World::Send() {
  Adapter* owner = Owner();
  if (owner == nullptr) return false;
  SendCommand send{.payload = draws_.Text(80), .max_wait = draws_.OneIn(2) ? 0s : draws_.Milliseconds(2000)};
  const uint64_t generation = owner->session()->generation();
  if (draws_.OneIn(8)) send.generation = generation;
  if (draws_.OneIn(16)) send.generation = draws_.Between(1, owner->life().transports() + 1);
  if (draws_.OneIn(5)) send.setup_key = "key" + std::to_string(draws_.Below(3));
  if (draws_.OneIn(8)) send.forget_setup_keys = {"key" + std::to_string(draws_.Below(3))};
  const bool changes_setup = !send.setup_key.empty() || !send.forget_setup_keys.empty();
  SendOne(*owner, std::move(send), changes_setup || !draws_.OneIn(10));
  return true;
}

bool World::Ping() {
  Adapter* owner = Owner();
  if (owner == nullptr) return false;
  const uint64_t number = ++commands_;
  const std::string payload = "ping " + std::to_string(number);
  Command& command =
      Issue(*owner, {.what = Command::What::kPing, .number = number, .send = {.id = number, .payload = payload}});
  owner->session()->Ping(number, payload);
  owner->life().Issued(command);
  return true;
}

bool World::ReadOne() {
  Adapter* adapter = AnyAdapter();
  if (adapter == nullptr) return false;
  adapter->Read(draws_.OneIn(2) ? SIZE_MAX : draws_.Below(6));
  DropEnded();
  return true;
}

bool World::ReadAll() {
  if (adapters_.empty()) return false;
  for (const auto& adapter : adapters_) adapter->Read(SIZE_MAX);
  DropEnded();
  return true;
}

// As rpc/ does: a channel is over when its end is told.
void World::DropEnded() {
  std::erase_if(adapters_, [](const auto& adapter) { return adapter->ended(); });
}

Start World::RandomStart() {
  if (positions_.empty() || draws_.OneIn(3))
    return {.from = draws_.OneIn(2) ? Start::From::kHead : Start::From::kOldest};
  // The latest are of the session that lives, most often.
  const size_t back = std::min<size_t>(positions_.size(), draws_.Between(1, 4));
  const Position& position = positions_[positions_.size() - back];
  return {.from = Start::From::kAfter, .epoch = position.epoch, .sequence = position.sequence};
}

bool World::Join() {
  constexpr size_t kMany = 6;
  Life* life = Current();
  if (life == nullptr || adapters_.size() >= kMany) return false;
  Took(life->place(), Fault::kJoin, "joins");
  adapters_.push_back(std::make_unique<Adapter>(scene_, *life, life->session(), ++numbers_, /*owner=*/false,
                                                RandomStart(), draws_.OneIn(2) ? Overflow::kSkip : Overflow::kDetach));
  return true;
}

// ---- Time. ----

bool World::Pass() {
  Advance(draws_.Milliseconds(300));
  return true;
}

bool World::PassToNext() {
  const auto next = time_.NextDue();
  if (!next) return false;
  Advance(std::max(*next - time_.Now(), Duration::zero()));
  return true;
}

bool World::PassLong() {
  Advance(draws_.Milliseconds(3000));
  return true;
}

}  // namespace fairlead::simulation
