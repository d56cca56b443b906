// Random requests to a random exchange, against the promises of docs/http.md. What happens, and when, comes from a
// seed.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "support/http_testbed.h"
#include "support/random.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;

class Simulation {
 public:
  explicit Simulation(Draws& draws) : draws_(draws) {
    bed_.options.connections_per_pool = static_cast<uint32_t>(draws.Between(1, 4));
    bed_.options.waiting_per_pool = static_cast<uint32_t>(draws.OneIn(3) ? draws.Below(4) : 1000);
    bed_.options.idle_timeout = draws.OneIn(4) ? 0s : draws.Milliseconds(2000);
    bed_.limits.http_connections = static_cast<uint32_t>(draws.OneIn(2) ? draws.Between(1, 5) : 100);
    bed_.limits.requests = static_cast<uint32_t>(draws.OneIn(3) ? draws.Between(1, 8) : 100);
    bed_.limits.total_body_bytes = draws.OneIn(3) ? 300 : kMiB;
    bed_.connector.accepts = false;
    bed_.connector.prepare = [this](HttpPeer& peer) {
      peer.takes_writes = draws_.OneIn(2);
      peer.taken_at_abort = AnyTaken();
      if (draws_.OneIn(20)) peer.End();
    };
  }

  void Run() {
    const uint64_t steps = draws_.Between(20, 200);
    for (uint64_t step = 0; step < steps; ++step) {
      OneEvent();
      if (draws_.OneIn(3)) bed_.time.Settle();
      CheckBounds();
    }
    bool drained = false;
    bed_.engine().Drain(bed_.time.Now() + 5s, [&drained] { drained = true; });
    bed_.time.Advance(1min);  // Whatever was still under way has timed out.
    CheckBounds();
    Judge();
    bed_.ExpectNothingLeft();
    EXPECT_TRUE(drained);
    EXPECT_EQ(bed_.connector.under_way(), 0u);
  }

 private:
  Phase AnyTaken() { return std::array{Phase::kNotSent, Phase::kPartlySent, Phase::kSentNoReply}[draws_.Below(3)]; }

  void OneEvent() {
    switch (draws_.Below(12)) {
      case 0:
      case 1:
      case 2:
        return Ask();
      case 3:
      case 4:
        if (const size_t dials = bed_.connector.under_way(); dials > 0) {
          const size_t place = draws_.Below(dials);
          if (draws_.OneIn(5)) {
            bed_.connector.Refuse(Reason::kConnectFailed, place);
          } else {
            bed_.connector.Accept(place);
          }
        }
        return;
      case 5:
      case 6:
      case 7:
      case 8:
        return OnePeerEvent();
      case 9:
        if (!bed_.asked().empty() && draws_.OneIn(2)) bed_.asked()[draws_.Below(bed_.asked().size())]->Drop();
        return;
      default:
        bed_.time.Advance(draws_.Milliseconds(draws_.OneIn(5) ? 1500 : 50));
    }
  }

  void Ask() {
    const size_t id = bed_.asked().size();
    const std::string identity = draws_.OneIn(3) ? "b" : "a";
    HttpRequest request =
        Get("https://" + std::string(draws_.OneIn(3) ? "y" : "x") + ".example.com/" + std::to_string(id) + "/");
    if (draws_.OneIn(2)) request.method = "POST";
    if (request.method == "POST") request.body = draws_.Text(150);
    request.timeout = 1ms + draws_.Milliseconds(4000);
    request.max_wait = draws_.OneIn(4) ? 0s : draws_.Milliseconds(2000);
    request.max_response_bytes = draws_.OneIn(10) ? 3 : 1000;
    pools_.push_back(identity + " " + request.url.Origin());
    bed_.Ask(std::move(request), identity);
  }

