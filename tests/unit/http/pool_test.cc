// A pool, seen through an engine: who gets which connection, and when.
#include "http/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/http_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

HttpRequest Patient(HttpRequest request) {
  request.max_wait = 1h;
  request.timeout = 2h;
  return request;
}

TEST(Pool, KeepsConnectionsAlive) {
  HttpTestbed bed;
  for (int i = 0; i < 5; ++i) {
    Asked& asked = bed.Sent(GetApi("/" + std::to_string(i)));
    bed.Answer(bed.peer());
    ASSERT_EQ(asked.Told(), "200 ok");
    EXPECT_EQ(asked.outcome()->reused_connection, i > 0);
    EXPECT_EQ(asked.outcome()->timing.connection.has_value(), i == 0) << "made for it";
  }
  EXPECT_THAT(bed.connector.origins, ElementsAre("https://api.example.com:443"));
  EXPECT_EQ(bed.peer().requests.size(), 5u);
  EXPECT_THAT(bed.peer().requests.at(3).text, testing::StartsWith("GET /3 HTTP/1.1\r\nHost: api.example.com\r\n"));
  EXPECT_EQ(bed.connector.timeouts.front(), bed.options.dial_timeout);
  bed.ExpectNothingLeft();
}

TEST(Pool, UsesTheMostRecentlyUsedConnection) {
  HttpTestbed bed;
  for (int i = 0; i < 3; ++i) bed.Ask(GetApi());
  bed.time.Settle();
  ASSERT_EQ(bed.connector.peers.size(), 3u);
  for (const int number : {0, 2, 1}) {
    bed.Answer(bed.peer(number));
    bed.time.Advance(1ms);
  }
  bed.Sent(GetApi("/a"));
  bed.Sent(GetApi("/b"));
  EXPECT_EQ(bed.peer(1).requests.size(), 2u) << "the last that became idle";
  EXPECT_EQ(bed.peer(2).requests.size(), 2u);
  EXPECT_EQ(bed.peer(0).requests.size(), 1u) << "so that it may go";
  bed.ExpectNothingLeft();
}

TEST(Pool, ClosesWhatIsIdleForTooLong) {
  HttpTestbed bed;
  bed.options.idle_timeout = 30s;
  for (int i = 0; i < 2; ++i) bed.Ask(GetApi());
  bed.time.Settle();
  bed.Answer(bed.peer(0));
  bed.time.Advance(5s);
  bed.Answer(bed.peer(1));
  bed.time.Advance(25s - 1ns);
  EXPECT_EQ(bed.connector.open(), 2u);
  bed.time.Advance(1ns);
  EXPECT_FALSE(bed.peer(0).open());
  EXPECT_TRUE(bed.peer(1).open());
  bed.Sent(GetApi());
  bed.Answer(bed.peer(1));
  bed.time.Advance(30s - 1ns);
  EXPECT_TRUE(bed.peer(1).open()) << "its time begins again";
  bed.time.Advance(1ns);
  EXPECT_FALSE(bed.peer(1).open());
  EXPECT_EQ(bed.engine().totals().connections, 0u);
  bed.ExpectNothingLeft();
}

TEST(Pool, WithoutIdleTimeConnectionsAreUsedOnce) {
  HttpTestbed bed;
  bed.options.idle_timeout = 0s;
  bed.options.connections_per_pool = 1;
  Asked& first = bed.Ask(GetApi());
  Asked& second = bed.Ask(GetApi());
  bed.time.Settle();
  bed.Answer(bed.peer());
  EXPECT_EQ(first.Told(), "200 ok");
  EXPECT_FALSE(bed.peer(0).open());
  ASSERT_EQ(bed.connector.peers.size(), 2u);
  bed.Answer(bed.peer(1));
  EXPECT_EQ(second.Told(), "200 ok");
  EXPECT_FALSE(second.outcome()->reused_connection);
  EXPECT_EQ(bed.connector.open(), 0u);
  bed.ExpectNothingLeft();
}

TEST(Pool, DoesNotUseAConnectionThatHasGoneStale) {
  for (const std::string event : {"end", "bytes", "reset"}) {
    HttpTestbed bed;
    bed.Sent(GetApi());
    bed.Answer(bed.peer());
    if (event == "end") bed.peer().End();
    if (event == "bytes") bed.peer().Answer("HTTP/1.1 408 \r\n\r\n");
    if (event == "reset") bed.peer().Reset();
    // In the same turn: the connection has not been told yet.
    Asked& asked = bed.Ask(PostApi("order"));
    EXPECT_EQ(bed.peer(0).requests.size(), 1u) << "the order would be lost, or worse";
    bed.time.Settle();
    ASSERT_EQ(bed.connector.peers.size(), 2u);
    bed.Answer(bed.peer(1));
    EXPECT_EQ(asked.Told(), "200 ok");
    bed.ExpectNothingLeft();
  }
}

