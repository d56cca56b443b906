// What pools share: identities, totals, room, and the end.
#include "http/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/http_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(HttpEngine, IdentitiesAndOriginsNeverShareAConnection) {
  HttpTestbed bed;
  const std::vector<std::pair<std::string, std::string>> pools = {
      {"a", "https://api.example.com/"},   {"b", "https://api.example.com/"},
      {"a", "http://api.example.com/"},    {"a", "https://api.example.com:8443/"},
      {"a", "https://other.example.com/"}, {"a https", "https://api.example.com/"}};
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < pools.size(); ++i) {
      const auto& [identity, url] = pools[i];
      Asked& asked = bed.Sent(Get(url + std::to_string(i)), identity);
      ASSERT_EQ(bed.connector.peers.size(), round == 0 ? i + 1 : pools.size());
      EXPECT_THAT(bed.peer(i).requests.back().text, HasSubstr("GET /" + std::to_string(i) + " "));
      bed.Answer(bed.peer(i));
      EXPECT_EQ(asked.outcome()->reused_connection, round == 1);
    }
  }
  EXPECT_THAT(bed.connector.origins, ElementsAre("https://api.example.com:443", "https://api.example.com:443",
                                                 "http://api.example.com:80", "https://api.example.com:8443",
                                                 "https://other.example.com:443", "https://api.example.com:443"));
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, PathsAndQueriesShareAConnection) {
  HttpTestbed bed;
  bed.Sent(GetApi("/a?b=1"));
  bed.Answer(bed.peer());
  bed.Sent(GetApi("/c"));
  EXPECT_EQ(bed.connector.peers.size(), 1u);
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, HoldsToTheNumberOfRequests) {
  HttpTestbed bed;
  bed.limits.requests = 2;
  Asked& first = bed.Sent(GetApi());
  bed.Sent(GetApi());
  Asked& refused = bed.Ask(GetApi());
  EXPECT_EQ(refused.Told(), "LIMIT_REACHED NOT_SENT");
  EXPECT_THAT(refused.message(), HasSubstr("limits.requests, 2"));
  bed.Answer(bed.peer(0));
  EXPECT_EQ(bed.Ask(GetApi()).Told(), "LIMIT_REACHED NOT_SENT") << "until the adapter has its answer";
  first.Drop();
  EXPECT_EQ(bed.Ask(GetApi()).Told(), "nothing yet");
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, IdleConnectionsMakeRoomForOtherPools) {
  HttpTestbed bed;
  bed.limits.http_connections = 2;
  for (const char* url : {"https://a.example.com/", "https://b.example.com/"}) {
    bed.Sent(Get(url));
    bed.Answer(bed.peer());
    bed.time.Advance(1ms);
  }
  Asked& asked = bed.Sent(Get("https://c.example.com/"));
  EXPECT_FALSE(bed.peer(0).open()) << "idle for longest";
  EXPECT_TRUE(bed.peer(1).open());
  ASSERT_EQ(bed.connector.peers.size(), 3u);
  bed.Answer(bed.peer(2));
  EXPECT_EQ(asked.Told(), "200 ok");
  EXPECT_EQ(bed.engine().totals().connections, 2u);
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, IdleConnectionsMakeRoomAlsoWhereNobodyMayWait) {
  HttpTestbed bed;
  bed.limits.http_connections = 1;
  bed.options.waiting_per_pool = 0;
  bed.Sent(Get("https://a.example.com/"));
  EXPECT_EQ(bed.Ask(Get("https://b.example.com/")).Told(), "LIMIT_REACHED NOT_SENT") << "it is busy";
  EXPECT_TRUE(bed.peer(0).open());
  bed.Answer(bed.peer());
  Asked& asked = bed.Sent(Get("https://b.example.com/"));
  EXPECT_FALSE(bed.peer(0).open());
  bed.Answer(bed.peer(1));
  EXPECT_EQ(asked.Told(), "200 ok");
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, AStarvedPoolIsServedWhenRoomComes) {
  for (const std::string event : {"idle", "closed", "refused", "dropped"}) {
    SCOPED_TRACE(event);
    HttpTestbed bed;
    bed.limits.http_connections = 1;
    bed.connector.accepts = event != "refused";
    Asked& first = bed.Sent(Get("https://a.example.com/"));
    Asked& starved = bed.Sent(Get("https://b.example.com/"));
    EXPECT_THAT(bed.connector.origins, ElementsAre("https://a.example.com:443"));
    EXPECT_EQ(starved.Told(), "nothing yet");
    if (event == "refused") {
      bed.connector.accepts = true;
      bed.connector.Refuse();
    }
    if (event == "idle") bed.peer().Answer(Ok());
    if (event == "closed") bed.peer().Answer(Ok("x", "Connection: close\r\n"));
    if (event == "dropped") first.Drop();
    bed.time.Settle();
    ASSERT_EQ(bed.connector.origins.size(), 2u);
    EXPECT_LE(bed.connector.open(), 1u);
    bed.Answer(bed.peer());
    EXPECT_EQ(starved.Told(), "200 ok");
    bed.ExpectNothingLeft();
  }
}

