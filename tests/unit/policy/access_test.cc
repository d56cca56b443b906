#include "policy/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/current.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;

AccessRules Rules() {
  return {.listeners = {"local"},
          .callers = {{.identity = "md", .certificates = {"spiffe://firm/md"}, .tokens = {Sha256{1}}},
                      {.identity = "desk", .certificates = {}, .tokens = {Sha256{2}}},
                      {.identity = "idle", .certificates = {}, .tokens = {Sha256{3}}, .jwt_subjects = {"lazy"}}},
          .policies = {{.identity = "md",
                        .methods = {"SessionService.Attach"},
                        .egress = {"feeds"},
                        .http_methods = {"GET", "HEAD"},
                        .max_sessions = 2,
                        .max_streams = 1,
                        .max_requests = 3,
                        .max_send_queue_bytes = 1000,
                        .max_connections = 4,
                        .max_new_streams_per_second = 7,
                        .max_body_bytes = 2000},
                       {.identity = "desk", .methods = {"*"}, .egress = {"*"}, .http_methods = {"*"}},
                       {.identity = "nothing"}},
          .egress = {{.name = "lab", .schemes = {"wss", "https"}, .hosts = {"*"}, .cidrs = {*ParseCidr("127.0.0.0/8")}},
                     {.name = "feeds", .schemes = {"wss", "https"}, .hosts = {"*.example.com"}},
                     {.name = "rest", .hosts = {"*"}}}};
}

// "md", "yes", "NOT_GRANTED policies[md].methods does not grant ...".
std::string Told(const Result<std::string>& result) {
  return result ? *result : std::string(Name(result.error().reason)) + " " + result.error().message;
}
std::string Told(const Result<void>& result) {
  return result ? "yes" : std::string(Name(result.error().reason)) + " " + result.error().message;
}

TEST(Access, ACallIsTheListenersOrWhoItProves) {
  const Access access(Rules());
  EXPECT_EQ(Told(access.IdentityOf({.listener = "local"})), "local");
  EXPECT_EQ(Told(access.IdentityOf({.listener = "local", .token = Sha256{1}})), "local") << "there is nothing to prove";
  EXPECT_EQ(Told(access.IdentityOf({.names = {"spiffe://firm/md"}})), "md");
  EXPECT_EQ(Told(access.IdentityOf({.names = {"spiffe://firm/md"}, .token = Sha256{2}})), "md");
  EXPECT_EQ(Told(access.IdentityOf({.names = {"of.nobody"}, .token = Sha256{2}})), "desk");
  EXPECT_EQ(Told(access.IdentityOf({.token = Sha256{9}})),
            "UNAUTHENTICATED the bearer token is of no caller that is known here");
  EXPECT_EQ(Told(access.IdentityOf({.subject = "lazy"})), "idle");
  EXPECT_EQ(Told(access.IdentityOf({.subject = "md"})),
            "UNAUTHENTICATED the token's subject is of no caller that is known here");
  EXPECT_EQ(Told(access.IdentityOf({.refused = Failure{Reason::kUnauthenticated, Phase::kNotSent, "expired"}})),
            "UNAUTHENTICATED expired");
  const std::string how = "send a client certificate of one, or \"authorization: Bearer TOKEN\"";
  EXPECT_EQ(Told(access.IdentityOf({})), "UNAUTHENTICATED no caller that is known here: " + how);
  EXPECT_EQ(Told(access.IdentityOf({.names = {"of.nobody"}})), "UNAUTHENTICATED no caller that is known here: " + how);
}

TEST(Access, AMethodIsGrantedByNameOrByAStar) {
  const Access access(Rules());
  struct Case {
    const char* identity;
    const char* method;
    const char* told;
  };
  const Case cases[] = {
      {"md", "SessionService.Attach", "yes"},
      {"md", "SessionService.Tail", "NOT_GRANTED policies[md].methods does not grant SessionService.Tail"},
      {"md", "HttpService.Send", "NOT_GRANTED policies[md].methods does not grant HttpService.Send"},
      {"desk", "QuotaService.Acquire", "yes"},
      {"nothing", "SessionService.Attach",
       "NOT_GRANTED policies[nothing].methods does not grant SessionService.Attach"},
      {"idle", "SessionService.Attach", "NOT_GRANTED no policies[idle], which could grant SessionService.Attach"},
      {"local", "SessionService.Attach", "NOT_GRANTED no policies[local], which could grant SessionService.Attach"},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(Told(access.MayCall(each.identity, each.method)), each.told) << each.identity << " " << each.method;
  }
}

