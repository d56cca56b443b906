// The stream under rpc/channels, in the hands of a test: parses what is written into lines, "1 text hello @4" (channel,
// what, sequence), and checks that one write is outstanding, that nothing comes before a channel is attached or after
// its end, and that its sequences have no holes but for gaps.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "rpc/channels.h"

namespace fairlead {

class RecordedStream final : public Channels::Stream {
 public:
  explicit RecordedStream(Timers& timers) : timers_(timers) {}

  bool takes_writes = true;  // Else Take is the test's to call.
  std::function<void()> wrote = {};
  int finished = 0;
  std::optional<Failure> why;
  int drained = 0;
  std::map<uint64_t, int> results = {};  // How many, by id.
  int stuck = 0;
  v1::AttachResponse last;
  size_t most_frames = 0;         // In one message.
  size_t most_bytes_of_many = 0;  // Payload bytes in one message that holds more than one frame.

  bool attached(uint32_t channel) const { return next_.contains(channel); }
  bool idle() const { return next_.empty() && !writing_; }
  void Take() {
    if (std::exchange(writing_, false) && wrote) wrote();
  }
  // What has come since the last call.
  std::vector<std::string> Read() { return std::exchange(lines_, {}); }

 private:
  void Write(const grpc::ByteBuffer& message) override {
    EXPECT_FALSE(std::exchange(writing_, true)) << "a second write";
    EXPECT_EQ(finished, 0);
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(message.Dump(&slices).ok());
    std::string bytes;
    for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    EXPECT_TRUE(last.ParseFromString(bytes));
    EXPECT_GT(last.events_size(), 0) << "an empty message";
    size_t frames = 0;
    size_t payload_bytes = 0;
    for (const v1::Event& event : last.events()) {
      Describe(event);
      frames += static_cast<size_t>(event.batch().payloads_size());
      for (const std::string& payload : event.batch().payloads()) payload_bytes += payload.size();
    }
    most_frames = std::max(most_frames, frames);
    if (frames > 1) most_bytes_of_many = std::max(most_bytes_of_many, payload_bytes);
    if (takes_writes) timers_.Post([this] { Take(); });
  }
  void Finished(const Failure* failure) override {
    ++finished;
    if (failure != nullptr) why = *failure;
  }
  void Drained() override { ++drained; }
  void Stuck() override { ++stuck; }

  void Describe(const v1::Event& event) {
    switch (event.event_case()) {
      case v1::Event::kBatch:
        return DescribeBatch(event.batch());
      case v1::Event::kAttached: {
        const v1::Attached& attached = event.attached();
        // Again only behind a former journal, to its very end.
        const bool goes_on = former_.erase(attached.channel()) != 0;
        EXPECT_EQ(next_.contains(attached.channel()), goes_on) << "attached twice";
        next_[attached.channel()] = goes_on ? attached.oldest_sequence() : 0;
        if (attached.former()) former_.insert(attached.channel());
        return Add(attached.channel(),
                   "attached " + attached.session() + " " + v1::StartOutcome_Name(attached.start()).substr(14) + " " +
                       std::to_string(attached.oldest_sequence()) + ".." + std::to_string(attached.head_sequence()) +
                       (attached.former() ? " former" : ""));
      }
      case v1::Event::kStateChanged: {
        const v1::StateChanged& change = event.state_changed();
        return AddLive(change.channel(), v1::SessionState_Name(change.state()).substr(14), change.sequence());
      }
      case v1::Event::kCommandResult: {
        const v1::CommandResult& result = event.command_result();
        ++results[result.id()];
        std::string text = "result " + std::to_string(result.id()) + " " + v1::Outcome_Name(result.outcome()).substr(8);
        if (result.has_failure()) text += " " + v1::Reason_Name(result.failure().reason()).substr(7);
        if (result.sequence() != 0) return AddLive(result.channel(), text, result.sequence());
        return Add(result.channel(), text + " @0");
      }
      case v1::Event::kGap:
        CheckNext(event.gap().channel(), event.gap().from_sequence(), event.gap().to_sequence());
        return Add(event.gap().channel(), "gap " + std::to_string(event.gap().from_sequence()) + ".." +
                                              std::to_string(event.gap().to_sequence()));
      case v1::Event::kPong:
        return Add(event.pong().channel(), "pong " + event.pong().payload());
      case v1::Event::kTopicChanged: {
        const v1::TopicChanged& change = event.topic_changed();
        CheckNext(change.channel(), change.sequence(), change.sequence());
        return Add(change.channel(), "topic " + change.key() + (change.stale() ? " stale" : " heard") + " @" +
                                         std::to_string(change.sequence()));
      }
      case v1::Event::kLegChanged: {
        const v1::LegChanged& change = event.leg_changed();
        return AddLive(change.channel(), "leg " + v1::SessionState_Name(change.state()).substr(14), change.sequence());
      }
      case v1::Event::kAsked:
        EXPECT_TRUE(next_.contains(event.asked().channel())) << "asked before it is attached";
        return Add(event.asked().channel(), "asked " + event.asked().key() + " g" +
                                                std::to_string(event.asked().generation()) + " #" +
                                                std::to_string(event.asked().number()));
      case v1::Event::kEnded: {
        const v1::Ended& ended = event.ended();
        EXPECT_EQ(next_.erase(ended.channel()), 1u) << "ended twice";
        former_.erase(ended.channel());
        return Add(ended.channel(), "ended " + v1::Reason_Name(ended.cause().reason()).substr(7) +
                                        (ended.session_closed() ? " session_closed" : ""));
      }
      case v1::Event::kDraining:
        return lines_.push_back("draining");
      default:
        ADD_FAILURE() << event.ShortDebugString();
    }
  }
  void DescribeBatch(const v1::Batch& batch) {
    int at = 0;
    for (const v1::Run& run : batch.runs()) {
      for (uint32_t i = 0; i < run.count(); ++i, ++at) {
        ASSERT_LT(at, batch.payloads_size());
        AddLive(run.channel(), (run.kind() == v1::FRAME_KIND_TEXT ? "text " : "binary ") + batch.payloads(at),
                run.first_sequence() + i);
      }
    }
    EXPECT_EQ(at, batch.payloads_size());
    EXPECT_EQ(at, batch.receive_times_unix_ns_size());
  }
  void AddLive(uint32_t channel, const std::string& what, uint64_t sequence) {
    CheckNext(channel, sequence, sequence);
    Add(channel, what + " @" + std::to_string(sequence));
  }
  void CheckNext(uint32_t channel, uint64_t first, uint64_t end) {
    const auto next = next_.find(channel);
    ASSERT_NE(next, next_.end()) << "an entry of channel " << channel << ", which is not attached";
    EXPECT_TRUE(next->second == 0 || next->second == first)
        << "a hole before " << first << " of channel " << channel << ", which expects " << next->second;
    EXPECT_LE(first, end);
    next->second = end + 1;
  }
  void Add(uint32_t channel, const std::string& what) { lines_.push_back(std::to_string(channel) + " " + what); }

  Timers& timers_;
  bool writing_ = false;
  std::map<uint32_t, uint64_t> next_;  // By channel that is attached; zero: none has come.
  std::set<uint32_t> former_;          // Channels that read a journal that is over.
  std::vector<std::string> lines_;
};

}  // namespace fairlead
