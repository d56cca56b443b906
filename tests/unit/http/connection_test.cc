// One connection in a dialogue with a scripted exchange.
#include "http/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"
#include "support/http_testbed.h"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using State = Connection::State;

struct Conversation {
  VirtualTime time;
  ScriptedConnector connector{time};
  std::shared_ptr<HttpPeer> peer;
  Connection::Tally tally = {};
  std::unique_ptr<Connection> connection;
  std::vector<State> states;  // Those that were told.
  std::vector<std::string> told;
  std::string message;  // Of the last failure.
  Result<void> room;    // What `grew` answers.
  size_t grown = 0;
  bool destroy_when_told = false;

  explicit Conversation(bool takes_writes = true) {
    connector.prepare = [takes_writes](HttpPeer& each) { each.takes_writes = takes_writes; };
    const auto dial = connector.Open("dev", GetApi().url, 1s, [this](Result<OpenedStream> opened) {
      connection = std::make_unique<Connection>(std::move(opened->stream), time, tally, [this](Connection& changed) {
        states.push_back(changed.state());
        if (destroy_when_told) connection.reset();
      });
    });
    connector.accepts = false;
    time.Settle();
    peer = connector.peers.front();
  }
  ~Conversation() {
    connection.reset();
    time.Settle();
    EXPECT_EQ(tally, Connection::Tally());
  }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  void Begin(const std::string& body = "", bool to_head = false) {
    ASSERT_EQ(connection->state(), State::kIdle);
    const size_t changes = states.size();
    connection->Send(
        {.head = "HEAD ",
         .body = body,
         .to_head = to_head,
         .limits = {.header_bytes = 1000, .body_bytes = 1000},
         .grew =
             [this](size_t bytes) {
               grown = bytes;
               return room;
             }},
        [this, changes](Result<Answer> answer) {
          EXPECT_EQ(states.size(), changes) << "it tells first, and changes then";
          if (answer) told.push_back(std::to_string(answer->status) + " " + answer->body);
          if (!answer) {
            message = answer.error().message;
            told.push_back(std::string(Name(answer.error().reason)) + " " + std::string(Name(answer.error().phase)));
          }
          if (destroy_when_told) connection.reset();
        });
  }
  void Send(const std::string& body = "", bool to_head = false) {
    Begin(body, to_head);
    time.Settle();
  }
  void Reply(const std::string& bytes) {
    peer->Answer(bytes);
    time.Settle();
  }
  // What has been told since the last look.
  std::string Told() {
    EXPECT_LE(told.size(), 1u) << "told twice";
    const std::string last = told.empty() ? "nothing yet" : told.back();
    told.clear();
    return last;
  }
  void ExpectIdle() const {
    EXPECT_EQ(connection->state(), State::kIdle);
    EXPECT_TRUE(connection->Usable());
    EXPECT_TRUE(peer->open());
  }
  void ExpectClosed() const {
    EXPECT_EQ(connection->state(), State::kClosed);
    EXPECT_FALSE(connection->Usable());
    EXPECT_FALSE(peer->open());
    EXPECT_EQ(states.empty() ? State::kIdle : states.back(), State::kClosed) << "and says so";
  }
};