TEST(Access, WhoIsNobodyIsToldNothingOfPolicies) {
  const Access access(Rules());
  EXPECT_EQ(Told(access.Admit({.token = Sha256{1}}, MethodOf(Rpc::kAttach))), "md");
  EXPECT_EQ(Told(access.Admit({.token = Sha256{1}}, "SessionService.Tail")),
            "NOT_GRANTED policies[md].methods does not grant SessionService.Tail");
  EXPECT_EQ(Told(access.Admit({.token = Sha256{9}}, "SessionService.Tail")),
            "UNAUTHENTICATED the bearer token is of no caller that is known here");
}

TEST(Access, ARuleThatIsNotGrantedIsNotThere) {
  const Access access(Rules());
  const auto names = [&](std::string_view identity) {
    std::vector<std::string> all;
    for (const EgressRule& rule : access.EgressOf(identity).rules()) all.push_back(rule.name);
    return all;
  };
  EXPECT_THAT(names("md"), ElementsAre("feeds"));
  EXPECT_THAT(names("desk"), ElementsAre("lab", "feeds", "rest")) << "in the order of the configuration";
  EXPECT_THAT(names("nothing"), ElementsAre());
  EXPECT_THAT(names("local"), ElementsAre());

  // Of two that match, the first lifts loopback: for who may not use it, nothing is lifted.
  const TargetUrl url = *ParseTarget("wss://stream.example.com/ws", 8192);
  const IpAddress loopback = IpAddress::V4({127, 0, 0, 1});
  const auto desks = access.EgressOf("desk").Allow(url);
  ASSERT_TRUE(desks);
  EXPECT_EQ(Told(Egress::AllowAddress(**desks, url.host, loopback)), "yes");
  const auto mds = access.EgressOf("md").Allow(url);
  ASSERT_TRUE(mds);
  EXPECT_THAT(Told(Egress::AllowAddress(**mds, url.host, loopback)), ::testing::StartsWith("EGRESS_DENIED "));
  EXPECT_FALSE(access.EgressOf("md").Allow(*ParseTarget("wss://elsewhere.org/", 8192)));
  EXPECT_FALSE(access.EgressOf("nothing").Allow(url));

  // What is not granted is told as what does not exist.
  AccessRules without = Rules();
  without.egress.clear();
  for (Policy& policy : without.policies) policy.egress.clear();
  EXPECT_EQ(access.EgressOf("nothing").Allow(url).error(), Access(without).EgressOf("desk").Allow(url).error());
}

TEST(Access, ARequestNeedsItsMethodAndItsTarget) {
  const Access access(Rules());
  const TargetUrl api = *ParseRequestUrl("https://api.example.com/orders?secret=1", 8192);
  EXPECT_EQ(Told(access.MayRequest("md", "GET", api)), "yes");
  EXPECT_EQ(Told(access.MayRequest("md", "POST", api)), "NOT_GRANTED policies[md].http_methods does not grant POST");
  EXPECT_EQ(Told(access.MayRequest("desk", "POST", api)), "yes");
  EXPECT_EQ(Told(access.MayRequest("idle", "GET", api)), "NOT_GRANTED no policies[idle], which could grant GET");
  EXPECT_THAT(Told(access.MayRequest("md", "GET", *ParseRequestUrl("https://elsewhere.org/", 8192))),
              ::testing::StartsWith("EGRESS_DENIED no rule allows https://elsewhere.org:443;"));
}

TEST(Access, CapsAreToldWithFieldAndValue) {
  const Access access(Rules());
  struct Case {
    Cap cap;
    uint64_t most;
    const char* told;
  };
  const Case cases[] = {
      {Cap::kSessions, 2, "LIMIT_REACHED policies[md].max_sessions, 2, are open"},
      {Cap::kStreams, 1, "LIMIT_REACHED policies[md].max_streams, 1, are open"},
      {Cap::kRequests, 3, "LIMIT_REACHED policies[md].max_requests, 3, are under way"},
      {Cap::kSendQueueBytes, 1000,
       "LIMIT_REACHED policies[md].max_send_queue_bytes, 1000: sends of this identity are waiting to be written"},
      {Cap::kConnections, 4, "LIMIT_REACHED policies[md].max_connections, 4, are open"},
      {Cap::kNewStreamsPerSecond, 7, "LIMIT_REACHED policies[md].max_new_streams_per_second, 7, have begun"},
      {Cap::kBodyBytes, 2000,
       "LIMIT_REACHED policies[md].max_body_bytes, 2000: the bodies of its requests under way fill it"},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(Told(access.CheckCap("md", each.cap, each.most)), "yes");
    EXPECT_EQ(Told(access.CheckCap("md", each.cap, each.most + 1)), each.told);
    EXPECT_EQ(access.CapOf("md", each.cap), each.most);
    EXPECT_EQ(Told(access.CheckCap("desk", each.cap, UINT64_MAX)), "yes") << "none is given: the totals alone";
    EXPECT_EQ(access.CapOf("desk", each.cap), std::nullopt);
  }
}

