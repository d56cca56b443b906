#include "policy/http_response.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/malformed_responses.h"

namespace fairlead {
namespace {

constexpr ResponseReader::Limits kLimits{.header_bytes = 4096, .body_bytes = 65536};

// What came of a response: how the reader answered, and how many bytes it took.
struct Outcome {
  std::string verdict;  // "COMPLETE", "NOT_REUSED", "INCOMPLETE", or a failure's reason.
  std::string message;
  Phase phase = Phase::kUnspecified;
  size_t taken = 0;
  HttpResponseHead head;
  std::string body;
};

class Reading {
 public:
  explicit Reading(bool to_head = false, ResponseReader::Limits limits = kLimits) : reader_(to_head, limits) {}

  Reading& Take(std::string_view bytes) {
    if (failure_) return *this;
    const auto taken = reader_.Take(bytes);
    if (taken) {
      EXPECT_TRUE(*taken == bytes.size() || reader_.complete());
      taken_ += *taken;
    } else {
      failure_ = taken.error();
    }
    return *this;
  }

  Reading& TakeByteByByte(std::string_view bytes) {
    for (const char byte : bytes) Take({&byte, 1});
    return *this;
  }

  Reading& End() {
    if (failure_) return *this;
    if (const auto ended = reader_.End(); !ended) failure_ = ended.error();
    return *this;
  }

  Outcome Tell() {
    Outcome outcome;
    outcome.taken = taken_;
    if (failure_) {
      outcome.verdict = Name(failure_->reason);
      outcome.message = failure_->message;
      outcome.phase = failure_->phase;
      EXPECT_FALSE(reader_.complete());
      EXPECT_FALSE(reader_.keep_alive());
    } else if (reader_.complete()) {
      EXPECT_TRUE(reader_.begun());
      outcome.verdict = reader_.keep_alive() ? "COMPLETE" : "NOT_REUSED";
      outcome.head = reader_.TakeHead();
      outcome.body = reader_.TakeBody();
    } else {
      outcome.verdict = "INCOMPLETE";
      EXPECT_FALSE(reader_.keep_alive());
    }
    return outcome;
  }

  const ResponseReader& reader() const { return reader_; }

