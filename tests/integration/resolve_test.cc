// Names and their addresses: resolving, and the race between several. Names below "test." resolve as a test says: this
// file puts itself before the C library's getaddrinfo.
#include "net/resolve.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include "support/network.h"
#include "support/simulated_exchange.h"

namespace {

std::mutex names_mutex;
std::map<std::string, std::vector<std::string>> names;  // Addresses, in the resolver's order.

}  // namespace

extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** answers) {
  using Resolve = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto libc = reinterpret_cast<Resolve>(dlsym(RTLD_NEXT, "getaddrinfo"));
  std::vector<std::string> addresses;
  if (node != nullptr) {
    const std::lock_guard lock(names_mutex);
    const auto found = names.find(node);
    if (found == names.end()) return libc(node, service, hints, answers);
    addresses = found->second;
  }
  addrinfo numeric = {};
  numeric.ai_flags = AI_NUMERICHOST;
  numeric.ai_socktype = SOCK_STREAM;
  for (addrinfo** last = answers; const std::string& address : addresses) {
    if (const int error = libc(address.c_str(), service, &numeric, last); error != 0) return error;
    while (*last != nullptr) last = &(*last)->ai_next;
  }
  return 0;
}

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class Name {
 public:
  explicit Name(const std::vector<std::string>& addresses) {
    const std::lock_guard lock(names_mutex);
    names["race.test"] = addresses;
  }
  ~Name() {
    const std::lock_guard lock(names_mutex);
    names.clear();
  }
  Name(const Name&) = delete;
  Name& operator=(const Name&) = delete;
};

// A listener that takes no connection and refuses none: its backlog is full.
class BlackHole {
 public:
  explicit BlackHole(uint16_t port) {
    listener_ = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_in6 address = {};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    address.sin6_port = htons(port);
    const auto* raw = reinterpret_cast<const sockaddr*>(&address);
    const int yes = 1;
    setsockopt(listener_, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    if (bind(listener_, raw, sizeof address) != 0 || listen(listener_, 1) != 0) return;
    while (fillers_.size() < 16 && !full_) {
      const int filler = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
      fillers_.push_back(filler);
      connect(filler, raw, sizeof address);
      pollfd connected = {.fd = filler, .events = POLLOUT, .revents = 0};
      full_ = poll(&connected, 1, 100) == 0;
    }
  }
  ~BlackHole() {
    close(listener_);
    for (const int filler : fillers_) close(filler);
  }
  BlackHole(const BlackHole&) = delete;
  BlackHole& operator=(const BlackHole&) = delete;
  bool full() const { return full_; }

 private:
  int listener_ = -1;
  std::vector<int> fillers_;
  bool full_ = false;
};

class Race : public testing::Test {
 protected:
  DialRequest Request(const std::string& scheme = "ws") {
    return RequestFor(scheme + "://race.test:" + std::to_string(exchange.ws_port()) + "/idle");
  }
  exchange::Exchange exchange;  // On 127.0.0.1 only.
  Network network{exchange.ca_pem()};
};

Result<std::vector<IpAddress>> ResolveNow(Network& network, const std::string& host) {
  std::promise<Result<std::vector<IpAddress>>> answer;
  network.Do([&] {
    Resolve(network.loop(), host, [&](Result<std::vector<IpAddress>> addresses) { answer.set_value(addresses); });
  });
  return answer.get_future().get();
}

TEST_F(Race, ResolvesInTheResolversOrder) {
  const Name name({"::1", "127.0.0.1", "127.0.0.2"});
  const auto addresses = ResolveNow(network, "race.test");
  ASSERT_TRUE(addresses);
  std::vector<std::string> texts;
  for (const IpAddress& address : *addresses) texts.push_back(address.Text());
  EXPECT_THAT(texts, testing::ElementsAre("::1", "127.0.0.1", "127.0.0.2"));
}

TEST_F(Race, ALiteralIsItself) {
  EXPECT_EQ(ResolveNow(network, "127.0.0.9")->at(0).Text(), "127.0.0.9");
  EXPECT_EQ(ResolveNow(network, "::2")->at(0).Text(), "::2");
}

TEST_F(Race, ANameWithoutAddressesFails) {
  const auto unknown = ResolveNow(network, "no-such-host.invalid");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().reason, Reason::kResolveFailed);
}

TEST_F(Race, ARefusedAddressIsFollowedByTheNextAtOnce) {
  const Name name({"::1", "127.0.0.2", "127.0.0.1"});
  const SteadyTime began = network.loop().Now();
  Line line(network);
  EXPECT_FALSE(line.Dial(Request()));
  EXPECT_LT(network.loop().Now() - began, 490ms) << "it has not waited for two delays between attempts";
}

TEST_F(Race, ASilentAddressIsOvertaken) {
  const BlackHole silent(exchange.ws_port());
  if (!silent.full()) GTEST_SKIP() << "this kernel refuses, or takes, connections beyond a full backlog";
  const Name name({"::1", "127.0.0.1"});
  const SteadyTime began = network.loop().Now();
  Line line(network);
  EXPECT_FALSE(line.Dial(Request()));
  EXPECT_GE(network.loop().Now() - began, 240ms) << "the first has its head start";
}

// Another transport of the session is connected to it.
TEST_F(Race, AnAddressToBeAvoidedComesLast) {
  const int elsewhere = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  address.sin_port = htons(exchange.ws_port());
  ASSERT_EQ(bind(elsewhere, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(elsewhere, 1), 0);
  DialRequest request = RequestFor("tcp://race.test:" + std::to_string(exchange.ws_port()));
  request.avoid = IpAddress::Parse("127.0.0.1");
  {
    const Name name({"127.0.0.1", "127.0.0.2"});
    EXPECT_FALSE(Line(network).Dial(request));
    pollfd accepted = {.fd = elsewhere, .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&accepted, 1, 10'000), 1);
  }
  close(elsewhere);
  {
    const Name name({"127.0.0.1", "127.0.0.2"});
    EXPECT_FALSE(Line(network).Dial(request)) << "the other does not listen any more";
  }
  const Name name({"127.0.0.1"});
  EXPECT_FALSE(Line(network).Dial(request)) << "there is no other";
}

TEST_F(Race, AllDeadIsAFailure) {
  const Name name({"::1", "127.0.0.2"});
  const auto loss = Line(network).Dial(Request());
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->cause.reason, Reason::kConnectFailed);
}

TEST_F(Race, OneForbiddenAddressForbidsTheName) {
  for (const char* forbidden : {"10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fe80::1"}) {
    const Name name({"127.0.0.1", forbidden});
    const auto loss = Line(network).Dial(Request());
    ASSERT_TRUE(loss) << forbidden;
    EXPECT_EQ(loss->cause.reason, Reason::kEgressDenied);
    EXPECT_TRUE(loss->fatal);
  }
  EXPECT_THAT(exchange.Control("GET", "/connections").json, HasSubstr(R"("connections":[])")) << "not even a SYN";
}

TEST_F(Race, MayBeAbandoned) {
  const BlackHole silent(exchange.ws_port());
  const Name name({"::1", "::1", "127.0.0.1"});
  Line line(network);
  line.Begin(Request());
  line.Abandon();
  network.Settle();
}

}  // namespace
}  // namespace fairlead