TEST(Access, WithoutPoliciesEverybodyMayDoWhatEgressAllows) {
  AccessRules rules = Rules();
  rules.policies.clear();
  const Access access(rules);
  for (const std::string_view method : kMethods) EXPECT_EQ(Told(access.MayCall("local", method)), "yes");
  EXPECT_EQ(access.EgressOf("local").rules(), rules.egress);
  EXPECT_EQ(Told(access.MayRequest("local", "DELETE", *ParseRequestUrl("https://api.example.com/", 8192))), "yes");
  EXPECT_EQ(Told(access.CheckCap("local", Cap::kSessions, UINT64_MAX)), "yes");
  EXPECT_THAT(Access().EgressOf("local").rules(), ElementsAre()) << "and without rules nowhere";
}

TEST(Access, TheFirstPolicyMakesAllOthersNeedOne) {
  AccessRules rules = Rules();
  rules.policies = {{.identity = "desk", .methods = {"*"}}};
  const Access access(rules);
  EXPECT_EQ(Told(access.MayCall("desk", MethodOf(Rpc::kAttach))), "yes");
  EXPECT_EQ(Told(access.MayCall("md", MethodOf(Rpc::kAttach))),
            "NOT_GRANTED no policies[md], which could grant SessionService.Attach");
  EXPECT_THAT(access.EgressOf("desk").rules(), ElementsAre()) << "an empty field grants nothing";
}

TEST(Current, WhoHasAValueKeepsIt) {
  Current<Access> access{Access(Rules())};
  const auto before = access.Get();
  access.Set(Access());
  EXPECT_EQ(before->rules(), Rules());
  EXPECT_EQ(access.Get()->rules(), AccessRules());
}

TEST(Access, WhatMayGoOn) {
  const TargetUrl url = *ParseTarget("wss://stream.example.com/ws", 8192);
  const IpAddress loopback = IpAddress::V4({127, 0, 0, 1});
  const IpAddress address = IpAddress::V4({8, 8, 8, 8});
  const auto told = [&](const AccessRules& rules, std::string_view identity,
                        std::optional<IpAddress> at = std::nullopt) {
    return Told(Access(rules).MayKeep(identity, url, at));
  };
  const std::string changed = "REVOKED the configuration has changed: ";
  AccessRules rules = Rules();
  EXPECT_EQ(told(rules, "md"), "yes");
  EXPECT_EQ(told(rules, "md", address), "yes");
  EXPECT_EQ(
      told(rules, "md", loopback),
      changed + "an address of stream.example.com is not public; the egress rule feeds can lift ranges with cidrs");
  EXPECT_EQ(told(rules, "desk", loopback), "yes");
  EXPECT_EQ(told(rules, "stranger"), changed + "no caller is stranger");
  EXPECT_EQ(told(rules, "local"), changed + "no policies[local], which could grant SessionService.Attach");
  rules.callers.erase(rules.callers.begin());
  EXPECT_EQ(told(rules, "md"), changed + "no caller is md");
  rules = Rules();
  rules.policies[0].methods = {"SessionService.Tail"};
  EXPECT_EQ(told(rules, "md"), changed + "policies[md].methods does not grant SessionService.Attach");
  rules = Rules();
  rules.policies[0].egress = {"lab"};
  EXPECT_EQ(told(rules, "md", address), "yes") << "another rule will do";
  rules.policies[0].egress = {};
  EXPECT_THAT(told(rules, "md"), ::testing::StartsWith(changed + "no rule allows wss://stream.example.com:443;"));
  rules.policies = {};
  EXPECT_EQ(told(rules, "local"), "yes");
}

}  // namespace
}  // namespace fairlead
