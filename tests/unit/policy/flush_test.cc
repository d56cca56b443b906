#include "policy/flush.h"

#include <gtest/gtest.h>

#include "support/random.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime kStart{1h};

TEST(Flush, NothingWaitsAtFirst) {
  const Flush flush({});
  EXPECT_FALSE(flush.When(kStart));
}

TEST(Flush, AtOnceWhenItHasBeenQuiet) {
  Flush flush({});
  flush.Waits(100, 500us);
  EXPECT_EQ(flush.When(kStart), kStart);
  flush.Flushed(kStart);
  EXPECT_FALSE(flush.When(kStart));
  flush.Waits(100, 500us);
  EXPECT_EQ(flush.When(kStart + 1ms), kStart + 1ms);
}

TEST(Flush, NotBeforeAWindowSinceTheLast) {
  Flush flush({});
  flush.Flushed(kStart);
  flush.Waits(100, 500us);
  EXPECT_EQ(flush.When(kStart + 100us), kStart + 500us);
}

TEST(Flush, TheMostImpatientDecides) {
  Flush flush({});
  flush.Flushed(kStart);
  flush.Waits(1, 500us);
  flush.Waits(1, 200us);
  flush.Waits(1, 1s);
  EXPECT_EQ(flush.When(kStart), kStart + 200us);
  flush.Flushed(kStart + 200us);
  flush.Waits(1, 1s);
  EXPECT_EQ(flush.When(kStart + 200us), kStart + 1s + 200us) << "the window is that of those who wait";
}

TEST(Flush, AFullBatchDoesNotWait) {
  Flush by_frames({.frames = 3, .bytes = 1000});
  by_frames.Flushed(kStart);
  by_frames.Waits(1, 1s);
  by_frames.Waits(1, 1s);
  EXPECT_EQ(by_frames.When(kStart), kStart + 1s);
  by_frames.Waits(1, 1s);
  EXPECT_EQ(by_frames.When(kStart), kStart);

  Flush at_once({.frames = 3, .bytes = 1000});
  at_once.Flushed(kStart);
  at_once.Waits(1, 1s, 3);
  EXPECT_EQ(at_once.When(kStart), kStart) << "frames that came together";

  Flush by_bytes({.frames = 100, .bytes = 1000});
  by_bytes.Flushed(kStart);
  by_bytes.Waits(999, 1s);
  EXPECT_EQ(by_bytes.When(kStart), kStart + 1s);
  by_bytes.Waits(1, 1s);
  EXPECT_EQ(by_bytes.When(kStart), kStart);
}

TEST(Flush, ABacklogAndAnUrgentEventDoNotWait) {
  Flush flush({});
  flush.Flushed(kStart);
  flush.Backlog();
  EXPECT_EQ(flush.When(kStart), kStart);
  flush.Flushed(kStart);
  EXPECT_FALSE(flush.When(kStart));
  flush.Urgent();
  EXPECT_EQ(flush.When(kStart), kStart);
  flush.Flushed(kStart);
  EXPECT_FALSE(flush.When(kStart));
}

// Whoever flushes when told so: nothing waits longer than its window, no batch grows beyond what makes it full, and two
// flushes without need are a window apart.
TEST(Flush, KeepsItsPromisesWhateverHappens) {
  ForEachSeed(300, [](Draws& draws) {
    const Flush::Batch batch{.frames = draws.Between(1, 20), .bytes = draws.Between(1, 5000)};
    Flush flush(batch);
    SteadyTime now = kStart;
    std::optional<SteadyTime> latest;  // By when what waits must be gone.
    std::optional<SteadyTime> last_flush;
    Duration least_window = 0s;
    size_t frames = 0;
    size_t bytes = 0;
    bool urgent = false;
    for (int step = 0; step < 400; ++step) {
      const auto when = flush.When(now);
      EXPECT_EQ(when.has_value(), frames > 0 || urgent);
      const SteadyTime event = now + std::chrono::microseconds(draws.Below(300));
      if (when && *when <= event) {
        EXPECT_GE(*when, now);
        if (latest) {
          EXPECT_LE(*when, *latest);
        }
        const bool full = frames >= batch.frames || bytes >= batch.bytes;
        if (!full && !urgent && last_flush) {
          EXPECT_GE(*when - *last_flush, least_window) << "it could have waited for company";
        }
        now = *when;
        flush.Flushed(now);
        last_flush = now;
        latest.reset();
        frames = bytes = 0;
        urgent = false;
        continue;
      }
      now = event;
      EXPECT_LT(frames, batch.frames);
      EXPECT_LT(bytes, batch.bytes);
      if (draws.OneIn(10)) {
        flush.Urgent();
        urgent = true;
        continue;
      }
      const size_t size = draws.Below(800);
      const Duration window = std::chrono::microseconds(draws.Below(1000));
      flush.Waits(size, window);
      least_window = frames == 0 ? window : std::min(least_window, window);
      latest = std::min(latest.value_or(now + window), now + window);
      ++frames;
      bytes += size;
    }
  });
}

}  // namespace
}  // namespace fairlead
