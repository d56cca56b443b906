#include "policy/frame_blocks.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/random.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kTime{1h};

TEST(FrameBlocks, AFrameStandsAsOnTheWire) {
  FrameBlocks blocks;
  const FrameEntry frame = blocks.Append(FrameKind::kBinary, "abc", WallTime(Duration(7)));
  EXPECT_EQ(frame.kind, FrameKind::kBinary);
  EXPECT_EQ(frame.payload, "abc");
  EXPECT_EQ(frame.encoded(),
            "\x12\x03"
            "abc");
  EXPECT_EQ(frame.block->times()[frame.index], 7u);
  EXPECT_EQ(blocks.Append(FrameKind::kText, "", kTime).encoded(), std::string_view("\x12\x00", 2));
  EXPECT_EQ(blocks.Append(FrameKind::kText, std::string(300, 'x'), kTime).encoded().substr(0, 4), "\x12\xac\x02x");
}

TEST(FrameBlocks, FramesLieNextToEachOther) {
  FrameBlocks blocks;
  const FrameEntry first = blocks.Append(FrameKind::kText, "first", kTime);
  const FrameEntry second = blocks.Append(FrameKind::kText, "second", kTime);
  EXPECT_EQ(first.block, second.block);
  EXPECT_EQ(second.index, first.index + 1);
  EXPECT_EQ(first.encoded().data() + first.encoded().size(), second.encoded().data());
}

TEST(FrameBlocks, AQuietSessionHoldsLittle) {
  FrameBlocks blocks;
  EXPECT_EQ(blocks.held(), 0u);
  blocks.Append(FrameKind::kText, "x", kTime);
  EXPECT_LE(blocks.held(), FrameBlocks::kLeastBytes * 9 / 8);
}

TEST(FrameBlocks, BlocksGrowUntilTheyAreLarge) {
  FrameBlocks blocks;
  std::vector<const FrameBlock*> all;
  for (int i = 0; i < 10'000; ++i) {
    const FrameEntry frame = blocks.Append(FrameKind::kText, std::string(200, 'x'), kTime);
    if (all.empty() || all.back() != frame.block) all.push_back(frame.block);
  }
  EXPECT_LE(all.size(), 5u + 10'000 * 203 / (FrameBlocks::kMostBytes - 203) + 1);
}

TEST(FrameBlocks, AFrameLongerThanABlockHasOneOfItsOwn) {
  FrameBlocks blocks;
  const size_t bytes = 10 * FrameBlocks::kMostBytes;
  const FrameEntry frame = blocks.Append(FrameKind::kText, std::string(bytes, 'x'), kTime);
  EXPECT_EQ(frame.payload.size(), bytes);
  EXPECT_LE(blocks.held(), bytes + 16);
}

TEST(FrameBlocks, WhatIsReleasedGoesBlockByBlock) {
  FrameBlocks blocks;
  for (int i = 0; i < 10'000; ++i) blocks.Append(FrameKind::kText, std::string(200, 'x'), kTime);
  const size_t held = blocks.held();
  for (int i = 0; i < 5'000; ++i) blocks.Release();
  EXPECT_LE(blocks.held(), held / 2 + 2 * FrameBlocks::kMostBytes);
  for (int i = 0; i < 5'000; ++i) blocks.Release();
  EXPECT_LE(blocks.held(), FrameBlocks::kMostBytes * 9 / 8) << "the one that is being filled";
}

TEST(FrameBlocks, ASharedBlockOutlivesThem) {
  std::shared_ptr<const FrameBlock> shared;
  std::string_view payload;
  {
    FrameBlocks blocks;
    const FrameEntry frame = blocks.Append(FrameKind::kText, "still here", kTime);
    shared = frame.block->shared_from_this();
    payload = frame.payload;
  }
  EXPECT_EQ(payload, "still here");
}

// What the journal counts, a payload and 64 bytes an entry, bounds what is held, whatever comes.
TEST(FrameBlocks, HoldsAboutWhatIsCounted) {
  ForEachSeed(300, [](Draws& draws) {
    FrameBlocks blocks;
    std::deque<FrameEntry> frames;
    std::deque<std::string> texts;
    size_t counted = 0;
    const size_t limit = draws.Between(1000, 500'000);
    const size_t longest = draws.OneIn(3) ? 100'000 : draws.OneIn(2) ? 3000 : 100;
    for (int step = 0; step < 1000; ++step) {
      texts.push_back(draws.Text(draws.OneIn(4) ? longest : 50));
      const WallTime time = kTime + draws.Milliseconds(1000);
      frames.push_back(blocks.Append(FrameKind::kText, texts.back(), time));
      EXPECT_EQ(frames.back().block->times()[frames.back().index],
                static_cast<uint64_t>(time.time_since_epoch().count()));
      counted += 64 + texts.back().size();
      while (counted > limit && frames.size() > 1) {
        counted -= 64 + texts.front().size();
        frames.pop_front();
        texts.pop_front();
        blocks.Release();
      }
      // Half of a block may be empty where a long frame follows, and the last one is just being filled.
      EXPECT_LE(blocks.held(), 2 * counted + 3 * FrameBlocks::kMostBytes + longest);
    }
    for (size_t i = 0; i < frames.size(); ++i) EXPECT_EQ(frames[i].payload, texts[i]);
  });
}

}  // namespace
}  // namespace fairlead
