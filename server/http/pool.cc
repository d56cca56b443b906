#include "http/pool.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace fairlead {
namespace {

// Until the loop has read what has come on an idle connection.
constexpr Duration kPumpAgain = std::chrono::milliseconds(1);

}  // namespace

Pool::Pool(std::string identity, TargetUrl origin, HttpSurroundings& around)
    : identity_(std::move(identity)),
      origin_(std::move(origin)),
      around_(around),
      again_(around.timers.MakeTimer()),
      idle_timer_(around.timers.MakeTimer()) {}

Pool::~Pool() {
  Starve(false);
  around_.totals.connections -= connections_.size() + dials_.size();
}

PoolCounts Pool::counts() const {
  using enum Connection::State;
  const auto are = [this](Connection::State state) { return tally_[std::to_underlying(state)]; };
  const size_t all = around_.totals.connections;
  return {.idle = are(kIdle),
          .busy = are(kBusy) + are(kSettling),
          .dialling = dials_.size(),
          .waiting = waiting_.size(),
          .room = around_.limits.http_connections > all ? around_.limits.http_connections - all : 0,
          .settling = are(kSettling)};
}

Result<void> Pool::Serve(const std::shared_ptr<Call>& call) {
  if (!Admits()) {
    return NotSent(Reason::kLimitReached, "http.waiting_per_pool, " + std::to_string(around_.options.waiting_per_pool) +
                                              ": requests wait for a connection to " + origin_.Origin() +
                                              "; http.connections_per_pool, " +
                                              std::to_string(around_.options.connections_per_pool) + ", bounds them");
  }
  waiting_.push_back(call);
  call->WaitIn(*this);
  Pump();
  call->MayExpire();
  return {};
}

// Where nobody may wait, an idle connection of another pool must make room before, not after.
bool Pool::Admits() {
  PoolCounts now = counts();
  if (MayCome(now, around_.options)) return true;
  now.room = std::max<size_t>(now.room, 1);
  return MayCome(now, around_.options) && around_.make_room(*this);
}

void Pool::Pump() {
  while (!waiting_.empty()) {
    const auto kept = Usable();
    if (kept == connections_.end()) break;
    connections_.splice(connections_.end(), connections_, kept);
    const auto call = std::move(waiting_.front());
    waiting_.pop_front();
    call->SendOn(*kept->connection, std::exchange(kept->times, std::nullopt));
  }
  PoolCounts now = counts();
  // Idle connections of others make room for one dial at a time.
  while (DialsToBegin(now, around_.options) == 0) {
    PoolCounts with_room = now;
    with_room.room = 1;
    Starve(DialsToBegin(with_room, around_.options) > 0);
    if (!starved_ || !around_.make_room(*this)) return;
    now = counts();
  }
  for (size_t dials = DialsToBegin(now, around_.options); dials > 0; --dials) Dial();
  Pump();
}

void Pool::Starve(bool starved) {
  if (starved == starved_) return;
  starved_ = starved;
  starved ? ++around_.totals.starved_pools : --around_.totals.starved_pools;
}

std::list<Pool::Kept>::iterator Pool::Usable() {
  bool unsure = false;
  size_t idle = tally_[std::to_underlying(Connection::State::kIdle)];
  for (auto kept = connections_.begin(); idle > 0; ++kept) {
    if (kept->connection->state() != Connection::State::kIdle) continue;
    --idle;
    if (kept->connection->used() && around_.options.idle_timeout == Duration::zero()) continue;
    if (kept->connection->Usable()) return kept;
    unsure = true;
  }
  // One that has gone stale is on its way to say so itself. But what has come may be TLS's own (session tickets, say),
  // which is read without a word, and leaves it usable.
  if (unsure) again_->At(around_.timers.Now() + kPumpAgain, [this] { Pump(); });
  return connections_.end();
}

