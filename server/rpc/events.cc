#include "rpc/events.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>

#include "rpc/status.h"

namespace fairlead {

using google::protobuf::util::TimeUtil;

google::protobuf::Timestamp ToTimestamp(WallTime time) {
  return TimeUtil::NanosecondsToTimestamp(time.time_since_epoch().count());
}

google::protobuf::Duration ToProto(Duration span) { return TimeUtil::NanosecondsToDuration(span.count()); }

v1::StateChanged ToProto(uint32_t channel, uint64_t sequence, const StateChange& change) {
  v1::StateChanged proto;
  proto.set_channel(channel);
  proto.set_sequence(sequence);
  proto.set_state(static_cast<v1::SessionState>(change.state));
  proto.set_generation(change.generation);
  if (change.cause) *proto.mutable_cause() = ToProto(*change.cause);
  proto.set_close_code(change.close_code);
  proto.set_close_reason(change.close_reason);
  proto.set_attempt(change.attempt);
  if (change.retry_in) *proto.mutable_retry_in() = ToProto(*change.retry_in);
  if (change.blind_from) *proto.mutable_blind_from() = ToTimestamp(*change.blind_from);
  if (change.blind_until) *proto.mutable_blind_until() = ToTimestamp(*change.blind_until);
  if (change.overlap) {
    v1::Overlap& overlap = *proto.mutable_overlap();
    overlap.set_frames(change.overlap->frames);
    overlap.set_copies(change.overlap->copies);
    overlap.set_may_be_missing(change.overlap->may_be_missing);
  }
  return proto;
}

v1::LegChanged ToProto(uint32_t channel, uint64_t sequence, uint64_t generation, const LegChange& change) {
  v1::LegChanged proto;
  proto.set_channel(channel);
  proto.set_sequence(sequence);
  proto.set_generation(generation);
  proto.set_state(static_cast<v1::SessionState>(change.state));
  if (change.cause) *proto.mutable_cause() = ToProto(*change.cause);
  proto.set_close_code(change.close_code);
  proto.set_close_reason(change.close_reason);
  if (change.retry_in) *proto.mutable_retry_in() = ToProto(*change.retry_in);
  proto.set_received_frames(change.received_frames);
  proto.set_copies(change.copies);
  return proto;
}

v1::CommandResult ToProto(uint32_t channel, uint64_t sequence, uint64_t generation, const CommandResult& result) {
  v1::CommandResult proto;
  proto.set_channel(channel);
  proto.set_sequence(sequence);
  proto.set_id(result.id);
  proto.set_outcome(static_cast<v1::Outcome>(result.outcome));
  proto.set_generation(generation);
  if (result.failure) *proto.mutable_failure() = ToProto(*result.failure);
  return proto;
}

v1::TopicChanged ToProto(uint32_t channel, uint64_t sequence, uint64_t generation, const TopicChange& change) {
  v1::TopicChanged proto;
  proto.set_channel(channel);
  proto.set_sequence(sequence);
  proto.set_generation(generation);
  proto.set_key(change.key);
  proto.set_stale(change.stale);
  if (change.last_heard) *proto.mutable_last_heard() = ToTimestamp(*change.last_heard);
  return proto;
}

v1::Gap ToProto(uint32_t channel, const Subscription::Gap& gap) {
  v1::Gap proto;
  proto.set_channel(channel);
  proto.set_from_sequence(gap.from);
  proto.set_to_sequence(gap.to);
  return proto;
}

v1::Ended ToProto(uint32_t channel, const Subscription::End& end) {
  v1::Ended proto;
  proto.set_channel(channel);
  *proto.mutable_cause() = ToProto(end.cause);
  proto.set_session_closed(end.session_closed);
  return proto;
}

v1::Asked ToProto(uint32_t channel, const Question& question) {
  v1::Asked proto;
  proto.set_channel(channel);
  proto.set_generation(question.generation);
  proto.set_key(question.key);
  proto.set_number(question.number);
  *proto.mutable_deadline() = ToTimestamp(question.deadline);
  return proto;
}

v1::Attached MakeAttached(uint32_t channel, const Subscription& subscription) {
  const Session& session = *subscription.session();
  v1::Attached proto;
  proto.set_channel(channel);
  proto.set_session(session.name());
  if (const FormerJournal* former = subscription.former()) {
    proto.set_epoch(former->epoch());
    proto.set_oldest_sequence(former->oldest());
    proto.set_head_sequence(former->head());
    proto.set_former(true);
  } else {
    const bool begins_there = subscription.start() == StartOutcome::kEpochChanged;
    proto.set_epoch(session.epoch());
    proto.set_oldest_sequence(begins_there ? subscription.next_own_sequence() : session.journal().oldest());
    proto.set_head_sequence(session.journal().head());
  }
  proto.set_state(static_cast<v1::SessionState>(session.state()));
  proto.set_generation(session.generation());
  proto.set_start(static_cast<v1::StartOutcome>(subscription.start()));
  for (const std::string& key : session.SetupKeys()) proto.add_setup_keys(key);
  return proto;
}

v1::Session Describe(const Session& session, WallTime now) {
  v1::Session proto;
  proto.set_name(session.name());
  proto.set_url(session.options().url.Redacted());
  proto.set_state(static_cast<v1::SessionState>(session.state()));
  proto.set_generation(session.generation());
  proto.set_epoch(session.epoch());
  proto.set_oldest_sequence(session.journal().oldest());
  proto.set_head_sequence(session.journal().head());
  proto.set_journal_bytes(session.journal().bytes());
  *proto.mutable_create_time() = ToTimestamp(session.created_at());
  proto.set_received_frames(session.counts().received_frames);
  proto.set_received_bytes(session.counts().received_bytes);
  proto.set_sent_frames(session.counts().sent_frames);
  proto.set_sent_bytes(session.counts().sent_bytes);
  for (const std::string& key : session.SetupKeys()) proto.add_setup_keys(key);
  for (const Subscription* subscription : session.subscriptions()) {
    v1::Subscriber& subscriber = *proto.add_subscribers();
    subscriber.set_owner(subscription->owner());
    subscriber.set_sequence(subscription->next_own_sequence() - 1);
    subscriber.set_lag_entries(subscription->lag());
    subscriber.set_lag_bytes(subscription->lag_bytes());
    if (const auto since = subscription->lagging_since())
      *subscriber.mutable_lag() = ToProto(std::max(now - *since, Duration::zero()));
    subscriber.set_held(subscription->held());
  }
  for (const Topics::State& state : session.topics().states()) {
    v1::TopicState& topic = *proto.add_topics();
    topic.set_key(state.topic.key);
    topic.set_stale(state.stale);
    if (state.last_heard) *topic.mutable_last_heard() = ToTimestamp(*state.last_heard);
  }
  for (const Session::LegView& view : session.Legs()) {
    v1::LegState& leg = *proto.add_legs();
    leg.set_generation(view.generation);
    leg.set_state(static_cast<v1::SessionState>(view.state));
    leg.set_received_frames(view.received_frames);
    leg.set_copies(view.tally.copies);
    leg.set_wins(view.tally.wins);
    leg.set_misses(view.tally.misses);
    if (view.tally.lag_p50) *leg.mutable_lag_p50() = ToProto(*view.tally.lag_p50);
    if (view.tally.lag_p99) *leg.mutable_lag_p99() = ToProto(*view.tally.lag_p99);
    if (view.address) leg.set_address(view.address->Text());
  }
  if (session.last_failure()) *proto.mutable_last_failure() = ToProto(*session.last_failure());
  if (session.heartbeat_round_trip()) *proto.mutable_heartbeat_round_trip() = ToProto(*session.heartbeat_round_trip());
  return proto;
}

}  // namespace fairlead