TEST(Connection, CarriesOneRequestAfterTheOther) {
  Conversation with;
  EXPECT_FALSE(with.connection->used());
  with.Send("body");
  EXPECT_EQ(with.connection->state(), State::kBusy);
  EXPECT_FALSE(with.connection->Usable());
  EXPECT_EQ(with.peer->requests.at(0).text, "HEAD body") << "both in one write";
  with.Reply(Ok("one"));
  EXPECT_EQ(with.Told(), "200 one");
  with.ExpectIdle();
  EXPECT_TRUE(with.connection->used());
  with.Send();
  with.Reply("HTTP/1.1 204 \r\n\r\n");
  EXPECT_EQ(with.Told(), "204 ");
  with.Send("", /*to_head=*/true);
  with.Reply("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
  EXPECT_EQ(with.Told(), "200 ") << "an answer to HEAD has no body";
  with.ExpectIdle();
  EXPECT_THAT(with.states, testing::ElementsAre(State::kIdle, State::kIdle, State::kIdle));
}

TEST(Connection, TheAnswerMayComeInPieces) {
  Conversation with;
  with.Send();
  for (const char byte : Ok("hello")) with.Reply({&byte, 1});
  EXPECT_EQ(with.Told(), "200 hello");
  EXPECT_EQ(with.grown, 5u);
  with.ExpectIdle();
}

TEST(Connection, TimesTheFirstByte) {
  Conversation with;
  std::optional<Duration> first_byte;
  with.connection->Send({.head = "", .body = "", .limits = {1000, 1000}, .grew = [](size_t) { return Result<void>(); }},
                        [&](Result<Answer> answer) { first_byte = answer->first_byte; });
  with.time.Advance(20ms);
  with.Reply("HTTP/1.1 100 \r\n\r\n");
  with.time.Advance(30ms);
  with.Reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
  with.time.Advance(40ms);
  with.Reply("k");
  EXPECT_EQ(first_byte, 50ms) << "of the response: the interim one does not count";
}

// What the exchange does to a connection that has nothing to do.
TEST(Connection, ClosesOnAnythingThatComesWhileIdle) {
  for (const bool used : {false, true}) {
    for (const std::string event : {"bytes", "end", "reset"}) {
      SCOPED_TRACE(event + (used ? " after a request" : " before the first request"));
      Conversation with;
      if (used) {
        with.Send();
        with.Reply(Ok());
        EXPECT_EQ(with.Told(), "200 ok");
      }
      if (event == "bytes") with.peer->Answer("HTTP/1.1 408 Request Timeout\r\n\r\n");
      if (event == "end") with.peer->End();
      if (event == "reset") with.peer->Reset();
      EXPECT_EQ(with.connection->state(), State::kIdle);
      EXPECT_FALSE(with.connection->Usable()) << "the kernel knows, before the loop does";
      with.time.Settle();
      with.ExpectClosed();
      EXPECT_EQ(with.Told(), "nothing yet");
    }
  }
}

TEST(Connection, ClosesOnWhatComesWithOrRightBehindTheAnswer) {
  for (const std::string behind : {"HTTP/1.1 200 OK\r\n", "\r\n", "x", ""}) {
    for (const bool in_one_read : {true, false}) {
      SCOPED_TRACE(behind + (in_one_read ? " in one read" : " in another"));
      if (in_one_read && behind.empty()) continue;  // Nothing, and no end.
      Conversation with;
      with.Send();
      if (in_one_read) {
        with.peer->Answer(Ok() + behind);
      } else {
        with.peer->Answer(Ok());
        behind.empty() ? with.peer->End() : with.peer->Answer(behind);
      }
      with.time.Settle();
      EXPECT_EQ(with.Told(), "200 ok") << "the answer is whole";
      with.ExpectClosed();
      EXPECT_TRUE(with.states.size() == 1) << "never told to be idle";
    }
  }
}

TEST(Connection, ClosesAfterAnAnswerThatSaysSo) {
  for (const std::string answer : {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
                                   "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"}) {
    Conversation with;
    with.Send();
    with.Reply(answer);
    EXPECT_EQ(with.Told(), "200 ok");
    with.ExpectClosed();
  }
  Conversation with;
  with.Send();
  with.Reply("HTTP/1.1 200 OK\r\n\r\nuntil the end");
  EXPECT_EQ(with.Told(), "nothing yet");
  with.peer->End();
  with.time.Settle();
  EXPECT_EQ(with.Told(), "200 until the end");
  with.ExpectClosed();
}

TEST(Connection, AnAnswerThatOvertakesItsRequestIsAnAnswer) {
  Conversation with(/*takes_writes=*/false);
  with.Send("a long body");
  with.peer->Answer("HTTP/1.1 413 \r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(with.Told(), "nothing yet");
  with.time.Settle();
  EXPECT_EQ(with.Told(), "413 ");
  EXPECT_EQ(with.peer->requests.at(0).taken, Phase::kPartlySent) << "told when the write had ended";
  with.ExpectClosed();
}

TEST(Connection, IsNotUsedAgainWhenTheRequestWasNotWrittenWhole) {
  Conversation with(/*takes_writes=*/false);
  with.Send("a long body");
  with.peer->Take(Phase::kPartlySent);
  with.time.Settle();
  EXPECT_EQ(with.Told(), "nothing yet") << "an answer may have come before the end";
  with.Reply(Ok());
  EXPECT_EQ(with.Told(), "200 ok");
  with.ExpectClosed();
}

// Each failure, and the phase that it has.
TEST(Connection, TellsTheExactPhaseOfALoss) {
  struct Case {
    std::optional<Phase> taken;  // Of the write, before the loss; absent: it is under way.
    std::string answer;          // What has come before the loss.
    bool reset;                  // Else an end in order.
    Phase at_reset;              // How far a write under way came.
    std::string told;
  };
  const Case cases[] = {
      {Phase::kSentNoReply, "", false, {}, "CONNECTION_LOST SENT_NO_REPLY"},
      {Phase::kSentNoReply, "", true, {}, "CONNECTION_LOST SENT_NO_REPLY"},
      {Phase::kSentNoReply, "HTTP/1.1 100 \r\n\r\n", true, {}, "CONNECTION_LOST SENT_NO_REPLY"},
      {Phase::kSentNoReply, "HTTP/1.1 ", true, {}, "CONNECTION_LOST SENT_NO_REPLY"},
      {Phase::kSentNoReply, "HTTP/1.1 2", true, {}, "CONNECTION_LOST REPLIED"},
      {Phase::kSentNoReply, "HTTP/1.1 200 OK\r\nA: b", false, {}, "CONNECTION_LOST REPLIED"},
      {Phase::kSentNoReply, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", true, {}, "CONNECTION_LOST REPLIED"},
      {Phase::kSentNoReply, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false, {}, "RESPONSE_INVALID REPLIED"},
      {Phase::kSentNoReply, "SSH-2.0-x\r\n", true, {}, "RESPONSE_INVALID REPLIED"},
      {std::nullopt, "", true, Phase::kPartlySent, "CONNECTION_LOST PARTLY_SENT"},
      {std::nullopt, "", true, Phase::kNotSent, "CONNECTION_LOST NOT_SENT"},
      {std::nullopt, "", true, Phase::kSentNoReply, "CONNECTION_LOST SENT_NO_REPLY"},
      {std::nullopt, "HTTP/1.1 413 \r\n", true, Phase::kPartlySent, "CONNECTION_LOST REPLIED"},
      {Phase::kPartlySent, "", true, {}, "CONNECTION_LOST PARTLY_SENT"},
      {Phase::kNotSent, "", true, {}, "CONNECTION_LOST NOT_SENT"},
      {Phase::kNotSent, "", false, {}, "CONNECTION_LOST NOT_SENT"},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.told + " after \"" + each.answer + "\"");
    Conversation with(/*takes_writes=*/false);
    with.peer->taken_at_abort = each.at_reset;
    with.Send("body");
    if (each.taken) with.peer->Take(*each.taken);
    with.time.Settle();
    if (!each.answer.empty()) with.Reply(each.answer);
    each.reset ? with.peer->Reset(each.at_reset) : with.peer->End();
    with.time.Settle();
    EXPECT_EQ(with.Told(), each.told) << with.message;
    with.ExpectClosed();
  }
}

TEST(Connection, AFailureIsToldOnlyWhenTheWriteHasEnded) {
  for (const bool cancelled : {false, true}) {
    Conversation with(/*takes_writes=*/false);
    with.Send("body");
    if (cancelled) {
      with.connection->Cancel(Reason::kRequestTimeout, "too long");
    } else {
      with.peer->Answer("no HTTP at all\r\n");
    }
    EXPECT_EQ(with.Told(), "nothing yet") << "nobody knows yet how far it came";
    EXPECT_EQ(with.connection->state(), State::kBusy);
    with.time.Settle();
    EXPECT_EQ(with.Told(), cancelled ? "REQUEST_TIMEOUT PARTLY_SENT" : "RESPONSE_INVALID REPLIED");
    with.ExpectClosed();
  }
}

TEST(Connection, EndsWhatIsCancelledInEveryState) {
  const auto cancel = [](Conversation& with) {
    with.connection->Cancel(Reason::kRequestTimeout, "too long");
    with.time.Settle();
  };
  {
    Conversation with;
    cancel(with);
    with.ExpectIdle();  // Nothing was under way.
    EXPECT_EQ(with.Told(), "nothing yet");
  }
  {
    Conversation with(/*takes_writes=*/false);
    with.peer->taken_at_abort = Phase::kNotSent;
    with.Begin("body");
    cancel(with);
    EXPECT_EQ(with.Told(), "REQUEST_TIMEOUT NOT_SENT");
    EXPECT_EQ(with.message, "too long");
    with.ExpectClosed();
  }
  {
    Conversation with;
    with.Send();
    cancel(with);
    EXPECT_EQ(with.Told(), "REQUEST_TIMEOUT SENT_NO_REPLY");
    cancel(with);
    EXPECT_EQ(with.Told(), "nothing yet") << "once";
    with.ExpectClosed();
  }
  {
    Conversation with;
    with.Send();
    with.Reply("HTTP/1.1 200 OK\r\n");
    cancel(with);
    EXPECT_EQ(with.Told(), "REQUEST_TIMEOUT REPLIED");
    with.ExpectClosed();
  }
  {
    Conversation with;
    with.Send();
    with.Reply(Ok());
    EXPECT_EQ(with.Told(), "200 ok");
    cancel(with);
    with.ExpectIdle();  // Too late.
  }
}

TEST(Connection, EndsAnAnswerThatIsTooLongOrHasNoRoom) {
  Conversation with;
  with.Send();
  with.Reply("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_EQ(with.Told(), "RESPONSE_TOO_LONG REPLIED");
  with.ExpectClosed();

  Conversation crowded;
  crowded.room = std::unexpected(Failure{Reason::kLimitReached, Phase::kReplied, "no room"});
  crowded.Send();
  crowded.Reply(Ok("abc"));
  EXPECT_EQ(crowded.Told(), "LIMIT_REACHED REPLIED");
  EXPECT_EQ(crowded.grown, 3u);
  crowded.ExpectClosed();
}

TEST(Connection, MayBeDestroyedWhenItTells) {
  for (const std::string event : {"answer", "close", "reset", "cancel", "nonsense"}) {
    SCOPED_TRACE(event);
    Conversation with;
    with.destroy_when_told = true;
    with.Send();
    if (event == "answer") with.Reply(Ok());
    if (event == "close") with.Reply(Ok("x", "Connection: close\r\n"));
    if (event == "reset") with.peer->Reset();
    if (event == "cancel") with.connection->Cancel(Reason::kRequestTimeout, "");
    if (event == "nonsense") with.Reply("nonsense\r\n");
    with.time.Settle();
    EXPECT_EQ(with.told.size(), 1u);
    EXPECT_EQ(with.connection, nullptr);
    EXPECT_TRUE(with.states.empty()) << "no call comes afterwards";
    EXPECT_FALSE(with.peer->open());
  }
}

TEST(Connection, MayBeDestroyedWhenItChanges) {
  Conversation with;
  with.destroy_when_told = true;
  with.peer->End();
  with.time.Settle();
  EXPECT_EQ(with.connection, nullptr);
}

TEST(Connection, TellsNobodyOnceDestroyed) {
  Conversation with(/*takes_writes=*/false);
  with.Send("body");
  with.peer->Answer(Ok());
  with.connection.reset();
  EXPECT_FALSE(with.peer->open());
  with.time.Settle();
  EXPECT_EQ(with.Told(), "nothing yet");
  EXPECT_EQ(with.peer->requests.at(0).taken, Phase::kPartlySent);
}

}  // namespace
}  // namespace fairlead
