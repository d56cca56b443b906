// One request from its arrival to its one outcome: its timeouts, its cancellation, what it counts.
#include "http/call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/http_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Call, TellsHowLongEachStepTook) {
  HttpTestbed bed;
  bed.connector.accepts = false;
  bed.connector.times = {.resolve = 1ms, .connect = 2ms, .tls = 3ms};
  Asked& asked = bed.Ask(GetApi());
  bed.time.Advance(10ms);
  bed.connector.Accept();
  bed.time.Advance(20ms);
  bed.Answer(bed.peer(), Ok("abc").substr(0, 30));
  bed.time.Advance(30ms);
  bed.Answer(bed.peer(), Ok("abc").substr(30));
  ASSERT_EQ(asked.Told(), "200 abc");
  const HttpTiming& timing = asked.outcome()->timing;
  EXPECT_EQ(timing.pool_wait, 10ms);
  EXPECT_EQ(timing.connection->resolve, 1ms);
  EXPECT_EQ(timing.connection->connect, 2ms);
  EXPECT_EQ(timing.connection->tls, 3ms);
  EXPECT_EQ(timing.first_byte, 20ms);
  EXPECT_EQ(timing.total, 60ms);
  EXPECT_FALSE(asked.outcome()->reused_connection);
  bed.ExpectNothingLeft();
}