TEST(HttpEngine, StarvedRequestsExpireLikeOthers) {
  HttpTestbed bed;
  bed.limits.http_connections = 1;
  HttpRequest slow = Get("https://a.example.com/");
  slow.timeout = 1h;
  bed.Sent(slow);
  Asked& starved = bed.Sent(Get("https://b.example.com/"));
  bed.time.Advance(1s);
  EXPECT_EQ(starved.Told(), "WAIT_EXPIRED NOT_SENT");
  EXPECT_THAT(starved.message(), HasSubstr("limits.http_connections"));
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, DrainsWhenTheLastRequestIsOver) {
  HttpTestbed bed;
  bool drained = false;
  bed.Sent(Get("https://idle.example.com/"));
  bed.Answer(bed.peer());
  bed.asked().front()->Drop();
  Asked& under_way = bed.Sent(GetApi());
  bed.engine().Drain(bed.time.Now() + 5s, [&] { drained = true; });
  Asked& late = bed.Ask(GetApi());
  EXPECT_EQ(late.Told(), "DRAINING NOT_SENT");
  EXPECT_EQ(late.outcome().error().retry_after, 1s);
  bed.asked().back()->Drop();
  bed.time.Settle();
  EXPECT_FALSE(drained);
  bed.Answer(bed.peer(1));
  EXPECT_EQ(under_way.Told(), "200 ok") << "what is under way finishes";
  EXPECT_FALSE(drained) << "until the adapter has its answer";
  under_way.Drop();
  bed.time.Settle();
  EXPECT_TRUE(drained) << "at once, not when a connection becomes idle for too long";
  EXPECT_EQ(bed.connector.open(), 0u);
  EXPECT_EQ(bed.engine().totals().connections, 0u);
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, DrainsAtOnceWhenNothingIsUnderWay) {
  HttpTestbed bed;
  bed.connector.accepts = false;
  Asked& dropped = bed.Sent(GetApi());
  dropped.Drop();
  bool drained = false;
  bed.engine().Drain(bed.time.Now() + 5s, [&] { drained = true; });
  EXPECT_FALSE(drained) << "never from within the call";
  bed.time.Settle();
  EXPECT_TRUE(drained);
  EXPECT_EQ(bed.connector.under_way(), 0u) << "dials that nobody waits for are abandoned";
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, WaitingRequestsFinishWhileItDrains) {
  HttpTestbed bed;
  bed.options.connections_per_pool = 1;
  bed.Sent(GetApi("/1"));
  Asked& waiting = bed.Sent(GetApi("/2"));
  bool drained = false;
  bed.engine().Drain(bed.time.Now() + 5s, [&] { drained = true; });
  bed.Answer(bed.peer());
  bed.Answer(bed.peer());
  EXPECT_EQ(waiting.Told(), "200 ok");
  for (const auto& asked : bed.asked()) asked->Drop();
  bed.time.Settle();
  EXPECT_TRUE(drained);
}

TEST(HttpEngine, MayBeAskedFromWithinAnOutcome) {
  HttpTestbed bed;
  bed.options.connections_per_pool = 1;
  std::vector<std::string> told;
  std::optional<HttpEngine::UnderWay> second;
  const auto outcome = [&told](Result<HttpResponse> response) {
    told.emplace_back(response ? response->body : std::string(Name(response.error().reason)));
  };
  bed.connector.accepts = false;
  auto first = bed.engine().Send("dev", GetApi("/1"), [&](Result<HttpResponse> response) {
    outcome(std::move(response));
    second.emplace(bed.engine().Send("dev", GetApi("/2"), outcome));
  });
  bed.connector.Refuse();
  EXPECT_THAT(told, ElementsAre("CONNECT_FAILED"));
  EXPECT_EQ(bed.connector.under_way(), 1u);
  bed.connector.Accept();
  bed.time.Settle();
  bed.Answer(bed.peer());
  EXPECT_THAT(told, ElementsAre("CONNECT_FAILED", "ok"));
}

