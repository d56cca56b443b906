// HTTP requests without sockets: an engine on virtual time and a scripted connector.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "http/engine.h"
#include "support/scripted_connector.h"
#include "support/virtual_time.h"

namespace fairlead {

inline HttpRequest Get(const std::string& url) {
  return {.method = "GET", .url = ParseRequestUrl(url, 8192).value_or(TargetUrl{}), .max_response_bytes = kMiB};
}
inline HttpRequest GetApi(const std::string& target = "/") { return Get("https://api.example.com" + target); }
inline HttpRequest PostApi(std::string body, const std::string& target = "/") {
  HttpRequest request = GetApi(target);
  request.method = "POST";
  request.body = std::move(body);
  return request;
}

inline std::string Ok(const std::string& body = "ok", const std::string& headers = "") {
  return "HTTP/1.1 200 OK\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// A request and what came of it.
class Asked {
 public:
  bool done() const { return outcome_.has_value(); }
  // "200 ok", "CONNECTION_LOST SENT_NO_REPLY", or "nothing yet".
  std::string Told() const {
    if (!outcome_) return "nothing yet";
    if (*outcome_) return std::to_string((*outcome_)->status) + " " + (*outcome_)->body;
    return std::string(Name(outcome_->error().reason)) + " " + std::string(Name(outcome_->error().phase));
  }
  const Result<HttpResponse>& outcome() const { return *outcome_; }
  std::string message() const { return outcome_ && !*outcome_ ? outcome_->error().message : ""; }
  // As a gRPC call that has been cancelled, or is over.
  void Drop() {
    dropped_ = !done();
    under_way_.reset();
  }
  bool dropped() const { return dropped_; }

 private:
  friend struct HttpTestbed;
  std::optional<HttpEngine::UnderWay> under_way_;
  std::optional<Result<HttpResponse>> outcome_;
  bool dropped_ = false;
};

struct HttpTestbed {
  VirtualTime time;
  ScriptedConnector connector{time};
  Limits limits;
  Current<Access> access;
  HttpOptions options;  // Before the first request.
  ScopedLogSink quiet{[](std::string_view) {}};

  HttpTestbed() = default;
  ~HttpTestbed() {
    asked_.clear();
    engine_.reset();
    time.Settle();  // What is posted may hold what is gone.
  }
  HttpTestbed(const HttpTestbed&) = delete;
  HttpTestbed& operator=(const HttpTestbed&) = delete;

  HttpEngine& engine() {
    if (!engine_) engine_ = std::make_unique<HttpEngine>(connector, time, limits, options, access);
    return *engine_;
  }
  // Without a turn of the loop.
  Asked& Ask(HttpRequest request, const std::string& identity = "dev") {
    auto asked = std::make_shared<Asked>();
    asked_.push_back(asked);
    auto under_way = engine().Send(identity, std::move(request), [asked = asked.get()](Result<HttpResponse> outcome) {
      EXPECT_FALSE(asked->outcome_) << "a second outcome";
      EXPECT_FALSE(asked->dropped_) << "an outcome that nobody wants";
      asked->outcome_ = std::move(outcome);
    });
    asked->under_way_.emplace(std::move(under_way));
    return *asked;
  }
  // As far as it goes without an answer.
  Asked& Sent(HttpRequest request, const std::string& identity = "dev") {
    Asked& asked = Ask(std::move(request), identity);
    time.Settle();
    return asked;
  }
  HttpPeer& peer(size_t number) { return *connector.peers.at(number); }
  HttpPeer& peer() { return connector.peer(); }
  void Answer(HttpPeer& peer, const std::string& bytes = Ok()) {
    peer.Answer(bytes);
    time.Settle();
  }

  // The adapters' calls are over, and connections have nothing to do: nothing is left, nothing is counted.
  void ExpectNothingLeft() {
    for (const auto& asked : asked_) asked->Drop();
    time.Settle();
    EXPECT_EQ(engine().totals().requests, 0u);
    EXPECT_EQ(engine().totals().body_bytes, 0u);
    time.Advance(options.idle_timeout + options.dial_timeout);
    EXPECT_EQ(engine().totals().connections, connector.under_way());
    EXPECT_EQ(connector.open(), 0u);
    if (connector.under_way() == 0) {
      EXPECT_EQ(time.NextDue(), std::nullopt) << "a timer is left";
    }
  }
  const std::vector<std::shared_ptr<Asked>>& asked() const { return asked_; }

 private:
  std::unique_ptr<HttpEngine> engine_;
  std::vector<std::shared_ptr<Asked>> asked_;
};

}  // namespace fairlead