  void OnePeerEvent() {
    if (bed_.connector.peers.empty()) return;
    HttpPeer& peer = *bed_.connector.peers[draws_.Below(bed_.connector.peers.size())];
    if (!peer.open()) return;
    const bool asked = peer.requests.size() > answered_[&peer];
    switch (draws_.Below(12)) {
      case 0:
        return draws_.OneIn(4) ? peer.End() : void();
      case 1:
        return draws_.OneIn(4) ? peer.Reset(AnyTaken()) : void();
      case 2:
        if (!draws_.OneIn(6) || !left_[&peer].empty()) return;
        if (asked) spoke_.insert(IdOf(peer.requests.back().text));
        return peer.Answer("unasked\r\n");
      case 3:
        return peer.Murmur();
      case 4:
      case 5:
        return peer.Take(draws_.OneIn(10) ? AnyTaken() : Phase::kSentNoReply);
      default:
        if (!asked) return;
        if (left_[&peer].empty()) left_[&peer] = AnswerTo(peer.requests.back().text);
        std::string& left = left_[&peer];
        const size_t size = draws_.OneIn(3) ? draws_.Between(1, left.size()) : left.size();
        peer.Answer(left.substr(0, size));
        spoke_.insert(IdOf(peer.requests.back().text));
        left.erase(0, size);
        if (left.empty()) answered_[&peer] = peer.requests.size();
    }
  }
  std::string AnswerTo(const std::string& request) {
    const std::string body = "answer " + std::to_string(IdOf(request));
    if (draws_.OneIn(15)) return "nonsense\r\n";
    if (draws_.OneIn(15)) return Ok(body) + "and more";
    if (draws_.OneIn(8)) return Ok(body, "Connection: close\r\n");
    return (draws_.OneIn(8) ? "HTTP/1.1 102 \r\n\r\n" : "") + Ok(body);
  }
  static size_t IdOf(const std::string& request) { return std::stoull(request.substr(request.find('/') + 1)); }

  void CheckBounds() {
    const HttpTotals& totals = bed_.engine().totals();
    EXPECT_LE(totals.connections, bed_.limits.http_connections);
    EXPECT_LE(bed_.connector.open() + bed_.connector.under_way(), totals.connections);
    EXPECT_LE(totals.requests, bed_.limits.requests);
    EXPECT_LE(totals.body_bytes, bed_.limits.total_body_bytes);
    std::map<std::string, size_t> open;
    for (const auto& peer : bed_.connector.peers) {
      if (peer->open() && !peer->requests.empty()) ++open[pools_[IdOf(peer->requests.front().text)]];
    }
    for (const auto& [pool, count] : open) EXPECT_LE(count, bed_.options.connections_per_pool) << pool;
  }

  void Judge() {
    struct Written {
      Phase taken;
    };
    std::map<size_t, Written> written;
    for (const auto& peer : bed_.connector.peers) {
      std::set<std::string> pools;
      for (const auto& request : peer->requests) {
        const size_t id = IdOf(request.text);
        ASSERT_TRUE(request.taken) << "a write that has not ended";
        EXPECT_TRUE(written.emplace(id, Written{*request.taken}).second) << id << " was written twice";
        pools.insert(pools_[id]);
      }
      EXPECT_LE(pools.size(), 1u) << "a connection was shared";
      if (bed_.options.idle_timeout == 0s) {
        EXPECT_LE(peer->requests.size(), 1u) << "connections are used once";
      }
    }
    std::map<std::string, size_t> last;
    for (const std::string& request : bed_.connector.log()) {
      const size_t id = IdOf(request);
      auto [before, first] = last.emplace(pools_[id], id);
      EXPECT_TRUE(first || before->second < id) << id << " after " << before->second << ", which came later";
      before->second = id;
    }
    for (size_t id = 0; id < bed_.asked().size(); ++id) {
      SCOPED_TRACE("request " + std::to_string(id));
      const Asked& asked = *bed_.asked()[id];
      EXPECT_NE(asked.done(), asked.dropped()) << "one outcome, unless nobody wants it";
      if (!asked.done()) continue;
      const auto found = written.find(id);
      if (asked.outcome()) {
        EXPECT_EQ(asked.outcome()->body, "answer " + std::to_string(id));
        EXPECT_NE(found, written.end());
        continue;
      }
      const Failure& failure = asked.outcome().error();
      SCOPED_TRACE(asked.Told() + ": " + failure.message);
      EXPECT_EQ(found == written.end() || found->second.taken == Phase::kNotSent || failure.phase != Phase::kNotSent,
                true)
          << "it is said not to be sent, and it was";
      EXPECT_TRUE(found != written.end() || failure.phase == Phase::kNotSent) << "it was never written";
      if (found == written.end()) continue;
      EXPECT_TRUE(failure.phase == found->second.taken || (failure.phase == Phase::kReplied && spoke_.contains(id)))
          << "the stream took " << Name(found->second.taken);
    }
  }

  Draws& draws_;
  HttpTestbed bed_;
  std::vector<std::string> pools_;  // Of each request.
  std::map<HttpPeer*, size_t> answered_;
  std::map<HttpPeer*, std::string> left_;  // Of an answer begun.
  std::set<size_t> spoke_;                 // Requests to which the exchange has begun to answer.
};

TEST(HttpSimulation, ThePromisesHoldWhateverHappens) {
  ForEachSeed(3000, [](Draws& draws) { Simulation(draws).Run(); });
}

}  // namespace
}  // namespace fairlead
