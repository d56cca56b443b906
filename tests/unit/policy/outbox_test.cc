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

TEST(SendQueue, ReleasesInOrder) {
  SendQueue queue;
  queue.Wait(Item(1), kStart + 5s);
  queue.Wait(Item(2), kStart + 1s);
  EXPECT_THAT(Ids(queue.Release()), ElementsAre(1, 2));
  EXPECT_FALSE(queue.NextDeadline());
  EXPECT_THAT(queue.Release(), IsEmpty());
}

TEST(Outbox, TheTransportsEndReturnsWhatWasBound) {
  Outbox outbox;
  outbox.Bind(Item(1));
  outbox.Bind(Item(2));
  outbox.Bind(Item(3));
  outbox.Next();
  const Outbox::Left left = outbox.TransportEnded();
  ASSERT_TRUE(left.in_flight);
  EXPECT_EQ(left.in_flight->id, 1u);
  EXPECT_THAT(Ids(left.not_begun), ElementsAre(2, 3));
  EXPECT_EQ(outbox.Next(), nullptr);
  const Outbox::Left nothing = outbox.TransportEnded();
  EXPECT_FALSE(nothing.in_flight);
  EXPECT_THAT(nothing.not_begun, IsEmpty());
}

TEST(SendQueue, WaitingExpires) {
  SendQueue queue;
  queue.Wait(Item(1), kStart + 2s);
  queue.Wait(Item(2), kStart + 1s);
  queue.Wait(Item(3), kStart + 3s);
  EXPECT_EQ(queue.NextDeadline(), kStart + 1s);
  EXPECT_THAT(queue.Expired(kStart), IsEmpty());
  EXPECT_THAT(Ids(queue.Expired(kStart + 2s)), ElementsAre(1, 2));
  EXPECT_EQ(queue.NextDeadline(), kStart + 3s);
}

TEST(SendQueue, CountsBytesUntilAnItemLeaves) {
  SendQueue queue;
  queue.Wait(Item(1, "12345"), kStart);
  queue.Wait(Item(2, "123"), kStart + 1s);
  EXPECT_EQ(queue.bytes(), 69u + 67u);
  queue.Expired(kStart);
  EXPECT_EQ(queue.bytes(), 67u);
  queue.Release();
  EXPECT_EQ(queue.bytes(), 0u);
}

TEST(Outbox, CountsBytesUntilAnItemLeaves) {
  Outbox outbox;
  outbox.Bind(Item(1, "12345"));
  outbox.Bind(Item(2, "123"));
  EXPECT_EQ(outbox.bytes(), 69u + 67u);
  outbox.Next();
  EXPECT_EQ(outbox.bytes(), 69u + 67u) << "until it is written";
  outbox.Written();
  EXPECT_EQ(outbox.bytes(), 67u);
  outbox.TransportEnded();
  EXPECT_EQ(outbox.bytes(), 0u);
}

TEST(Outbox, GivesTheOwnersBackOnceAndKeepsItsOwn) {
  Outbox outbox;
  outbox.Bind(Item(1));
  outbox.Bind(Item(2));
  outbox.Bind({.what = Outgoing::What::kSetup, .payload = "login", .id = 3, .setup_key = "login"});
  outbox.Bind({.what = Outgoing::What::kHeartbeat, .payload = "ping"});
  outbox.Bind({.what = Outgoing::What::kPing, .payload = "", .id = 4});
  outbox.Next();
  EXPECT_THAT(Ids(outbox.Withdraw()), ElementsAre(2, 4)) << "the first is being written";
  EXPECT_THAT(outbox.Withdraw(), IsEmpty());
  EXPECT_EQ(outbox.Written().id, 1u);
  EXPECT_EQ(outbox.Next()->id, 3u);
  EXPECT_THAT(outbox.Withdraw(), IsEmpty());
  EXPECT_EQ(outbox.Written().setup_key, "login") << "the transport's setup goes on";
}

TEST(Outbox, WhatAFormerOwnerHasInFlightChangesNobodysSetup) {
  Outbox outbox;
  Outgoing send = Item(1);
  send.setup_key = "sub";
  send.forget_setup_keys = {"old"};
  outbox.Bind(std::move(send));
  outbox.Next();
  outbox.Withdraw();
  const Outgoing written = outbox.Written();
  EXPECT_EQ(written.id, 1u) << "its outcome is told all the same";
  EXPECT_THAT(written.setup_key, IsEmpty());
  EXPECT_THAT(written.forget_setup_keys, IsEmpty());
}

// Every item leaves exactly once; nothing bound to one transport is written to the next; the count returns to zero.
TEST(Outbox, KeepsItsPromisesWhateverHappens) {
  ForEachSeed(300, [](Draws& draws) {
    SendQueue queue;
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
          queue.Wait(make(), now + draws.Milliseconds(300));
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
          for (Outgoing& item : queue.Release()) outbox.Bind(std::move(item));
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
          for (const Outgoing& item : queue.Expired(now)) {
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
      EXPECT_EQ(queue.bytes() + outbox.bytes(), bytes);
    }
    const Outbox::Left ended = outbox.TransportEnded();
    if (ended.in_flight) leaves(*ended.in_flight);
    for (const Outgoing& item : ended.not_begun) leaves(item);
    for (const Outgoing& item : queue.Release()) leaves(item);
    EXPECT_EQ(left.size(), last_id);
    EXPECT_EQ(queue.bytes() + outbox.bytes(), 0u);
  });
}

}  // namespace
}  // namespace fairlead
