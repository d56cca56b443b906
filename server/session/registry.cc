#include "session/registry.h"

#include <algorithm>

#include "base/log.h"
#include "session/journal_directory.h"

namespace fairlead {

Registry::Registry(Dialler& dialler, Timers& timers, Random random, const Limits& limits,
                   std::function<std::string()> unique, const Current<Access>& access, JournalDirectory* directory)
    : surroundings_{.dialler = dialler,
                    .timers = timers,
                    .random = std::move(random),
                    .limits = limits,
                    .access = access,
                    .directory = directory},
      unique_(std::move(unique)) {
  surroundings_.reclaim_journals = [this] { ReclaimJournals(); };
}

Result<std::shared_ptr<Session>> Registry::Open(const std::string& identity, const std::string& name,
                                                SessionOptions options) {
  if (draining_) return std::unexpected(draining_.Refusal(surroundings_.timers.Now()));
  const std::string id = unique_();
  Key key{identity, name.empty() ? "~" + id.substr(0, 12) : name};
  if (const auto found = sessions_.find(key); found != sessions_.end()) {
    if (auto live = found->second; !live->closing()) {
      if (auto agreed = CheckAgree(live->options(), options); !agreed) return std::unexpected(agreed.error());
      live->TakeOver(std::move(options));
      return live;
    }
    // It is over, or saying goodbye to the exchange, and its name is free.
    if (!found->second->closed()) leaving_.push_back(std::move(found->second));
    sessions_.erase(found);
  }
  if (auto room = CheckRoom(identity); !room) return std::unexpected(room.error());
  auto session = std::make_shared<Session>(identity, key.second, id, std::move(options), surroundings_,
                                           [this](Session& gone) { Gone(gone); });
  Log(Level::kInfo, "session.open",
      {{"session", session->name()},
       {"identity", identity},
       {"url", session->options().url.Origin()},
       {"epoch", id},
       LogField::Detail("trace_id", session->options().trace.text())});
  sessions_.emplace(std::move(key), session);
  return session;
}

Result<void> Registry::CheckRoom(const std::string& identity) const {
  const size_t limit = surroundings_.limits.sessions;
  if (size() >= limit)
    return NotSent(Reason::kLimitReached, "limits.sessions, " + std::to_string(limit) + ", are open");
  const auto access = surroundings_.access.Get();
  if (!access->CapOf(identity, Cap::kSessions)) return {};  // Then there is nothing to count.
  const auto has = std::ranges::count_if(sessions_, [&](const auto& each) { return each.first.first == identity; }) +
                   std::ranges::count_if(leaving_, [&](const auto& each) { return each->identity() == identity; });
  return access->CheckCap(identity, Cap::kSessions, static_cast<uint64_t>(has) + 1);
}

std::shared_ptr<Session> Registry::Find(const std::string& identity, const std::string& name) const {
  const auto found = sessions_.find({identity, name});
  return found == sessions_.end() ? nullptr : found->second;
}

std::shared_ptr<Session> Registry::FindToRead(const std::string& reader, const std::string& identity,
                                              const std::string& name) const {
  return surroundings_.access.Get()->MayRead(reader, identity, name) ? Find(identity, name) : nullptr;
}

FormerJournals Registry::Former(const Session& session, const Start& start) const {
  if (surroundings_.directory == nullptr || start.from != Start::From::kAfter || start.epoch == session.epoch())
    return {};
  return surroundings_.directory->Behind(session.identity(), session.name(), start.epoch, start.sequence,
                                         session.epoch());
}

std::vector<std::shared_ptr<Session>> Registry::List(const std::string& identity, const std::string& after,
                                                     size_t count) const {
  std::vector<std::shared_ptr<Session>> page;
  for (auto at = sessions_.upper_bound({identity, after}); at != sessions_.end() && at->first.first == identity; ++at) {
    if (page.size() == count) break;
    page.push_back(at->second);
  }
  return page;
}

size_t Registry::Recheck() {
  const auto access = surroundings_.access.Get();
  std::vector<std::pair<std::shared_ptr<Session>, Failure>> revoked;
  for (const auto& [key, session] : sessions_) {
    if (auto may = session->CheckAccess(*access); !may) revoked.emplace_back(session, std::move(may.error()));
  }
  for (const auto& [session, cause] : revoked) session->Close(cause);
  return revoked.size();
}

void Registry::Drain(SteadyTime gone_by, std::function<void()> done) {
  draining_.Begin(gone_by);
  drained_ = std::move(done);
  std::vector<std::shared_ptr<Session>> all;
  for (const auto& [key, session] : sessions_) all.push_back(session);
  for (const auto& session : all) {
    session->Close({Reason::kDraining, Phase::kUnspecified, "the gateway is shutting down"}, {.code = 1001});
  }
  TellIfDrained();
}

void Registry::Gone(Session& session) {
  if (Find(session.identity(), session.name()).get() == &session) {
    sessions_.erase({session.identity(), session.name()});
  } else {
    std::erase_if(leaving_, [&session](const auto& leaving) { return leaving.get() == &session; });
  }
  if (draining_) TellIfDrained();
}

void Registry::TellIfDrained() {
  if (sessions_.empty() && leaving_.empty() && drained_) surroundings_.timers.Post(std::exchange(drained_, nullptr));
}

void Registry::ReclaimJournals() {
  while (surroundings_.journal_bytes > surroundings_.limits.total_journal_bytes) {
    const auto largest =
        std::ranges::max_element(sessions_, {}, [](const auto& entry) { return entry.second->journal().bytes(); });
    if (largest == sessions_.end()) return;
    const size_t before = largest->second->journal().bytes();
    largest->second->ShrinkJournal(before - before / 8);
    if (largest->second->journal().bytes() == before) return;  // Only newest entries are left.
  }
}

}  // namespace fairlead