// Session tickets, key updates: the kernel has bytes, but nothing comes of them.
TEST(Pool, UsesAConnectionOnWhichOnlyTlsSpoke) {
  HttpTestbed bed;
  bed.options.connections_per_pool = 1;
  bed.Sent(GetApi());
  bed.Answer(bed.peer());
  bed.peer().Murmur();
  Asked& asked = bed.Ask(GetApi());
  EXPECT_EQ(bed.peer().requests.size(), 1u) << "it cannot be known yet";
  bed.time.Advance(5ms);
  EXPECT_EQ(bed.peer().requests.size(), 2u) << "it waits no longer than that";
  bed.Answer(bed.peer());
  EXPECT_EQ(asked.Told(), "200 ok");
  bed.ExpectNothingLeft();
}

TEST(Pool, ServesInOrderOfArrivalAndNeverBeyondItsCap) {
  HttpTestbed bed;
  bed.options.connections_per_pool = 8;
  std::vector<Asked*> asked;
  for (int i = 0; i < 200; ++i) asked.push_back(&bed.Ask(Patient(GetApi("/" + std::to_string(i)))));
  bed.time.Settle();
  size_t next_sent = 0;
  std::map<HttpPeer*, size_t> seen;
  while (true) {
    EXPECT_LE(bed.connector.open() + bed.connector.under_way(), 8u);
    EXPECT_LE(bed.engine().totals().connections, 8u);
    std::vector<std::pair<size_t, HttpPeer*>> busy;
    for (const auto& peer : bed.connector.peers) {
      if (peer->requests.size() == seen[peer.get()]) continue;
      ++seen[peer.get()];
      ASSERT_EQ(peer->requests.size(), seen[peer.get()]);
      const std::string& text = peer->requests.back().text;
      busy.emplace_back(std::stoull(text.substr(text.find('/') + 1)), peer.get());
    }
    if (busy.empty()) break;
    std::ranges::sort(busy);
    for (const auto& [number, peer] : busy) {
      EXPECT_EQ(number, next_sent++) << "in order of arrival";
      bed.Answer(*peer, Ok(std::to_string(number)));
      break;
    }
    // One answer at a time, so that exactly one request follows it.
    for (size_t i = 1; i < busy.size(); ++i) --seen[busy[i].second];
  }
  EXPECT_EQ(bed.connector.peers.size(), 8u);
  for (size_t i = 0; i < asked.size(); ++i) EXPECT_EQ(asked[i]->Told(), "200 " + std::to_string(i));
  bed.ExpectNothingLeft();
}

TEST(Pool, DialsOnceForEachThatWaits) {
  HttpTestbed bed;
  bed.connector.accepts = false;
  bed.Ask(GetApi("/0"));
  bed.Ask(GetApi("/1"));
  bed.Ask(GetApi("/2"));
  EXPECT_EQ(bed.connector.under_way(), 3u);
  bed.connector.Accept(2);
  bed.time.Settle();
  EXPECT_THAT(bed.peer().requests.at(0).text, HasSubstr("/0 ")) << "whichever comes first serves the head";
  bed.Answer(bed.peer());
  EXPECT_THAT(bed.peer().requests.at(1).text, HasSubstr("/1 ")) << "and so does one that becomes free";
  EXPECT_EQ(bed.connector.under_way(), 2u);
  bed.connector.Accept();
  bed.time.Settle();
  EXPECT_THAT(bed.peer(1).requests.at(0).text, HasSubstr("/2 "));
  bed.connector.Accept();
  bed.time.Settle();
  EXPECT_TRUE(bed.peer(2).open() && bed.peer(2).requests.empty()) << "kept for the next";
  Asked& next = bed.Sent(GetApi("/3"));
  EXPECT_EQ(bed.peer(2).requests.size(), 1u);
  bed.Answer(bed.peer(2));
  EXPECT_FALSE(next.outcome()->reused_connection) << "it had carried none before";
  EXPECT_TRUE(next.outcome()->timing.connection);
  bed.ExpectNothingLeft();
}

TEST(Pool, ADialThatFailsFailsTheHeadAndNobodyElse) {
  HttpTestbed bed;
  bed.connector.accepts = false;
  bed.options.connections_per_pool = 2;
  Asked& first = bed.Ask(Patient(PostApi("a", "/1")));
  Asked& second = bed.Ask(Patient(PostApi("b", "/2")));
  Asked& third = bed.Ask(Patient(PostApi("c", "/3")));
  EXPECT_EQ(bed.connector.under_way(), 2u);
  bed.connector.Refuse(Reason::kDialTimeout, 1);
  EXPECT_EQ(first.Told(), "DIAL_TIMEOUT NOT_SENT");
  EXPECT_EQ(first.message(), "as the test wants");
  EXPECT_EQ(second.Told(), "nothing yet");
  EXPECT_EQ(bed.connector.under_way(), 2u) << "one more, for the third";
  bed.connector.Refuse(Reason::kCertificateRejected);
  EXPECT_EQ(second.Told(), "CERTIFICATE_REJECTED NOT_SENT");
  EXPECT_EQ(bed.connector.under_way(), 1u) << "one is left, and one dial for it";
  bed.connector.Accept();
  bed.time.Settle();
  bed.Answer(bed.peer());
  EXPECT_EQ(third.Told(), "200 ok");
  bed.ExpectNothingLeft();
}