TEST(Call, SendsWhatWasAsked) {
  HttpTestbed bed;
  HttpRequest request = PostApi("{\"a\":1}", "/orders?x=%20");
  request.headers = {{"X-Key", "k"}, {"X-Sign", "s"}};
  Asked& asked = bed.Sent(std::move(request));
  EXPECT_EQ(bed.peer().requests.at(0).text,
            "POST /orders?x=%20 HTTP/1.1\r\nHost: api.example.com\r\nX-Key: k\r\nX-Sign: s\r\n"
            "User-Agent: fairlead\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
  bed.Answer(bed.peer(), "HTTP/1.1 503 Busy\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nno");
  EXPECT_EQ(asked.Told(), "503 no") << "any status is a response";
  EXPECT_THAT(asked.outcome()->headers,
              testing::ElementsAre(Header{"X-A", "1"}, Header{"X-A", "2"}, Header{"Content-Length", "2"}));
  HttpRequest head = GetApi();
  head.method = "HEAD";
  Asked& headed = bed.Sent(std::move(head));
  bed.Answer(bed.peer(), "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
  EXPECT_EQ(headed.Told(), "200 ");
  bed.ExpectNothingLeft();
}

TEST(Call, TimesOutInEveryState) {
  struct Case {
    const char* state;
    std::string told;
    std::string message;
  };
  const Case cases[] = {
      {"dialling", "REQUEST_TIMEOUT NOT_SENT", "request.timeout, 700 ms, passed while a connection was being made"},
      {"queued", "REQUEST_TIMEOUT NOT_SENT", "request.timeout, 700 ms, passed while waiting for a free connection"},
      {"writing", "REQUEST_TIMEOUT PARTLY_SENT", "request.timeout, 700 ms, passed"},
      {"sent", "REQUEST_TIMEOUT SENT_NO_REPLY", "request.timeout, 700 ms, passed"},
      {"replied", "REQUEST_TIMEOUT REPLIED", "request.timeout, 700 ms, passed"},
  };
  for (const Case& each : cases) {
    const std::string state = each.state;
    SCOPED_TRACE(state);
    HttpTestbed bed;
    bed.options.connections_per_pool = 1;
    bed.connector.accepts = state != "dialling";
    bed.connector.prepare = [&](HttpPeer& peer) { peer.takes_writes = state != "writing"; };
    if (state == "queued") bed.Sent(GetApi("/before"));
    HttpRequest request = PostApi("order");
    request.timeout = 700ms;
    request.max_wait = 1h;
    Asked& asked = bed.Sent(std::move(request));
    if (state == "replied") bed.Answer(bed.peer(), "HTTP/1.1 200");
    bed.time.Advance(700ms - 1ns);
    EXPECT_EQ(asked.Told(), "nothing yet");
    bed.time.Advance(1ns);
    EXPECT_EQ(asked.Told(), each.told);
    EXPECT_EQ(asked.message(), each.message);
    const bool on_wire = state == "writing" || state == "sent" || state == "replied";
    EXPECT_EQ(bed.connector.open(), state == "queued" ? 1u : 0u) << "a late answer must find no request";
    EXPECT_EQ(bed.connector.peers.size(), state == "dialling" ? 0u : 1u);
    if (on_wire) {
      EXPECT_EQ(bed.peer().requests.size(), 1u);
    }
    bed.ExpectNothingLeft();
  }
}

TEST(Call, CanBeDroppedInEveryState) {
  for (const std::string state : {"dialling", "queued", "writing", "sent", "replied", "done"}) {
    SCOPED_TRACE(state);
    HttpTestbed bed;
    bed.options.connections_per_pool = 1;
    bed.connector.accepts = state != "dialling";
    bed.connector.prepare = [&](HttpPeer& peer) { peer.takes_writes = state != "writing"; };
    Asked* before = state == "queued" ? &bed.Sent(GetApi("/before")) : nullptr;
    Asked& asked = bed.Sent(PostApi("order", "/dropped"));
    if (state == "replied") bed.Answer(bed.peer(), "HTTP/1.1 200");
    if (state == "done") bed.Answer(bed.peer());
    asked.Drop();
    bed.time.Settle();
    if (state != "done") {
      EXPECT_EQ(asked.Told(), "nothing yet") << "nobody wants it";
    }
    EXPECT_EQ(bed.engine().totals().requests, before == nullptr ? 0u : 1u);
    EXPECT_EQ(bed.engine().totals().body_bytes, 0u);
    const bool keeps = state == "queued" || state == "done";
    EXPECT_EQ(bed.connector.open(), keeps ? 1u : 0u);
    // The pool goes on.
    if (before != nullptr) bed.Answer(bed.peer());
    if (before != nullptr) {
      EXPECT_EQ(before->Told(), "200 ok");
    }
    bed.connector.prepare = {};
    if (state == "dialling") bed.connector.Accept();
    Asked& next = bed.Sent(GetApi("/next"));
    bed.Answer(bed.peer());
    EXPECT_EQ(next.Told(), "200 ok");
    size_t dropped = 0;
    for (const auto& peer : bed.connector.peers) {
      for (const auto& request : peer->requests) dropped += request.text.find("/dropped") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(dropped, state == "dialling" || state == "queued" ? 0u : 1u);
    bed.ExpectNothingLeft();
  }
}

TEST(Call, WaitsNoLongerThanMaxWaitForAFreeConnection) {
  HttpTestbed bed;
  bed.options.connections_per_pool = 1;
  bed.Sent(GetApi());
  HttpRequest request = GetApi();
  request.max_wait = 300ms;
  Asked& asked = bed.Sent(request);
  bed.time.Advance(300ms - 1ns);
  EXPECT_EQ(asked.Told(), "nothing yet");
  bed.time.Advance(1ns);
  EXPECT_EQ(asked.Told(), "WAIT_EXPIRED NOT_SENT");
  EXPECT_THAT(asked.message(), HasSubstr("request.max_wait, 300 ms"));
  EXPECT_THAT(asked.message(), HasSubstr("http.connections_per_pool"));
  request.max_wait = 0s;
  EXPECT_EQ(bed.Sent(request).Told(), "WAIT_EXPIRED NOT_SENT") << "zero: at once if none is free";
  bed.Answer(bed.peer());
  Asked& lucky = bed.Sent(request);
  bed.Answer(bed.peer());
  EXPECT_EQ(lucky.Told(), "200 ok") << "one is";
  bed.ExpectNothingLeft();
}

TEST(Call, MaxWaitIsNotForMakingAConnection) {
  HttpTestbed bed;
  bed.options.connections_per_pool = 1;
  bed.connector.accepts = false;
  HttpRequest request = GetApi();
  request.max_wait = 0s;
  Asked& dialled_for = bed.Ask(request);
  Asked& queued = bed.Ask(request);
  bed.time.Advance(5s);
  EXPECT_EQ(queued.Told(), "WAIT_EXPIRED NOT_SENT");
  EXPECT_EQ(dialled_for.Told(), "nothing yet");
  bed.connector.Accept();
  bed.time.Settle();
  bed.Answer(bed.peer());
  EXPECT_EQ(dialled_for.Told(), "200 ok");
  bed.ExpectNothingLeft();
}

// One that has just been answered is free in the loop's next turn.
TEST(Call, MaxWaitIsNotForTheTurnInWhichAConnectionSettles) {
  for (const bool closes : {false, true}) {
    HttpTestbed bed;
    bed.options.connections_per_pool = 1;
    Asked* second = nullptr;
    std::optional<HttpEngine::UnderWay> first = bed.engine().Send("dev", GetApi(), [&](const Result<HttpResponse>&) {
      HttpRequest request = GetApi();
      request.max_wait = 0s;
      second = &bed.Ask(request);
    });
    bed.time.Settle();
    bed.peer().Answer(Ok());
    if (closes) bed.peer().End();
    bed.time.Settle();
    bed.Answer(bed.peer());
    ASSERT_NE(second, nullptr);
    EXPECT_EQ(second->Told(), "200 ok");
    EXPECT_EQ(bed.connector.peers.size(), closes ? 2u : 1u);
    first.reset();
    bed.ExpectNothingLeft();
  }
}

TEST(Call, CountsTheBodiesOfRequestsAndResponses) {
  HttpTestbed bed;
  bed.limits.total_body_bytes = 100;
  Asked& first = bed.Sent(PostApi(std::string(60, 'a')));
  EXPECT_EQ(bed.engine().totals().body_bytes, 60u);
  Asked& refused = bed.Ask(PostApi(std::string(41, 'b')));
  EXPECT_EQ(refused.Told(), "LIMIT_REACHED NOT_SENT");
  EXPECT_THAT(refused.message(), HasSubstr("limits.total_body_bytes, 100"));
  Asked& second = bed.Sent(PostApi(std::string(20, 'b')));
  EXPECT_EQ(bed.engine().totals().body_bytes, 80u);
  bed.Answer(bed.peer(0), Ok(std::string(20, 'c')));
  EXPECT_EQ(first.Told(), "200 " + std::string(20, 'c')) << "exactly what there is room for";
  EXPECT_EQ(bed.engine().totals().body_bytes, 100u) << "until the adapter has it";
  bed.Answer(bed.peer(1), Ok("d"));
  EXPECT_EQ(second.Told(), "LIMIT_REACHED REPLIED");
  EXPECT_FALSE(bed.peer(1).open()) << "the rest of the answer is not read";
  first.Drop();
  bed.time.Settle();
  EXPECT_EQ(bed.engine().totals().body_bytes, 20u);
  bed.ExpectNothingLeft();
}

TEST(Call, TheAnswerIsBounded) {
  HttpTestbed bed;
  bed.options.response_header_bytes = 1024;
  HttpRequest request = GetApi();
  request.max_response_bytes = 10;
  Asked& asked = bed.Sent(request);
  bed.Answer(bed.peer(), Ok("0123456789"));
  EXPECT_EQ(asked.Told(), "200 0123456789");
  Asked& longer = bed.Sent(request);
  bed.Answer(bed.peer(), Ok("0123456789a"));
  EXPECT_EQ(longer.Told(), "RESPONSE_TOO_LONG REPLIED");
  Asked& headers = bed.Sent(request);
  bed.Answer(bed.peer(), Ok("", "A: " + std::string(1100, 'x') + "\r\n"));
  EXPECT_EQ(headers.Told(), "RESPONSE_TOO_LONG REPLIED");
  EXPECT_THAT(headers.message(), HasSubstr("http.response_header_bytes is 1024"));
  bed.ExpectNothingLeft();
}

}  // namespace
}  // namespace fairlead
