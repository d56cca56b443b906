#include "base/measures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace fairlead {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

TEST(Histogram, CountsEachSpanOnce) {
  Histogram spans(ShortSpans());
  spans.Observe(microseconds(50));  // A bound belongs to the bucket below it.
  spans.Observe(microseconds(50) + Duration(1));
  spans.Observe(seconds(1));
  spans.Observe(seconds(2));
  spans.Observe(-seconds(9));  // A clock was set back.
  EXPECT_EQ(spans.count(0), 2u);
  EXPECT_EQ(spans.count(1), 1u);
  EXPECT_EQ(spans.count(12), 1u);
  EXPECT_EQ(spans.count(13), 1u);
  EXPECT_EQ(spans.sum(), microseconds(100) + Duration(1) + seconds(3));
  uint64_t all = 0;
  for (size_t i = 0; i <= spans.bounds().size(); ++i) all += spans.count(i);
  EXPECT_EQ(all, 5u);
}

TEST(Histogram, BoundsAscend) {
  for (const auto bounds : {ShortSpans(), LongSpans(), OutageSpans()}) {
    EXPECT_TRUE(std::ranges::is_sorted(bounds));
    EXPECT_EQ(std::ranges::adjacent_find(bounds), bounds.end());
    EXPECT_LE(bounds.size(), Histogram::kMostBounds);
  }
  EXPECT_EQ(ShortSpans().front(), microseconds(50));
}

TEST(SessionMeasures, KeepsTheLatestReconnects) {
  SessionMeasures measures;
  for (uint64_t i = 1; i <= 25; ++i) {
    measures.Reconnects({.time = {},
                         .identity = "dev",
                         .session = "md",
                         .generation = i,
                         .reason = i % 2 == 0 ? Reason::kPeerClosed : Reason::kPongTimeout});
  }
  EXPECT_EQ(measures.reconnects.at(Reason::kPeerClosed), 12u);
  EXPECT_EQ(measures.reconnects.at(Reason::kPongTimeout), 13u);
  ASSERT_EQ(measures.latest_reconnects.size(), SessionMeasures::kLatest);
  EXPECT_EQ(measures.latest_reconnects.front().generation, 6u);
  EXPECT_EQ(measures.latest_reconnects.back().generation, 25u);
}

TEST(RpcMeasures, CountFromAnyThread) {
  RpcMeasures measures;
  const auto work = [&] {
    for (int i = 0; i < 1000; ++i) {
      measures.StreamBegan(Rpc::kAttach);
      measures.Ended(Rpc::kSend, 0, microseconds(600));
      measures.StreamEnded(Rpc::kAttach, 1);
    }
  };
  std::thread other(work);
  work();
  other.join();
  measures.StreamBegan(Rpc::kTail);
  measures.Ended(Rpc::kSend, 99, seconds(1));  // A code that gRPC does not know yet.
  const auto values = measures.Copy();
  EXPECT_EQ(values.streams[static_cast<size_t>(Rpc::kAttach)], 0u);
  EXPECT_EQ(values.streams[static_cast<size_t>(Rpc::kTail)], 1u);
  EXPECT_EQ(values.ended[static_cast<size_t>(Rpc::kAttach)][1], 2000u);
  EXPECT_EQ(values.ended[static_cast<size_t>(Rpc::kSend)][0], 2000u);
  EXPECT_EQ(values.ended[static_cast<size_t>(Rpc::kSend)][kStatusCodes - 1], 1u);
  EXPECT_EQ(values.seconds[static_cast<size_t>(Rpc::kSend)].count(1), 2000u);
}

}  // namespace
}  // namespace fairlead