 private:
  ResponseReader reader_;
  std::optional<Failure> failure_;
  size_t taken_ = 0;
};

std::string Head(std::string_view lines, std::string_view status = "200 OK") {
  return "HTTP/1.1 " + std::string(status) + "\r\n" + std::string(lines) + "\r\n";
}

const std::string kChunked = Head("Transfer-Encoding: chunked\r\n");

struct Good {
  std::string bytes;
  bool closes = false;  // The exchange ends the connection behind it.
  bool to_head = false;
  std::string verdict = "COMPLETE";
  unsigned status = 200;
  std::string body = {};
  std::vector<Header> headers = {};
};

std::vector<Good> GoodResponses() {
  const Header chunked{"Transfer-Encoding", "chunked"};
  return {
      {.bytes = Head("Content-Length: 0\r\n"), .headers = {{"Content-Length", "0"}}},
      {.bytes = Head("Content-Length: 5\r\n") + "hello", .body = "hello", .headers = {{"Content-Length", "5"}}},
      {.bytes = Head("content-length:005 \t\r\n") + "hello", .body = "hello", .headers = {{"content-length", "005"}}},
      {.bytes = Head("Content-Length: 4\r\n") + "\r\n\r\n", .body = "\r\n\r\n", .headers = {{"Content-Length", "4"}}},
      {.bytes = "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", .headers = {{"Content-Length", "0"}}},
      {.bytes = "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", .headers = {{"Content-Length", "0"}}},
      {.bytes = Head("Content-Length: 0\r\n", "429 Zu viele \xe9 \tAnfragen"),
       .status = 429,
       .headers = {{"Content-Length", "0"}}},
      {.bytes = Head("Content-Length: 1\r\n", "999 Odd") + "x",
       .status = 999,
       .body = "x",
       .headers = {{"Content-Length", "1"}}},
      // Headers in order, repetition kept, white space around values not.
      {.bytes = Head("Set-Cookie: a=1\r\nX-Empty:\r\nset-cookie:\t b=2; c \r\nX-Latin: caf\xe9\r\nX-Blank: \t \r\n"
                     "X-Tab: a\tb\r\nContent-Length: 0\r\n"),
       .headers = {{"Set-Cookie", "a=1"},
                   {"X-Empty", ""},
                   {"set-cookie", "b=2; c"},
                   {"X-Latin", "caf\xe9"},
                   {"X-Blank", ""},
                   {"X-Tab", "a\tb"},
                   {"Content-Length", "0"}}},
      // Chunks.
      {.bytes = kChunked + "0\r\n\r\n", .headers = {chunked}},
      {.bytes = kChunked + "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", .body = "hello!", .headers = {chunked}},
      {.bytes = Head("Transfer-Encoding:  CHUNKED\r\n") + "A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n",
       .body = "01234567890123456789",
       .headers = {{"Transfer-Encoding", "CHUNKED"}}},
      {.bytes = kChunked + "0000000000000005\r\n\r\n\r\n0\r\n0000000000000000\r\n\r\n",
       .body = "\r\n\r\n0",
       .headers = {chunked}},
      {.bytes = kChunked + "5;a\r\nhello\r\n1 ; b = c;d=\"e \\\" ; f\";g\t\r\n!\r\n0;h=i\r\n\r\n",
       .verdict = "RESPONSE_INVALID"},  // White space behind the last extension.
      {.bytes = kChunked + "5;a\r\nhello\r\n1 ; b = c;d=\"e \\\" ; f\\\\\";g\r\n!\r\n0;h=i\r\n\r\n",
       .body = "hello!",
       .headers = {chunked}},
      {.bytes = kChunked + "2\r\nhi\r\n0\r\nExpires: never\r\nX-Sum:1\r\n\r\n", .body = "hi", .headers = {chunked}},
      // Without a body.
      {.bytes = Head("Content-Length: 5\r\n"), .to_head = true, .headers = {{"Content-Length", "5"}}},
      {.bytes = Head("Content-Length: 99999999\r\n"), .to_head = true, .headers = {{"Content-Length", "99999999"}}},
      {.bytes = kChunked, .to_head = true, .headers = {chunked}},
      {.bytes = Head(""), .to_head = true},
      {.bytes = Head("", "204 No Content"), .status = 204},
      {.bytes = Head("Content-Length: 0\r\n", "204 No Content"), .status = 204, .headers = {{"Content-Length", "0"}}},
      {.bytes = Head("Content-Length: 5\r\n", "304 Not Modified"), .status = 304, .headers = {{"Content-Length", "5"}}},
      {.bytes = Head("Transfer-Encoding: chunked\r\n", "304 Not Modified"), .status = 304, .headers = {chunked}},
      // Interim responses.
      {.bytes =
           Head("", "100 Continue") + Head("Link: </a>\r\n", "103 Early Hints") + Head("Content-Length: 1\r\n") + "x",
       .body = "x",
       .headers = {{"Content-Length", "1"}}},
      {.bytes = Head("Connection: close\r\n", "100") + Head("Content-Length: 0\r\n"),
       .headers = {{"Content-Length", "0"}}},
      // The connection is kept unless it is said to close.
      {.bytes = Head("Connection: keep-alive\r\nContent-Length: 0\r\n"),
       .headers = {{"Connection", "keep-alive"}, {"Content-Length", "0"}}},
      {.bytes = Head("Connection: , not-close,\r\nContent-Length: 0\r\n"),
       .headers = {{"Connection", ", not-close,"}, {"Content-Length", "0"}}},
      {.bytes = Head("Connection: close\r\nContent-Length: 2\r\n") + "hi",
       .verdict = "NOT_REUSED",
       .body = "hi",
       .headers = {{"Connection", "close"}, {"Content-Length", "2"}}},
      {.bytes = Head("connection: Keep-Alive ,\tCLOSE\r\nContent-Length: 0\r\n"),
       .verdict = "NOT_REUSED",
       .headers = {{"connection", "Keep-Alive ,\tCLOSE"}, {"Content-Length", "0"}}},
      {.bytes = Head("Connection: close\r\nConnection: keep-alive\r\nContent-Length: 0\r\n"),
       .verdict = "NOT_REUSED",
       .headers = {{"Connection", "close"}, {"Connection", "keep-alive"}, {"Content-Length", "0"}}},
      {.bytes = Head("Proxy-Connection: close\r\nContent-Length: 0\r\n"),
       .verdict = "NOT_REUSED",
       .headers = {{"Proxy-Connection", "close"}, {"Content-Length", "0"}}},
      {.bytes = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
       .verdict = "NOT_REUSED",
       .body = "hi",
       .headers = {{"Connection", "keep-alive"}, {"Content-Length", "2"}}},
      // Until the end of the connection.
      {.bytes = Head("") + "hello", .closes = true, .verdict = "NOT_REUSED", .body = "hello"},
      {.bytes = Head(""), .closes = true, .verdict = "NOT_REUSED"},
      {.bytes = Head(""), .verdict = "INCOMPLETE"},
      {.bytes = "HTTP/1.0 200 OK\r\n\r\nhello", .closes = true, .verdict = "NOT_REUSED", .body = "hello"},
  };
}

void Expect(const Good& good, Reading reading) {
  if (good.closes) reading.End();
  const Outcome outcome = reading.Tell();
  EXPECT_EQ(outcome.verdict, good.verdict) << outcome.message;
  if (outcome.verdict != "COMPLETE" && outcome.verdict != "NOT_REUSED") return;
  EXPECT_EQ(outcome.head.status, good.status);
  EXPECT_EQ(outcome.head.headers, good.headers);
  EXPECT_EQ(outcome.body, good.body);
  EXPECT_EQ(outcome.taken, good.bytes.size());
}

TEST(ResponseReader, ReadsGoodResponsesHoweverTheyAreCut) {
  for (const Good& good : GoodResponses()) {
    SCOPED_TRACE(testing::PrintToString(good.bytes));
    const std::string_view bytes = good.bytes;
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
      SCOPED_TRACE("cut at " + std::to_string(cut));
      Expect(good, Reading(good.to_head).Take(bytes.substr(0, cut)).Take(bytes.substr(cut)));
    }
    Expect(good, Reading(good.to_head).TakeByteByByte(bytes));
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ResponseReader, RefusesMalformedResponsesWholeAndByteByByte) {
  const MalformedResponses malformed = ReadMalformedResponses();
  const ResponseReader::Limits limits{malformed.header_bytes, malformed.body_bytes};
  ASSERT_GT(malformed.cases.size(), 100u);
  for (const MalformedResponse& each : malformed.cases) {
    SCOPED_TRACE(each.name);
    Reading whole(each.to_head, limits);
    whole.Take(each.bytes);
    Reading bytewise(each.to_head, limits);
    bytewise.TakeByteByByte(each.bytes);
    for (Reading* reading : {&whole, &bytewise}) {
      if (each.closes) EXPECT_EQ(Reading(*reading).Tell().verdict, "INCOMPLETE");
      if (each.closes) reading->End();
      const Outcome outcome = reading->Tell();
      EXPECT_EQ(outcome.verdict, each.verdict) << outcome.message;
      const bool silent = each.verdict == "CONNECTION_LOST" && !reading->reader().begun();
      if (each.verdict != "NOT_REUSED") {
        EXPECT_EQ(outcome.phase, silent ? Phase::kSentNoReply : Phase::kReplied) << outcome.message;
      }
    }
  }
}

TEST(ResponseReader, LeavesWhatIsBehindTheResponse) {
  const std::string response = Head("Content-Length: 5\r\n") + "hello";
  ResponseReader reader(false, kLimits);
  EXPECT_EQ(reader.Take(response + "HTTP/1.1 "), response.size());
  EXPECT_TRUE(reader.complete());
  EXPECT_FALSE(reader.keep_alive());

  ResponseReader later(false, kLimits);
  EXPECT_EQ(later.Take(response), response.size());
  EXPECT_TRUE(later.keep_alive());
  EXPECT_EQ(later.Take(""), 0u);
  EXPECT_TRUE(later.keep_alive());
  EXPECT_EQ(later.Take("x"), 0u);
  EXPECT_TRUE(later.complete());
  EXPECT_FALSE(later.keep_alive());
}

TEST(ResponseReader, TellsWhenTheFinalResponseHasBegun) {
  ResponseReader reader(false, kLimits);
  const auto begun = [&](std::string_view bytes) {
    EXPECT_EQ(reader.Take(bytes), bytes.size());
    return reader.begun();
  };
  EXPECT_FALSE(begun("HTTP/1.1 "));
  EXPECT_FALSE(begun("1"));
  EXPECT_FALSE(begun("00 Continue\r\nX: 2"));
  EXPECT_FALSE(begun("\r\n\r\n"));
  EXPECT_FALSE(begun("HTTP/1.1 "));
  EXPECT_TRUE(begun("2"));
  EXPECT_TRUE(begun("00 OK\r\n"));
  EXPECT_TRUE(begun("Content-Length: 0\r\n\r\n"));
  EXPECT_TRUE(reader.complete());
}

TEST(ResponseReader, TellsHowFarACutResponseCame) {
  const auto message = [](const std::string& bytes) { return Reading().Take(bytes).End().Tell().message; };
  EXPECT_NE(message(Head("Content-Length: 50\r\n") + "hello").find("after 5 of 50 bytes"), std::string::npos);
  EXPECT_NE(message(kChunked + "5\r\nhello\r\n9\r\nhi").find("after 7 bytes of a body in chunks"), std::string::npos);
  EXPECT_NE(message("HTTP/1.1 200 OK\r\nA: b").find("after 21 bytes of the response's headers"), std::string::npos);
  EXPECT_NE(message("").find("without a response"), std::string::npos);
}

TEST(ResponseReader, HoldsTheLimitsToTheByte) {
  const std::string head = Head("X-A: b\r\nContent-Length: 10\r\n");
  const std::string whole = head + "0123456789";
  const auto verdict = [&](uint64_t header_bytes, uint64_t body_bytes) {
    return Reading(false, {header_bytes, body_bytes}).Take(whole).Tell().verdict;
  };
  EXPECT_EQ(verdict(head.size(), 10), "COMPLETE");
  EXPECT_EQ(verdict(head.size() - 1, 10), "RESPONSE_TOO_LONG");
  EXPECT_EQ(verdict(head.size(), 9), "RESPONSE_TOO_LONG");

  const std::string trailers = "X-Sum: 1234567890123456789012345678901234567890\r\n\r\n";
  const auto chunked = [&](uint64_t header_bytes) {
    return Reading(false, {header_bytes, 0}).Take(kChunked + "0\r\n" + trailers).Tell().verdict;
  };
  ASSERT_GT(trailers.size(), kChunked.size());
  EXPECT_EQ(chunked(trailers.size()), "COMPLETE");
  EXPECT_EQ(chunked(trailers.size() - 1), "RESPONSE_TOO_LONG");

  // Until the end.
  EXPECT_EQ(Reading(false, {100, 5}).Take(Head("") + "hello").End().Tell().verdict, "NOT_REUSED");
  EXPECT_EQ(Reading(false, {100, 4}).Take(Head("") + "hello").End().Tell().verdict, "RESPONSE_TOO_LONG");
  // Eight interim responses, each as long as it may be.
  std::string interim;
  for (int i = 0; i < 8; ++i) interim += Head("X-A: bcd\r\nX-E: fghijk\r\n", "103 Early Hints");
  EXPECT_EQ(Reading(false, {interim.size() / 8, 10}).Take(interim + whole).Tell().verdict, "COMPLETE");
}

TEST(ResponseReader, NamesTheLimitAndItsValue) {
  const Outcome body = Reading(false, {100, 5}).Take(Head("Content-Length: 6\r\n")).Tell();
  EXPECT_NE(body.message.find("request.max_response_bytes"), std::string::npos) << body.message;
  EXPECT_NE(body.message.find(" is 5"), std::string::npos) << body.message;
  const Outcome head = Reading(false, {20, 5}).Take(Head("Content-Length: 6\r\n")).Tell();
  EXPECT_NE(head.message.find("http.response_header_bytes is 20"), std::string::npos) << head.message;
}

TEST(ResponseReader, QuotesNothing) {
  for (const std::string& bytes :
       {Head("X-Token: secret\x01\r\n"), Head("secret\r\n"), Head("Content-Length: secret\r\n"), Head("", "secret"),
        std::string("secret\r\n"), kChunked + "secret\r\n"}) {
    const Outcome outcome = Reading().Take(bytes).Tell();
    EXPECT_EQ(outcome.verdict, "RESPONSE_INVALID");
    EXPECT_EQ(outcome.message.find("secret"), std::string::npos) << outcome.message;
  }
}

TEST(ResponseReader, ReservesNoMoreThanHasArrived) {
  ResponseReader reader(false, {.header_bytes = 4096, .body_bytes = uint64_t{1} << 62});
  ASSERT_TRUE(reader.Take(Head("Content-Length: 4611686018427387904\r\n") + "hello"));
  EXPECT_TRUE(reader.begun());
  EXPECT_FALSE(reader.complete());
  EXPECT_LE(reader.TakeBody().capacity(), 64u * 1024);
}

}  // namespace
}  // namespace fairlead
