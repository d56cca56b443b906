// Sessions without sockets: a registry on virtual time and a scripted dialler.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/log.h"
#include "session/registry.h"
#include "support/scripted_dialler.h"
#include "support/subscriber.h"
#include "support/virtual_time.h"

namespace fairlead {

inline SessionOptions PlainOptions() {
  SessionOptions options;
  options.url = {"ws", false, "stream.example.com", 80, Secret("/ws")};
  options.heartbeat.interval = Duration::zero();
  return options;
}

inline SetupStep Step(const std::string& key) { return {.key = key, .payload = "do " + key}; }
inline SessionOptions With(std::vector<SetupStep> setup) {
  SessionOptions options = PlainOptions();
  options.setup = std::move(setup);
  return options;
}

inline EgressRule EgressEverywhere() { return {.name = "all", .schemes = {"ws", "wss", "tcp", "tls"}, .hosts = {"*"}}; }

struct Testbed {
  VirtualTime time;
  ScriptedDialler dialler{time};
  Limits limits;
  double draw = 0.5;  // What randomness gives.
  int names = 0;
  Current<Access> access{Access({.egress = {EgressEverywhere()}})};
  Registry registry{dialler,
                    time,
                    [this] { return draw; },
                    limits,
                    [this] { return "epoch-" + std::to_string(++names) + "-of-the-testbed"; },
                    access};
  ScopedLogSink quiet{[](std::string_view) {}};

  Testbed() = default;
  ~Testbed() { time.Settle(); }  // What is posted may hold sessions.
  Testbed(const Testbed&) = delete;
  Testbed& operator=(const Testbed&) = delete;

  std::shared_ptr<Session> Open(SessionOptions options = PlainOptions(), const std::string& name = "md") {
    auto session = registry.Open("dev", name, std::move(options));
    EXPECT_TRUE(session) << (session ? "" : session.error().message);
    return session ? *session : nullptr;
  }
};

// One session with its owner, begun.
struct Conversation : Testbed {
  explicit Conversation(SessionOptions options = PlainOptions(), const Limits& bounds = {}) {
    limits = bounds;
    owner = std::make_unique<Subscriber>(Open(std::move(options)));
    owner->session().Begin();
  }
  // The owner's session: it lives as long as the owner is there.
  Session& session() { return owner->session(); }
  Peer& peer() { return dialler.peer(); }
  Lines Read() {
    time.Settle();
    return owner->Read();
  }
  Lines After(Duration span) {
    time.Advance(span);
    return Read();
  }
  // As far as OPEN, read.
  void Connect() {
    dialler.Accept();
    Read();
  }
  void Send(SendCommand command) { session().Send(std::move(command)); }
  void Send(uint64_t id, const std::string& payload) { session().Send({.id = id, .payload = payload}); }

  std::unique_ptr<Subscriber> owner;
};

}  // namespace fairlead