void Pool::Dial() {
  ++around_.totals.connections;
  const auto dial = dials_.emplace(dials_.end());
  *dial = around_.connector.Open(identity_, origin_, around_.options.dial_timeout,
                                 [this, dial](Result<OpenedStream> opened) { Dialled(dial, std::move(opened)); });
}

void Pool::Dialled(std::list<std::unique_ptr<Dialling>>::iterator dial, Result<OpenedStream> opened) {
  const auto keep_until_done = std::move(*dial);
  dials_.erase(dial);
  if (opened) {
    connections_.push_front(
        {.connection = std::make_unique<Connection>(std::move(opened->stream), around_.timers, tally_,
                                                    [this](Connection& connection) { Changed(connection); }),
         .times = opened->times});
    ArmIdleTimer();
  } else {
    --around_.totals.connections;
    Log(Level::kWarn, "http.dial",
        {{"origin", origin_.Origin()},
         {"reason", Name(opened.error().reason)},
         {"message", opened.error().message},
         LogField::Detail("trace_id", waiting_.empty() ? "" : waiting_.front()->request().trace.text())});
    if (!waiting_.empty()) {
      const auto call = std::move(waiting_.front());
      waiting_.pop_front();
      call->Fail(std::move(opened.error()));
    }
    around_.relaxed();
  }
  Pump();
}

void Pool::Changed(Connection& connection) {
  const auto kept =
      std::ranges::find(connections_, &connection, [](const Kept& each) { return each.connection.get(); });
  if (kept == connections_.end()) return;
  const bool closed = connection.state() == Connection::State::kClosed;
  if (closed || around_.options.idle_timeout == Duration::zero()) {
    connections_.erase(kept);
    --around_.totals.connections;
  } else if (connection.state() == Connection::State::kIdle) {
    connections_.splice(connections_.begin(), connections_, kept);
  }
  Pump();
  ArmIdleTimer();
  if (empty() || around_.totals.starved_pools > 0) around_.relaxed();
}

std::list<Pool::Kept>::iterator Pool::LongestIdle() {
  auto longest = connections_.end();
  for (auto kept = connections_.begin(); kept != connections_.end(); ++kept) {
    if (kept->connection->state() != Connection::State::kIdle) continue;
    if (longest == connections_.end() || kept->connection->idle_since() < longest->connection->idle_since())
      longest = kept;
  }
  return longest;
}

bool Pool::CloseAnIdleOne() {
  const auto longest = LongestIdle();
  if (longest == connections_.end()) return false;
  connections_.erase(longest);
  --around_.totals.connections;
  return true;
}

std::optional<SteadyTime> Pool::idle_since() {
  const auto longest = LongestIdle();
  if (longest == connections_.end()) return std::nullopt;
  return longest->connection->idle_since();
}

void Pool::ArmIdleTimer() {
  // One wait at a time: it looks again when it is over.
  if (idle_timer_armed_) return;
  const auto oldest = idle_since();
  if (!oldest) return;
  idle_timer_armed_ = true;
  idle_timer_->At(*oldest + around_.options.idle_timeout, [this] {
    idle_timer_armed_ = false;
    const SteadyTime now = around_.timers.Now();
    while (idle_since().value_or(SteadyTime::max()) <= now - around_.options.idle_timeout) CloseAnIdleOne();
    ArmIdleTimer();
    around_.relaxed();
  });
}

size_t Pool::PlaceOf(const Call& call) const {
  const auto found = std::ranges::find(waiting_, &call, [](const auto& each) { return each.get(); });
  return static_cast<size_t>(found - waiting_.begin());
}

void Pool::Forget(const Call& call) {
  std::erase_if(waiting_, [&call](const auto& each) { return each.get() == &call; });
  around_.relaxed();
}

bool Pool::IsComingFor(const Call& call) const { return fairlead::IsComingFor(PlaceOf(call), counts()); }

std::string Pool::Doing(const Call& call) const {
  return IsComingFor(call) ? "a connection was being made" : "waiting for a free connection";
}

}  // namespace fairlead