TEST(HttpEngine, GoesWithWhatIsIdleOrBeingMade) {
  HttpTestbed bed;
  bed.Sent(GetApi());
  bed.Answer(bed.peer());
  bed.connector.accepts = false;
  bed.Sent(Get("https://b.example.com/"));
  for (const auto& asked : bed.asked()) asked->Drop();
  EXPECT_EQ(bed.connector.open() + bed.connector.under_way(), 2u);
}

TEST(HttpEngine, ACapIsOfOneIdentity) {
  HttpTestbed bed;
  bed.access.Set(Access({.policies = {{.identity = "a", .max_requests = 1}, {.identity = "b"}}}));
  Asked& first = bed.Sent(GetApi(), "a");
  Asked& refused = bed.Ask(GetApi(), "a");
  EXPECT_EQ(refused.Told(), "LIMIT_REACHED NOT_SENT");
  EXPECT_EQ(refused.message(), "policies[a].max_requests, 1, are under way");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(bed.Ask(GetApi(), "b").Told(), "nothing yet");
  bed.Answer(bed.peer(0));
  first.Drop();
  EXPECT_EQ(bed.Ask(GetApi(), "a").Told(), "nothing yet");
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, BodiesOfOneIdentityHaveACap) {
  HttpTestbed bed;
  bed.access.Set(Access({.policies = {{.identity = "a", .max_body_bytes = 1000}, {.identity = "b"}}}));
  const std::string told = "policies[a].max_body_bytes, 1000: the bodies of its requests under way fill it";
  Asked& first = bed.Sent(PostApi(std::string(600, 'x')), "a");
  Asked& refused = bed.Ask(PostApi(std::string(401, 'x')), "a");
  EXPECT_EQ(refused.Told(), "LIMIT_REACHED NOT_SENT");
  EXPECT_EQ(refused.message(), told);
  EXPECT_EQ(bed.Ask(PostApi(std::string(401, 'x')), "b").Told(), "nothing yet");
  Asked& second = bed.Sent(PostApi(std::string(400, 'x')), "a");
  bed.Answer(bed.peer(0), Ok(std::string(1, 'y')));
  EXPECT_EQ(first.Told(), "LIMIT_REACHED REPLIED") << "there is no room for its answer";
  EXPECT_EQ(first.message(), told);
  first.Drop();
  bed.Answer(bed.peer(2), Ok(std::string(600, 'y')));
  EXPECT_EQ(second.Told(), "200 " + std::string(600, 'y'));
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, ALoweredCapKeepsNoAnswerBack) {
  HttpTestbed bed;
  bed.access.Set(Access({.policies = {{.identity = "dev", .max_body_bytes = 1000}}}));
  Asked& order = bed.Sent(PostApi(std::string(600, 'x')));
  bed.access.Set(Access({.policies = {{.identity = "dev", .max_body_bytes = 100}}}));
  bed.Answer(bed.peer());
  EXPECT_EQ(order.Told(), "200 ok") << "it takes no more than the order did";
  bed.ExpectNothingLeft();
}

TEST(HttpEngine, AfterRenewNothingNewGoesOverWhatWasThere) {
  HttpTestbed bed;
  bed.Sent(GetApi("/one"));
  bed.Answer(bed.peer(0));
  Asked& under_way = bed.Sent(GetApi("/two"));
  Asked& beside = bed.Sent(GetApi("/three"));
  bed.Answer(bed.peer(1));
  EXPECT_EQ(beside.Told(), "200 ok");
  EXPECT_EQ(bed.connector.open(), 2u);
  bed.engine().Renew();
  bed.time.Settle();
  EXPECT_EQ(bed.connector.open(), 1u) << "what was idle is closed";
  Asked& next = bed.Sent(GetApi("/four"));
  EXPECT_EQ(bed.connector.peers.size(), 3u);
  bed.Answer(bed.peer(0));
  bed.Answer(bed.peer(2));
  EXPECT_EQ(under_way.Told(), "200 ok") << "what was under way is answered";
  EXPECT_EQ(next.Told(), "200 ok");
  bed.Sent(GetApi("/five"));
  EXPECT_EQ(bed.peer(0).requests.size(), 2u);
  bed.ExpectNothingLeft();
}

}  // namespace
}  // namespace fairlead
