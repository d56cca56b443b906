// Sessions under faults, for ten thousand seeds: the promises of DESIGN.md section 4, and a table of what was reached.
//
//   simulation                   all seeds
//   FAIRLEAD_SEED=17 simulation  one seed, and what happens in it
//   FAIRLEAD_SEEDS=500 simulation
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "simulation/world.h"

namespace fairlead::simulation {
namespace {

// With sanitizers each seed takes ten times as long: a tenth of them must do.
#if defined(__has_feature) && __has_feature(address_sanitizer)
constexpr uint64_t kSeeds = 1'000;
#else
constexpr uint64_t kSeeds = 10'000;
#endif
// How often each pair of place and fault is to be met in ten thousand seeds.
constexpr uint64_t kLeast = 100;

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
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::string complaint = RunSeed(seed, table, /*trace=*/false);
    ASSERT_TRUE(complaint.empty() && !HasFailure()) << "FAIRLEAD_SEED=" << seed << ": " << complaint;
  }
  std::printf("%llu seeds of %d events; how often each fault has met a session in each place:\n%s",
              static_cast<unsigned long long>(seeds), World::kEvents, table.Text().c_str());
  for (const std::string& complaint : table.Complaints(kLeast * seeds / 10'000)) ADD_FAILURE() << complaint;
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
