#include "policy/outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "support/random.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr SteadyTime kStart{1h};

Outgoing Item(uint64_t id, std::string payload = "") { return {.payload = std::move(payload), .id = id}; }

std::vector<uint64_t> Ids(const std::vector<Outgoing>& items) {
  std::vector<uint64_t> ids;
  for (const Outgoing& item : items) ids.push_back(item.id);
  return ids;
}

TEST(Outbox, WritesOneAtATimeInOrder) {
  Outbox outbox;
  EXPECT_EQ(outbox.Next(), nullptr);
  outbox.Bind(Item(1));
  outbox.Bind(Item(2));
  ASSERT_NE(outbox.Next(), nullptr);
  EXPECT_TRUE(outbox.in_flight());
  EXPECT_EQ(outbox.Next(), nullptr) << "one is in flight";
  EXPECT_EQ(outbox.Written().id, 1u);
  EXPECT_EQ(outbox.Next()->id, 2u);
  EXPECT_EQ(outbox.Written().id, 2u);
  EXPECT_EQ(outbox.Next(), nullptr);
}

TEST(Outbox, WhatWaitsIsBoundInOrderBehindWhatIsBound) {
  Outbox outbox;
  outbox.Wait(Item(2), kStart + 5s);
  outbox.Wait(Item(3), kStart + 1s);
  EXPECT_EQ(outbox.Next(), nullptr) << "waiting is not bound";
  outbox.Bind(Item(1));
  outbox.BindWaiting();
  EXPECT_FALSE(outbox.NextDeadline());
  for (const uint64_t id : {1, 2, 3}) {
    EXPECT_EQ(outbox.Next()->id, id);
    outbox.Written();
  }
}

TEST(Outbox, TheTransportsEndReturnsWhatWasBoundAndKeepsWhatWaits) {
  Outbox outbox;
  outbox.Bind(Item(1));
  outbox.Bind(Item(2));
  outbox.Bind(Item(3));
  outbox.Wait(Item(4), kStart + 1s);
  outbox.Next();
  const Outbox::Left left = outbox.TransportEnded();
  ASSERT_TRUE(left.in_flight);
  EXPECT_EQ(left.in_flight->id, 1u);
  EXPECT_THAT(Ids(left.not_begun), ElementsAre(2, 3));
  EXPECT_EQ(outbox.Next(), nullptr);
  EXPECT_EQ(outbox.NextDeadline(), kStart + 1s);
  const Outbox::Left nothing = outbox.TransportEnded();
  EXPECT_FALSE(nothing.in_flight);
  EXPECT_THAT(nothing.not_begun, IsEmpty());
}

TEST(Outbox, WaitingExpires) {
  Outbox outbox;
  outbox.Wait(Item(1), kStart + 2s);
  outbox.Wait(Item(2), kStart + 1s);
  outbox.Wait(Item(3), kStart + 3s);
  EXPECT_EQ(outbox.NextDeadline(), kStart + 1s);
  EXPECT_THAT(outbox.Expired(kStart), IsEmpty());
  EXPECT_THAT(Ids(outbox.Expired(kStart + 2s)), ElementsAre(1, 2));
  EXPECT_EQ(outbox.NextDeadline(), kStart + 3s);
  EXPECT_THAT(Ids(outbox.Abandon()), ElementsAre(3));
  EXPECT_FALSE(outbox.NextDeadline());
}

TEST(Outbox, CountsBytesUntilAnItemLeaves) {
  Outbox outbox;
  outbox.Wait(Item(1, "12345"), kStart);
  outbox.Bind(Item(2, "123"));
  EXPECT_EQ(outbox.bytes(), 69u + 67u);
  outbox.Next();
  EXPECT_EQ(outbox.bytes(), 69u + 67u) << "until it is written";
  outbox.Written();
  EXPECT_EQ(outbox.bytes(), 69u);
  outbox.BindWaiting();
  EXPECT_EQ(outbox.bytes(), 69u);
  outbox.TransportEnded();
  EXPECT_EQ(outbox.bytes(), 0u);
}

// Every item leaves exactly once; nothing bound to one transport is written to the next; the count returns to zero.
TEST(Outbox, KeepsItsPromisesWhateverHappens) {
  ForEachSeed(300, [](Draws& draws) {
    Outbox outbox;
    SteadyTime now = kStart;
    uint64_t last_id = 0;
    uint64_t transport = 1;
    std::map<uint64_t, uint64_t> bound_to;  // By id; those that wait are not in it.
    std::set<uint64_t> waiting;
    std::set<uint64_t> left;
    std::map<uint64_t, size_t> cost;
    size_t bytes = 0;
    const auto leaves = [&](const Outgoing& item) {
      EXPECT_TRUE(left.insert(item.id).second) << item.id << " leaves twice";
      waiting.erase(item.id);
      bytes -= cost[item.id];
    };
    const auto make = [&] {
      Outgoing item = Item(++last_id, draws.Text(100));
      bytes += cost[last_id] = 64 + item.payload.size();
      return item;
    };
    for (int step = 0; step < 300; ++step) {
      now += draws.Milliseconds(50);
      switch (draws.Below(8)) {
        case 0:
        case 1:
          outbox.Wait(make(), now + draws.Milliseconds(300));
          waiting.insert(last_id);
          break;
        case 2:
        case 3:
          outbox.Bind(make());
          bound_to[last_id] = transport;
          break;
        case 4:
          for (const uint64_t id : waiting) bound_to[id] = transport;
          waiting.clear();
          outbox.BindWaiting();
          break;
        case 5:
          if (outbox.in_flight()) {
            EXPECT_EQ(outbox.Next(), nullptr);
            leaves(outbox.Written());
          } else if (const Outgoing* next = outbox.Next()) {
            ASSERT_TRUE(bound_to.contains(next->id));
            EXPECT_EQ(bound_to[next->id], transport) << next->id << " belongs to another transport";
          }
          break;
        case 6:
          for (const Outgoing& item : outbox.Expired(now)) {
            EXPECT_TRUE(waiting.contains(item.id));
            leaves(item);
          }
          break;
        default:
          if (draws.OneIn(3)) {
            const Outbox::Left ended = outbox.TransportEnded();
            if (ended.in_flight) leaves(*ended.in_flight);
            for (const Outgoing& item : ended.not_begun) leaves(item);
            ++transport;
          }
      }
      EXPECT_EQ(outbox.bytes(), bytes);
    }
    const Outbox::Left ended = outbox.TransportEnded();
    if (ended.in_flight) leaves(*ended.in_flight);
    for (const Outgoing& item : ended.not_begun) leaves(item);
    for (const Outgoing& item : outbox.Abandon()) leaves(item);
    EXPECT_EQ(left.size(), last_id);
    EXPECT_EQ(outbox.bytes(), 0u);
  });
}

}  // namespace
}  // namespace fairlead