TEST(Pool, SoManyMayWait) {
  HttpTestbed bed;
  bed.options.connections_per_pool = 1;
  bed.options.waiting_per_pool = 2;
  bed.connector.accepts = false;
  bed.Ask(GetApi());  // Has the dial.
  bed.Ask(GetApi());
  Asked& last = bed.Ask(GetApi());
  Asked& refused = bed.Ask(GetApi());
  EXPECT_EQ(refused.Told(), "LIMIT_REACHED NOT_SENT");
  EXPECT_THAT(refused.message(), HasSubstr("http.waiting_per_pool, 2"));
  EXPECT_THAT(refused.message(), HasSubstr("https://api.example.com:443"));
  last.Drop();
  EXPECT_EQ(bed.Ask(GetApi()).Told(), "nothing yet") << "its place is free again";
  Asked& elsewhere = bed.Ask(Get("https://other.example.com/"));
  EXPECT_EQ(elsewhere.Told(), "nothing yet") << "another pool has places of its own";
  bed.ExpectNothingLeft();
}

TEST(Pool, WhereNobodyMayWaitADialServes) {
  HttpTestbed bed;
  bed.options.connections_per_pool = 1;
  bed.options.waiting_per_pool = 0;
  bed.connector.accepts = false;
  Asked& first = bed.Ask(GetApi());
  EXPECT_EQ(bed.Ask(GetApi()).Told(), "LIMIT_REACHED NOT_SENT");
  first.Drop();
  Asked& heir = bed.Ask(GetApi());
  EXPECT_EQ(heir.Told(), "nothing yet") << "the dial is for nobody else";
  EXPECT_EQ(bed.connector.under_way(), 1u);
  bed.connector.Accept();
  bed.time.Settle();
  bed.Answer(bed.peer());
  EXPECT_EQ(heir.Told(), "200 ok");
  EXPECT_EQ(bed.Ask(GetApi()).Told(), "nothing yet") << "the idle connection";
  EXPECT_EQ(bed.Ask(GetApi()).Told(), "LIMIT_REACHED NOT_SENT");
  bed.ExpectNothingLeft();
}

TEST(Pool, DialsAgainForTheWaitingWhenAConnectionIsLost) {
  HttpTestbed bed;
  bed.options.connections_per_pool = 1;
  Asked& first = bed.Ask(GetApi("/1"));
  Asked& second = bed.Ask(GetApi("/2"));
  bed.time.Settle();
  bed.peer().Reset();
  bed.time.Settle();
  EXPECT_EQ(first.Told(), "CONNECTION_LOST SENT_NO_REPLY");
  ASSERT_EQ(bed.connector.peers.size(), 2u);
  ASSERT_EQ(bed.peer().requests.size(), 1u);
  EXPECT_THAT(bed.peer().requests.at(0).text, HasSubstr("/2 ")) << "the lost one is never sent twice";
  bed.Answer(bed.peer());
  EXPECT_EQ(second.Told(), "200 ok");
  bed.ExpectNothingLeft();
}

// An exchange that greets, or hangs up at once.
TEST(Pool, DialsAgainWhenAConnectionIsUselessFromTheStart) {
  for (const bool greets : {false, true}) {
    HttpTestbed bed;
    bed.options.connections_per_pool = 1;
    bed.connector.accepts = false;
    HttpRequest request = GetApi();
    request.max_wait = 0s;
    Asked& asked = bed.Sent(request);
    bed.connector.prepare = [greets](HttpPeer& peer) { greets ? peer.Answer("220 welcome\r\n") : peer.End(); };
    bed.connector.Accept();
    bed.connector.prepare = {};
    bed.time.Settle();
    EXPECT_THAT(bed.peer(0).requests, testing::IsEmpty());
    EXPECT_FALSE(bed.peer(0).open());
    ASSERT_EQ(bed.connector.under_way(), 1u) << "at once: it holds its place";
    bed.connector.Accept();
    bed.time.Settle();
    bed.Answer(bed.peer(1));
    EXPECT_EQ(asked.Told(), "200 ok");
    bed.ExpectNothingLeft();
  }
}

}  // namespace
}  // namespace fairlead
