// From the session's words to the API's events.
#pragma once

#include <fairlead/v1/session.pb.h>

#include "session/session.h"
#include "session/subscription.h"

namespace fairlead {

google::protobuf::Timestamp ToTimestamp(WallTime time);
google::protobuf::Duration ToProto(Duration span);
v1::StateChanged ToProto(uint32_t channel, uint64_t sequence, const StateChange& change);
v1::CommandResult ToProto(uint32_t channel, uint64_t sequence, uint64_t generation, const CommandResult& result);
v1::LegChanged ToProto(uint32_t channel, uint64_t sequence, uint64_t generation, const LegChange& change);
v1::TopicChanged ToProto(uint32_t channel, uint64_t sequence, uint64_t generation, const TopicChange& change);
// Into an Event or a TailResponse: what the entry is, if it is no frame.
template <typename Message>
void SetEntry(Message& message, uint32_t channel, uint64_t sequence, const Entry& entry) {
  if (const auto* change = std::get_if<std::unique_ptr<StateChange>>(&entry.what)) {
    *message.mutable_state_changed() = ToProto(channel, sequence, **change);
  } else if (const auto* topic = std::get_if<std::unique_ptr<TopicChange>>(&entry.what)) {
    *message.mutable_topic_changed() = ToProto(channel, sequence, entry.generation, **topic);
  } else if (const auto* leg = std::get_if<std::unique_ptr<LegChange>>(&entry.what)) {
    *message.mutable_leg_changed() = ToProto(channel, sequence, entry.generation, **leg);
  } else if (const auto* result = std::get_if<std::unique_ptr<CommandResult>>(&entry.what)) {
    *message.mutable_command_result() = ToProto(channel, sequence, entry.generation, **result);
  }
}
v1::Gap ToProto(uint32_t channel, const Subscription::Gap& gap);
v1::Asked ToProto(uint32_t channel, const Question& question);
v1::Ended ToProto(uint32_t channel, const Subscription::End& end);
v1::Attached MakeAttached(uint32_t channel, const Subscription& subscription);
v1::Session Describe(const Session& session, WallTime now);

}  // namespace fairlead
