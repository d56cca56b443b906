#include "ops/status_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/metrics.h"
#include "support/http_testbed.h"
#include "support/testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct StatusBed : Testbed {
  Shown shown() { return {registry, http.engine(), adapters, rpcs, limits}; }
  std::string Json() {
    const ProcessFacts process{.version = "1.2.3",
                               .started = VirtualTime::kWallStart,
                               .use = {.open_files = 7, .open_files_limit = 1024, .resident_bytes = 4096},
                               .certificate_expiry = std::nullopt};
    return StatusJson(TakeListing(shown(), time), TakeSnapshot(shown(), Histogram(ShortSpans())), rpcs.Copy(), process,
                      limits);
  }
  HttpTestbed http;
  AdapterMeasures adapters;
  RpcMeasures rpcs;
};

TEST(StatusPage, TellsOfASession) {
  StatusBed gateway;
  SessionOptions options = PlainOptions();
  options.url.target = Secret("/ws/listen-key-5ecre7?token=5ecre7");
  Subscriber owner(gateway.Open(options), {});
  owner.session().Begin();
  gateway.dialler.Accept();
  gateway.time.Settle();
  gateway.dialler.peer().Text("12345");
  gateway.time.Advance(3s);
  const std::string json = gateway.Json();
  EXPECT_THAT(json, HasSubstr(R"({"identity":"dev","name":"md","epoch":"epoch-1-of-the-testbed",)"
                              R"("target":"ws://stream.example.com:80","state":"OPEN","generation":1,"subscribers":1,)"
                              R"("lag_entries":4,"lag_s":3.000000,"frames_in":1,"frames_out":0,"last_failure":""})"));
  EXPECT_THAT(json, Not(HasSubstr("5ecre7")));
  EXPECT_THAT(json, HasSubstr(R"("states":{"OPEN":1,"CONNECTING":0,)"));
  EXPECT_THAT(json, HasSubstr(R"({"what":"sessions","used":1,"limit":10000,"unit":""})"));
  EXPECT_THAT(json, HasSubstr(R"("uptime_s":3.000000)"));
}

TEST(StatusPage, TheLatestReconnectComesFirst) {
  StatusBed gateway;
  for (const uint64_t generation : {1, 2}) {
    gateway.registry.measures().Reconnects({.time = VirtualTime::kWallStart + std::chrono::seconds(generation),
                                            .identity = "dev",
                                            .session = "md",
                                            .generation = generation,
                                            .reason = Reason::kMaxAge});
  }
  EXPECT_THAT(
      gateway.Json(),
      HasSubstr(
          R"("reconnects":[{"time_unix_s":1700000002.000000,"identity":"dev","name":"md","generation":2,"reason":"MAX_AGE"},{)"));
}

TEST(StatusPage, OfManySessionsThoseThatAreNotOpenComeFirst) {
  StatusBed gateway;
  Subscriber owner(gateway.Open(PlainOptions(), "0"), {});
  owner.session().Begin();
  gateway.dialler.Accept();
  gateway.time.Settle();
  ASSERT_EQ(owner.session().state(), State::kOpen);
  std::vector<std::shared_ptr<Session>> others;
  for (size_t i = 0; i < StatusListing::kSessions + 1; ++i)
    others.push_back(gateway.Open(PlainOptions(), "s" + std::to_string(i)));
  StatusListing listing = TakeListing(gateway.shown(), gateway.time);
  EXPECT_EQ(listing.all_sessions, StatusListing::kSessions + 2);
  ASSERT_EQ(listing.sessions.size(), StatusListing::kSessions);
  EXPECT_TRUE(std::ranges::none_of(listing.sessions, [](const auto& row) { return row.state == State::kOpen; }));
  EXPECT_THAT(gateway.Json(), HasSubstr(R"("sessions":{"total":502,)"));
}

TEST(StatusPage, WhatIsNoTextIsNotShownAsItIs) {
  StatusBed gateway;
  gateway.registry.measures().Reconnects(
      {.time = {}, .identity = "\"</script>\\", .session = "\n\x01\xff", .reason = Reason::kMaxAge});
  EXPECT_THAT(gateway.Json(), HasSubstr(R"("identity":"\"</script>\\","name":"???")"));
}

TEST(StatusPage, LoadsNothingFromElsewhere) {
  EXPECT_THAT(std::string(kStatusHtml), AllOf(StartsWith("<!doctype html>"), EndsWith("</html>\n")));
  for (const std::string_view file : {kStatusHtml, kStatusCss, kStatusJs}) {
    EXPECT_THAT(std::string(file), Not(HasSubstr("//cdn")));
    EXPECT_THAT(std::string(file), Not(HasSubstr("http")));
    EXPECT_THAT(std::string(file), Not(HasSubstr("innerHTML")));
  }
}

}  // namespace
}  // namespace fairlead
