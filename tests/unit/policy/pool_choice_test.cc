#include "policy/pool_choice.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

TEST(DialsToBegin, OneForEachRequestThatNoneIsUnderWayFor) {
  struct Case {
    PoolCounts counts;
    size_t dials;
    const char* why;
  };
  const Case cases[] = {
      {{.idle = 0, .busy = 0, .dialling = 0, .waiting = 0, .room = 9}, 0, "nobody waits"},
      {{.idle = 0, .busy = 0, .dialling = 0, .waiting = 3, .room = 9}, 3, "three wait"},
      {{.idle = 0, .busy = 0, .dialling = 1, .waiting = 3, .room = 9}, 2, "one is under way"},
      {{.idle = 0, .busy = 0, .dialling = 3, .waiting = 3, .room = 9}, 0, "all are under way"},
      {{.idle = 0, .busy = 0, .dialling = 4, .waiting = 3, .room = 9}, 0, "one more than needed: its request is gone"},
      {{.idle = 0, .busy = 3, .dialling = 0, .waiting = 3, .room = 9}, 1, "the cap is four"},
      {{.idle = 0, .busy = 4, .dialling = 0, .waiting = 3, .room = 9}, 0, "the cap is reached"},
      {{.idle = 1, .busy = 2, .dialling = 1, .waiting = 9, .room = 9}, 0, "idle ones and dials count"},
      {{.idle = 0, .busy = 5, .dialling = 0, .waiting = 3, .room = 9}, 0, "beyond the cap is no wrap around"},
      {{.idle = 0, .busy = 0, .dialling = 0, .waiting = 3, .room = 2}, 2, "the total has room for two"},
      {{.busy = 1, .waiting = 1, .room = 9, .settling = 1}, 0, "one has just been answered"},
      {{.busy = 1, .waiting = 2, .room = 9, .settling = 1}, 1, "and serves one of two"},
      {{.idle = 0, .busy = 0, .dialling = 0, .waiting = 3, .room = 0}, 0, "the total has no room"},
  };
  const HttpOptions options{.connections_per_pool = 4};
  for (const Case& each : cases) EXPECT_EQ(DialsToBegin(each.counts, options), each.dials) << each.why;
}

TEST(MayCome, WhoGetsAConnectionADialOrAPlace) {
  struct Case {
    PoolCounts counts;
    uint32_t waiting_per_pool;
    bool may;
    const char* why;
  };
  const Case cases[] = {
      {{.idle = 1, .busy = 1, .dialling = 0, .waiting = 0, .room = 0}, 0, true, "an idle connection"},
      {{.idle = 1, .busy = 1, .dialling = 0, .waiting = 1, .room = 0}, 0, false, "another has it"},
      {{.idle = 0, .busy = 1, .dialling = 0, .waiting = 0, .room = 1}, 0, true, "a dial"},
      {{.idle = 0, .busy = 1, .dialling = 0, .waiting = 0, .room = 0}, 0, false, "the total has no room"},
      {{.idle = 0, .busy = 2, .dialling = 0, .waiting = 0, .room = 9}, 0, false, "the cap is reached"},
      {{.idle = 0, .busy = 2, .dialling = 0, .waiting = 0, .room = 9}, 2, true, "the first place"},
      {{.idle = 0, .busy = 2, .dialling = 0, .waiting = 1, .room = 9}, 2, true, "the last place"},
      {{.idle = 0, .busy = 2, .dialling = 0, .waiting = 2, .room = 9}, 2, false, "no place"},
      {{.idle = 0, .busy = 0, .dialling = 2, .waiting = 2, .room = 9}, 0, false, "dials are for those before it"},
      {{.idle = 0, .busy = 0, .dialling = 2, .waiting = 3, .room = 9}, 2, true, "those with a dial need no place"},
      {{.idle = 0, .busy = 0, .dialling = 2, .waiting = 4, .room = 9}, 2, false, "beside the dials two places"},
      {{.idle = 0, .busy = 1, .dialling = 1, .waiting = 0, .room = 9}, 1, true, "a dial whose request is gone"},
      {{.busy = 2, .waiting = 0, .room = 9, .settling = 1}, 0, true, "one that has just been answered"},
      {{.busy = 2, .waiting = 1, .room = 9, .settling = 1}, 0, false, "which another waits for"},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(MayCome(each.counts, {.connections_per_pool = 2, .waiting_per_pool = each.waiting_per_pool}), each.may)
        << each.why;
  }
}

// A dial that nobody is left for serves the next that comes, although nobody may wait.
TEST(MayCome, ADialWhoseRequestIsGoneIsForTheNext) {
  EXPECT_TRUE(MayCome({.dialling = 1, .room = 9}, {.connections_per_pool = 1, .waiting_per_pool = 0}));
}

TEST(IsComingFor, TheFirstAsManyAsConnectionsAreOnTheirWay) {
  const PoolCounts counts{.dialling = 2, .waiting = 4};
  EXPECT_TRUE(IsComingFor(0, counts));
  EXPECT_TRUE(IsComingFor(1, counts));
  EXPECT_FALSE(IsComingFor(2, counts));
  EXPECT_FALSE(IsComingFor(0, {.waiting = 1}));
  EXPECT_TRUE(IsComingFor(2, {.busy = 1, .dialling = 2, .waiting = 4, .settling = 1}));
}

TEST(HttpOptions, AMessageHasRoomForTheLongestResponse) {
  Limits limits;
  EXPECT_EQ(HttpOptions{}.MostResponseBytes(limits), 64 * kMiB - 128 * kKiB - 4 * kKiB);
  limits.message_bytes = 64 * kKiB;
  EXPECT_EQ(HttpOptions{.response_header_bytes = 16 * kKiB}.MostResponseBytes(limits), 28 * kKiB);
}

}  // namespace
}  // namespace fairlead
