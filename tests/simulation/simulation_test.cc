// Sessions under faults, for ten thousand seeds: the promises of DESIGN.md section 4, and a table of what was reached.
//
//   simulation                   all seeds
//   FAIRLEAD_SEED=17 simulation  one seed, and what happens in it
//   FAIRLEAD_SEEDS=500 simulation
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "base/log.h"
#include "simulation/world.h"

namespace fairlead::simulation {
namespace {

// With sanitizers, when each takes ten times as long, a part of them must do.
constexpr uint64_t kSeeds = SIMULATION_SEEDS;
// How often each pair of place and fault is to be met in ten thousand seeds.
constexpr uint64_t kLeast = 100;
// Of seeds that fail: others need not be looked for.
constexpr uint64_t kEnough = 10;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// What was wrong with it; empty: nothing.
std::string RunSeed(uint64_t seed, Table& table, bool trace, uint64_t* fingerprint = nullptr) {
  Draws draws(seed);
  World world(draws, table, trace);
  std::string complaint = world.Run();
  if (fingerprint != nullptr) *fingerprint = world.fingerprint();
  return complaint;
}

TEST(Simulation, ThePromisesHoldWhateverHappens) {
  Table table;
  if (const uint64_t seed = FromEnvironment("FAIRLEAD_SEED", 0); seed != 0) {
    EXPECT_EQ(RunSeed(seed, table, /*trace=*/true), "");
    return;
  }
  const uint64_t seeds = FromEnvironment("FAIRLEAD_SEEDS", kSeeds);
  uint64_t failed = 0;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::string complaint = RunSeed(seed, table, /*trace=*/false);
    if (!complaint.empty()) ADD_FAILURE() << "FAIRLEAD_SEED=" << seed << ": " << complaint, ++failed;
    ASSERT_TRUE(failed < kEnough && (failed > 0 || !HasFailure())) << "FAIRLEAD_SEED=" << seed;
  }
  std::cout << seeds << " seeds of " << World::kEvents << " events: " << table.sums.sessions << " sessions ("
            << table.sums.blind_sessions << " with too short a ring for the model to follow), " << table.sums.transports
            << " transports, " << table.sums.entries << " entries, " << table.sums.commands << " commands, "
            << table.sums.copies << " copies (" << table.sums.unsure
            << " frames might be or not); how often each fault met a session in each place:\n"
            << table.Text();
  // Few seeds scatter more: half of their share must do.
  const uint64_t least = seeds < 10'000 ? kLeast * seeds / 20'000 : kLeast;
  for (const std::string& complaint : table.Complaints(least)) ADD_FAILURE() << complaint;
}

TEST(Simulation, ASeedIsTheSameRunEachTime) {
  Table table;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    uint64_t first = 0;
    uint64_t second = 1;
    RunSeed(seed, table, /*trace=*/false, &first);
    RunSeed(seed, table, /*trace=*/false, &second);
    EXPECT_EQ(first, second) << "FAIRLEAD_SEED=" << seed;
  }
}

}  // namespace
}  // namespace fairlead::simulation

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  fairlead::SetLogLevel(fairlead::Level::kError);
  return RUN_ALL_TESTS();
}
