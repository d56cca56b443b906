#include "rpc/channels.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "rpc/checker.h"
#include "rpc/events.h"
#include "rpc/status.h"

namespace fairlead {
namespace {

// How many entries a channel may send before the next has its turn.
constexpr int kTurn = 64;

}  // namespace

Channels::Channels(std::string identity, Registry& registry, const Current<Access>& access, Timers& timers,
                   const Limits& limits, Flush::Batch batch, Stream& stream, const TraceId& trace)
    : identity_(std::move(identity)),
      registry_(registry),
      access_(access),
      timers_(timers),
      limits_(limits),
      stream_(stream),
      trace_(trace),
      flush_(batch),
      flush_timer_(timers.MakeTimer()),
      stuck_timer_(timers.MakeTimer()) {}

Channels::~Channels() = default;

// ---- Commands. ----

void Channels::Execute(v1::AttachRequest& request) {
  for (v1::Command& command : *request.mutable_commands()) unexecuted_.push_back(std::move(command));
  ExecuteNext();
  FinishIfDone();
}

// Commands wait while their answers would pile up.
void Channels::ExecuteNext() {
  while (!unexecuted_.empty() && waiting_.size() < limits_.waiting_events) {
    v1::Command command = std::move(unexecuted_.front());
    unexecuted_.pop_front();
    Execute(command);
  }
}

void Channels::Execute(v1::Command& command) {
  const uint32_t number = command.channel();
  const uint64_t id = command.id();
  if (auto known = CheckKnown(command); !known) return Refuse(number, id, known.error());
  switch (command.action_case()) {
    case v1::Command::ACTION_NOT_SET:
      return Refuse(number, id, {Reason::kInvalidField, Phase::kNotSent, "command: has no action"});
    case v1::Command::kOpen:
      return Open(number, id, command.open());
    case v1::Command::kJoin:
      return Join(number, id, command.join());
    default:
      break;
  }

  const auto found = channels_.find(number);
  if (found == channels_.end()) {
    return Refuse(number, id,
                  {Reason::kChannelUnknown, Phase::kNotSent,
                   "channel: " + std::to_string(number) + " is not open on this stream; Open or Join first"});
  }
  Channel& channel = *found->second;
  Session& session = *channel.subscription->session();
  const bool owner = channel.subscription->owner();
  const auto refuse = [&](const Failure& failure) { Refuse(number, id, failure); };
  const auto not_owner = [&] {
    refuse({Reason::kNotOwner, Phase::kNotSent, "channel: only the session's owner may do this"});
  };
  switch (command.action_case()) {
    case v1::Command::kSend: {
      if (!owner) return not_owner();
      auto send = ParseSend(id, *command.mutable_send(), session.options(), limits_);
      return send ? session.Send(std::move(*send)) : refuse(send.error());
    }
    case v1::Command::kPing: {
      if (!owner) return not_owner();
      auto payload = ParsePing(command.ping(), session.options());
      return payload ? session.Ping(id, std::move(*payload)) : refuse(payload.error());
    }
    case v1::Command::kReconnect:
      if (!owner) return not_owner();
      return session.Reconnect(id, command.reconnect().make_before_break());
    case v1::Command::kSetTarget: {
      if (!owner) return not_owner();
      auto target = ParseSetTarget(command.set_target(), session.options(), limits_);
      if (!target) return refuse(target.error());
      if (auto allowed = CheckTarget(*target); !allowed) return refuse(allowed.error());
      session.SetTarget(std::move(*target));
      return Done(number, id);
    }
    case v1::Command::kAnswer: {
      if (!owner) return not_owner();
      auto answer = ParseAnswer(command.answer(), session.options(), limits_);
      if (!answer) return refuse(answer.error());
      if (auto allowed = answer->target ? CheckTarget(*answer->target) : Result<void>(); !allowed)
        return refuse(allowed.error());
      auto taken = session.Answer(answer->number, std::move(answer->target));
      return taken ? Done(number, id) : refuse(taken.error());
    }
    case v1::Command::kHold:
      channel.subscription->Hold(command.hold().on());
      return Done(number, id);
    case v1::Command::kDetach:
      return Detach(channel, id);
    case v1::Command::kClose: {
      auto close = ParseClose(command.close(), session.options());
      if (!close) return refuse(close.error());
      if (!owner) return Detach(channel, id);
      Done(number, id);
      return session.Close({Reason::kClosed, Phase::kUnspecified, "the owner closed the session"}, *close);
    }
    default:
      return refuse({Reason::kNotImplemented, Phase::kNotSent, "command: this action is not possible in this version"});
  }
}

Result<void> Channels::CheckFree(uint32_t channel) const {
  if (draining_) return std::unexpected(draining_.Refusal(timers_.Now()));
  if (channels_.contains(channel)) {
    return NotSent(Reason::kChannelInUse, "channel: " + std::to_string(channel) + " is in use on this stream");
  }
  if (channels_.size() >= limits_.channels_per_stream) {
    return NotSent(Reason::kLimitReached, "limits.channels_per_stream, " + std::to_string(limits_.channels_per_stream) +
                                              ", are open on this stream");
  }
  return {};
}

Result<void> Channels::CheckTarget(const Target& target) const {
  const auto access = access_.Get();
  if (const auto rule = access->EgressOf(identity_).Allow(target.url); !rule) return std::unexpected(rule.error());
  return {};
}

void Channels::Open(uint32_t channel, uint64_t id, const v1::Open& open) {
  if (auto free = CheckFree(channel); !free) return Refuse(channel, id, free.error());
  auto request = ParseOpen(open, limits_);
  if (!request) return Refuse(channel, id, request.error());
  request->options.trace = trace_;
  auto session = registry_.Open(identity_, request->session, std::move(request->options));
  if (!session) return Refuse(channel, id, session.error());
  const bool is_new = (*session)->IsNew();
  Attach(channel, id, *session, /*owner=*/true, request->start, request->delivery);
  is_new ? (*session)->Begin() : (*session)->Resume();
}

void Channels::Join(uint32_t channel, uint64_t id, const v1::Join& join) {
  if (auto free = CheckFree(channel); !free) return Refuse(channel, id, free.error());
  auto request = ParseJoin(join);
  if (!request) return Refuse(channel, id, request.error());
  const bool own = request->identity.empty() || request->identity == identity_;
  auto session = registry_.FindToRead(identity_, own ? identity_ : request->identity, request->session);
  if (session == nullptr) {
    return Refuse(channel, id,
                  {Reason::kSessionNotFound, Phase::kNotSent,
                   "join.session: \"" + request->session + "\" is not a live session" +
                       (own ? "" : " of " + request->identity + ", or not granted to this identity")});
  }
  if (session->subscriptions().size() >= limits_.subscribers_per_session) {
    return Refuse(
        channel, id,
        {Reason::kLimitReached, Phase::kNotSent,
         "limits.subscribers_per_session, " + std::to_string(limits_.subscribers_per_session) + ", are attached"});
  }
  Attach(channel, id, std::move(session), /*owner=*/false, request->start, request->delivery);
}

void Channels::Attach(uint32_t channel, uint64_t id, std::shared_ptr<Session> session, bool owner, const Start& start,
                      const DeliveryOptions& delivery) {
  auto& entry = *(channels_[channel] = std::make_unique<Channel>(*this, channel, delivery.max_delay));
  auto former = registry_.Former(*session, start);
  entry.subscription =
      std::make_unique<Subscription>(std::move(session), entry, owner, start, delivery.overflow, std::move(former));
  v1::Event event;
  *event.mutable_attached() = MakeAttached(channel, *entry.subscription);
  Tell(std::move(event));
  Done(channel, id);
  entry.Waiting(*entry.subscription, 1, 0);  // The past, if it asked for it.
}

void Channels::Refuse(uint32_t channel, uint64_t id, const Failure& failure) {
  Log(Level::kDebug, "command.refused",
      {{"identity", identity_},
       {"channel", channel},
       {"id", id},
       {"reason", Name(failure.reason)},
       {"message", failure.message},
       LogField::Detail("trace_id", trace_.text())});
  v1::Event event;
  *event.mutable_command_result() = ToProto(channel, 0, 0, CommandResult{id, Outcome::kNotSent, failure});
  Tell(std::move(event));
}

void Channels::Done(uint32_t channel, uint64_t id) {
  if (id == 0) return;
  v1::Event event;
  *event.mutable_command_result() = ToProto(channel, 0, 0, CommandResult{id, Outcome::kDone});
  Tell(std::move(event));
}

void Channels::Detach(Channel& channel, uint64_t id) {
  Done(channel.number, id);
  Drop(channel.number, {Reason::kDetached, Phase::kUnspecified, "the adapter detached"});
}

void Channels::Drop(uint32_t channel, const Failure& cause) {
  const std::shared_ptr<Session> session = channels_.at(channel)->subscription->session();
  channels_.erase(channel);
  v1::Event event;
  *event.mutable_ended() = ToProto(channel, Subscription::End{cause, session->closing()});
  Tell(std::move(event));
}

void Channels::Recheck() {
  const auto access = access_.Get();
  std::vector<uint32_t> revoked;
  for (const auto& [number, channel] : channels_) {
    const Session& session = *channel->subscription->session();
    if (!access->MayRead(identity_, session.identity(), session.name())) revoked.push_back(number);
  }
  for (const uint32_t number : revoked)
    Drop(number, Revoked({.message = "no grant lets " + identity_ + " read this session"}));
  FinishIfDone();
}

void Channels::Tell(v1::Event event) {
  waiting_.push_back(std::move(event));
  flush_.Urgent();
  Schedule();
}

void Channels::HalfClosed() {
  half_closed_ = true;
  FinishIfDone();
}

void Channels::Drain(SteadyTime gone_by) {
  draining_.Begin(gone_by);
  v1::Event event;
  *event.mutable_draining()->mutable_deadline() = ToTimestamp(timers_.WallNow() + (gone_by - timers_.Now()));
  Tell(std::move(event));
}

// ---- Delivery. ----

void Channels::Channel::Waiting(Subscription& cursor, size_t entries, size_t bytes) {
  if (!ready) {
    ready = true;
    channels.ready_.push_back(number);
  }
  channels.flush_.Waits(bytes, max_delay, entries);
  if (cursor.ended() != nullptr) channels.flush_.Urgent();
  channels.Schedule();
}

void Channels::Channel::Ponged(Subscription& /*cursor*/, std::string_view payload, Duration round_trip) {
  v1::Event event;
  event.mutable_pong()->set_channel(number);
  event.mutable_pong()->set_payload(payload.data(), payload.size());
  *event.mutable_pong()->mutable_round_trip() = ToProto(round_trip);
  channels.Tell(std::move(event));
}

void Channels::Channel::Asked(Subscription& /*cursor*/, const Question& question) {
  v1::Event event;
  *event.mutable_asked() = ToProto(number, question);
  channels.Tell(std::move(event));
}

void Channels::Schedule() {
  if (writing_ || finished_) return;
  const auto when = flush_.When(timers_.Now());
  if (!when || (flush_due_ && *flush_due_ <= *when)) return;
  flush_due_ = when;
  flush_timer_->At(*when, [this] { FlushNow(); });
}

void Channels::FlushNow() {
  flush_due_.reset();
  if (writing_ || finished_) return;
  const bool was_full = Full();
  ResponseEncoder encoder;
  oldest_live_.reset();
  Encode(encoder);
  flush_.Flushed(timers_.Now());
  if (!waiting_.empty()) flush_.Urgent();
  if (!ready_.empty()) flush_.Backlog();
  if (!encoder.empty()) {
    writing_ = true;
    write_began_ = timers_.Now();
    WatchWrite();
    stream_.Write(encoder.Finish());
  }
  ExecuteNext();
  if (was_full && !Full()) stream_.Drained();
  FinishIfDone();
}

void Channels::Encode(ResponseEncoder& encoder) {
  const Flush::Batch& batch = flush_.batch();
  while (!waiting_.empty() && encoder.bytes() < batch.bytes) {
    encoder.Event(waiting_.front());
    waiting_.pop_front();
  }
  // Entries never overtake an event: Attached comes before its channel's entries.
  while (waiting_.empty() && !ready_.empty() && encoder.frames() < batch.frames && encoder.bytes() < batch.bytes) {
    const uint32_t number = ready_.front();
    ready_.pop_front();
    const auto found = channels_.find(number);
    if (found == channels_.end()) continue;
    Channel& channel = *found->second;
    const uint64_t first = channel.subscription->next_sequence();
    channel.ready = Take(channel, encoder);
    if (channel.ready) {
      const bool had_its_turn = channel.subscription->next_sequence() != first;
      if (had_its_turn) {
        ready_.push_back(number);
      } else {
        ready_.push_front(number);
      }
      // A frame longer than what is left of the batch goes into the next one, and first if its channel has sent
      // nothing.
      const Entry* next = channel.subscription->Peek();
      if (next != nullptr && next->frame() != nullptr && encoder.bytes() + next->frame()->payload.size() > batch.bytes)
        break;
    } else if (channel.subscription->ended() != nullptr) {
      v1::Event event;
      *event.mutable_ended() = ToProto(number, *channel.subscription->ended());
      encoder.Event(event);
      channels_.erase(found);
    }
  }
}

bool Channels::Take(Channel& channel, ResponseEncoder& encoder) {
  Subscription& subscription = *channel.subscription;
  const Flush::Batch& batch = flush_.batch();
  for (int taken = 0; taken < kTurn; ++taken) {
    if (const auto gap = subscription.TakeGap()) {
      v1::Event event;
      *event.mutable_gap() = ToProto(channel.number, *gap);
      encoder.Event(event);
    }
    if (subscription.TakeSeam()) {
      v1::Event event;
      *event.mutable_attached() = MakeAttached(channel.number, subscription);
      encoder.Event(event);
      continue;
    }
    const Entry* entry = subscription.Peek();
    if (entry == nullptr) return false;
    const uint64_t sequence = subscription.next_sequence();
    if (const FrameEntry* frame = entry->frame()) {
      const bool fits = encoder.frames() < batch.frames &&
                        (encoder.empty() || encoder.bytes() + frame->payload.size() <= batch.bytes);
      if (!fits) return true;
      if (subscription.IsLive()) oldest_live_ = std::min(entry->time, oldest_live_.value_or(entry->time));
      encoder.Frame(channel.number, sequence, *entry);
    } else {
      v1::Event event;
      SetEntry(event, channel.number, sequence, *entry);
      encoder.Event(event);
    }
    subscription.Advance();
  }
  return subscription.HasMore();
}

void Channels::Wrote() {
  writing_ = false;
  Schedule();
  FinishIfDone();
}

// Armed for the first write, and again only when it is due: not for each write.
void Channels::WatchWrite() {
  if (std::exchange(watching_, true)) return;
  stuck_timer_->At(write_began_ + limits_.stuck_write, [this] {
    watching_ = false;
    if (!writing_) return;
    if (timers_.Now() - write_began_ >= limits_.stuck_write) return stream_.Stuck();
    WatchWrite();
  });
}

void Channels::FinishIfDone() {
  if (finished_ || (!half_closed_ && !draining_) || writing_ || !channels_.empty() || !waiting_.empty() ||
      !unexecuted_.empty())
    return;
  finished_ = true;
  if (!draining_) return stream_.Finished(nullptr);
  Failure why = draining_.Refusal(timers_.Now());
  why.phase = Phase::kUnspecified;  // Much may have been sent through this stream.
  why.retry_after.reset();          // It was let go of in order, and may go elsewhere at once.
  stream_.Finished(&why);
}

}  // namespace fairlead
