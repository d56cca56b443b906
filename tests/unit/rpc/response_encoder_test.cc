#include "rpc/response_encoder.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "support/kept_text.h"
#include "support/random.h"

namespace fairlead {
namespace {

v1::AttachResponse Parse(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(message.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  v1::AttachResponse response;
  EXPECT_TRUE(response.ParseFromString(bytes));
  EXPECT_TRUE(response.GetReflection()->GetUnknownFields(response).empty());
  return response;
}

// What the encoder must make, built from protobuf's own objects.
class Reference {
 public:
  void Frame(uint32_t channel, uint64_t sequence, const Entry& entry) {
    if (!gathering_) batch_ = response_.add_events()->mutable_batch();
    gathering_ = true;
    const auto kind = static_cast<v1::FrameKind>(entry.frame()->kind);
    v1::Run* run = batch_->runs_size() == 0 ? nullptr : batch_->mutable_runs(batch_->runs_size() - 1);
    if (run == nullptr || run->channel() != channel || run->kind() != kind || run->generation() != entry.generation ||
        run->first_sequence() + run->count() != sequence) {
      run = batch_->add_runs();
      run->set_channel(channel);
      run->set_first_sequence(sequence);
      run->set_kind(kind);
      run->set_generation(entry.generation);
    }
    run->set_count(run->count() + 1);
    batch_->add_payloads(std::string(entry.frame()->payload));
    batch_->add_receive_times_unix_ns(static_cast<uint64_t>(entry.time.time_since_epoch().count()));
  }
  void Event(const v1::Event& event) {
    gathering_ = false;
    *response_.add_events() = event;
  }
  const v1::AttachResponse& response() const { return response_; }

 private:
  v1::AttachResponse response_;
  v1::Batch* batch_ = nullptr;
  bool gathering_ = false;
};

void ExpectSame(const v1::AttachResponse& actual, const v1::AttachResponse& expected) {
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(actual, expected))
      << actual.ShortDebugString().substr(0, 500) << "\n instead of \n"
      << expected.ShortDebugString().substr(0, 500);
}

// The payload outlives it.
Entry Frame(std::string_view payload, FrameKind kind = FrameKind::kText, uint64_t generation = 1) {
  return {.generation = generation,
          .time = WallTime(std::chrono::nanoseconds(1'700'000'000'123'456'789)),
          .what = FrameEntry(kind, payload)};
}
v1::Event GapEvent(uint32_t channel) {
  v1::Event event;
  event.mutable_gap()->set_channel(channel);
  event.mutable_gap()->set_from_sequence(1);
  event.mutable_gap()->set_to_sequence(UINT64_MAX);
  return event;
}

TEST(ResponseEncoder, IsEmptyAtFirstAndAfterwards) {
  ResponseEncoder encoder;
  EXPECT_TRUE(encoder.empty());
  encoder.Frame(1, 1, Frame(""));
  EXPECT_FALSE(encoder.empty());
  EXPECT_EQ(encoder.frames(), 1u);
  EXPECT_EQ(Parse(encoder.Finish()).events_size(), 1);
  EXPECT_TRUE(encoder.empty());
  EXPECT_EQ(encoder.frames(), 0u);
  EXPECT_EQ(Parse(encoder.Finish()).events_size(), 0);
}

TEST(ResponseEncoder, ConsecutiveFramesAreOneRun) {
  ResponseEncoder encoder;
  for (uint64_t sequence = 5; sequence < 8; ++sequence) encoder.Frame(3, sequence, Frame("x"));
  const v1::AttachResponse response = Parse(encoder.Finish());
  ASSERT_EQ(response.events_size(), 1);
  const v1::Batch& batch = response.events(0).batch();
  ASSERT_EQ(batch.runs_size(), 1);
  EXPECT_EQ(batch.runs(0).channel(), 3u);
  EXPECT_EQ(batch.runs(0).first_sequence(), 5u);
  EXPECT_EQ(batch.runs(0).count(), 3u);
  EXPECT_EQ(batch.payloads_size(), 3);
  EXPECT_EQ(batch.receive_times_unix_ns(2), 1'700'000'000'123'456'789u);
}

TEST(ResponseEncoder, ARunEndsWithChannelKindGenerationAndSequence) {
  ResponseEncoder encoder;
  encoder.Frame(1, 1, Frame("a"));
  encoder.Frame(2, 2, Frame("b"));
  encoder.Frame(2, 3, Frame("c", FrameKind::kBinary));
  encoder.Frame(2, 4, Frame("d", FrameKind::kBinary, 2));
  encoder.Frame(2, 6, Frame("e", FrameKind::kBinary, 2));
  EXPECT_EQ(Parse(encoder.Finish()).events(0).batch().runs_size(), 5);
}

TEST(ResponseEncoder, AnEventEndsABatch) {
  ResponseEncoder encoder;
  encoder.Frame(1, 1, Frame("a"));
  encoder.Event(GapEvent(1));
  encoder.Frame(1, 2, Frame("b"));
  const v1::AttachResponse response = Parse(encoder.Finish());
  ASSERT_EQ(response.events_size(), 3);
  EXPECT_TRUE(response.events(0).has_batch());
  EXPECT_TRUE(response.events(1).has_gap());
  EXPECT_TRUE(response.events(2).has_batch());
}

// A length takes one byte more at 2^7, 2^14 and 2^21: of a payload, of the columns, and of what holds them.
TEST(ResponseEncoder, LengthsAreRightWhereTheyTakeAnotherByte) {
  for (const size_t boundary : {size_t{1} << 7, size_t{1} << 14, size_t{1} << 21}) {
    for (size_t size = boundary - 64; size < boundary + 4; ++size) {
      ResponseEncoder encoder;
      Reference reference;
      const std::string text(size, 'x');
      const Entry entry = Frame(text);
      encoder.Frame(1, 1, entry);
      reference.Frame(1, 1, entry);
      ExpectSame(Parse(encoder.Finish()), reference.response());
      if (testing::Test::HasFailure()) return;
    }
  }
  for (const uint64_t frames : {15, 16, 17, 256, 2047, 2048, 2049}) {
    ResponseEncoder encoder;
    Reference reference;
    for (uint64_t sequence = 1; sequence <= frames; ++sequence) {
      encoder.Frame(1, sequence, Frame("x"));
      reference.Frame(1, sequence, Frame("x"));
    }
    ExpectSame(Parse(encoder.Finish()), reference.response());
  }
}

TEST(ResponseEncoder, MakesWhatProtobufWouldMake) {
  ForEachSeed(300, [](Draws& draws) {
    ResponseEncoder encoder;
    Reference reference;
    uint64_t sequence = draws.OneIn(2) ? 1 : UINT64_MAX / 2;
    size_t payload_bytes = 0;
    for (uint64_t i = draws.Below(200); i > 0; --i) {
      if (draws.OneIn(10)) {
        const v1::Event event = GapEvent(static_cast<uint32_t>(draws.Below(5)));
        encoder.Event(event);
        reference.Event(event);
        continue;
      }
      Entry entry = Frame(Kept(draws.Text(draws.OneIn(20) ? 20'000 : 200)),
                          draws.OneIn(5) ? FrameKind::kBinary : FrameKind::kText, draws.Below(3));
      entry.time += std::chrono::nanoseconds(draws.Below(UINT64_MAX >> 2));
      sequence += draws.OneIn(10) ? draws.Below(1000) : 1;
      const auto channel = static_cast<uint32_t>(draws.OneIn(4) ? UINT32_MAX : draws.Below(3));
      payload_bytes += entry.frame()->payload.size();
      encoder.Frame(channel, sequence, entry);
      reference.Frame(channel, sequence, entry);
      EXPECT_GE(encoder.bytes(), payload_bytes);
    }
    ExpectSame(Parse(encoder.Finish()), reference.response());
  });
}

// ---- From a journal: without a copy a frame, and once for all subscribers. ----

std::vector<grpc::Slice> Slices(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(message.Dump(&slices).ok());
  return slices;
}
size_t Bytes(const std::vector<grpc::Slice>& slices) {
  size_t bytes = 0;
  for (const grpc::Slice& slice : slices) bytes += slice.size();
  return bytes;
}
// Of the message: how many bytes are the very ones at which the journal's frames lie.
size_t SharedBytes(const std::vector<grpc::Slice>& slices, const Journal& journal) {
  size_t shared = 0;
  for (const grpc::Slice& slice : slices) {
    const auto* const begin = reinterpret_cast<const char*>(slice.begin());
    bool is_shared = false;
    for (uint64_t at = journal.oldest(); at <= journal.head(); ++at) {
      const FrameEntry* frame = journal.at(at).frame();
      is_shared = is_shared ||
                  (frame != nullptr && frame->payload.data() > begin && frame->payload.data() < begin + slice.size());
    }
    if (is_shared) shared += slice.size();
  }
  return shared;
}

grpc::ByteBuffer Encoded(uint32_t channel, const Journal& journal) {
  ResponseEncoder encoder;
  for (uint64_t at = journal.oldest(); at <= journal.head(); ++at) encoder.Frame(channel, at, journal.at(at));
  return encoder.Finish();
}

TEST(ResponseEncoder, WhatTheJournalHoldsIsNotCopied) {
  Journal journal({});
  for (int i = 0; i < 1000; ++i) journal.Append(Frame(std::string(200, 'a')));
  const std::vector<grpc::Slice> slices = Slices(Encoded(1, journal));
  EXPECT_GE(SharedBytes(slices, journal), 1000u * 203) << "payloads, with tag and length";
  EXPECT_LE(Bytes(slices) - SharedBytes(slices, journal), 1000u * 8 + 64) << "the times, and a few lengths";
  EXPECT_LE(slices.size(), 20u) << "of some 64 KiB, not of a frame";
}

TEST(ResponseEncoder, AllSubscribersAreSentTheSameBytes) {
  Journal journal({});
  for (int i = 0; i < 300; ++i) journal.Append(Frame(std::string(200, 'a')));
  const std::vector<grpc::Slice> first = Slices(Encoded(1, journal));
  const std::vector<grpc::Slice> second = Slices(Encoded(2, journal));
  ASSERT_EQ(first.size(), second.size());
  size_t same = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    if (first[i].begin() == second[i].begin()) same += first[i].size();
  }
  EXPECT_LE(Bytes(first) - same, 1024u) << "but for the runs, and what is too short to share";
}

TEST(ResponseEncoder, AMessageOutlivesWhatTheJournalHasForgotten) {
  grpc::ByteBuffer message;
  {
    Journal journal({.bytes = 100'000});
    for (int i = 0; i < 300; ++i) journal.Append(Frame(std::to_string(i) + std::string(200, 'a')));
    message = Encoded(1, journal);
    for (int i = 0; i < 3000; ++i) journal.Append(Frame(std::string(200, 'b')));
  }
  const v1::AttachResponse response = Parse(message);
  ASSERT_EQ(response.events(0).batch().payloads_size(), 300);
  for (int i = 0; i < 300; ++i)
    EXPECT_EQ(response.events(0).batch().payloads(i), std::to_string(i) + std::string(200, 'a'));
}

TEST(ResponseEncoder, MakesOfAJournalWhatProtobufWouldMake) {
  ForEachSeed(200, [](Draws& draws) {
    Journal journal({.bytes = draws.Between(200, 300'000)});
    ResponseEncoder encoder;
    Reference reference;
    uint64_t next = 1;
    for (uint64_t step = draws.Below(600); step > 0; --step) {
      const std::string text = draws.Text(draws.OneIn(50) ? 100'000 : draws.OneIn(5) ? 3000 : 50);
      Entry entry = Frame(text, draws.OneIn(20) ? FrameKind::kBinary : FrameKind::kText);
      entry.time += std::chrono::nanoseconds(draws.Below(UINT64_MAX >> 2));
      if (draws.OneIn(30)) entry.what = std::make_unique<StateChange>();
      journal.Append(std::move(entry));
      if (!draws.OneIn(40)) continue;
      const auto channel = static_cast<uint32_t>(draws.Below(3));
      for (next = std::max(next, journal.oldest()); next <= journal.head(); ++next) {
        if (journal.at(next).frame() == nullptr) continue;
        encoder.Frame(channel, next, journal.at(next));
        reference.Frame(channel, next, journal.at(next));
      }
      ExpectSame(Parse(encoder.Finish()), reference.response());
      reference = {};
    }
  });
}

}  // namespace
}  // namespace fairlead
