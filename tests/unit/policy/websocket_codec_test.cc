#include "policy/websocket_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/random.h"

namespace fairlead {
namespace {

using namespace std::string_literals;
using Found = WebSocketReader::Found;
using Lines = std::vector<std::string>;
using testing::ElementsAre;

constexpr uint64_t kMax = 1 << 20;
constexpr uint8_t kFinal = 0x80;
constexpr uint8_t kRsv1 = 0x40;

// A frame as a server sends it.
std::string Frame(int first, std::string_view payload) {
  std::string frame(1, static_cast<char>(first));
  const auto size = payload.size();
  int bytes = 0;
  if (size < 126) {
    frame.push_back(static_cast<char>(size));
  } else {
    bytes = size <= 0xffff ? 2 : 8;
    frame.push_back(static_cast<char>(bytes == 2 ? 126 : 127));
  }
  while (bytes-- > 0) frame.push_back(static_cast<char>(size >> (8 * bytes)));
  return frame.append(payload);
}
std::string Text(std::string_view payload) { return Frame(kFinal | 1, payload); }
std::string Binary(std::string_view payload) { return Frame(kFinal | 2, payload); }
std::string Ping(std::string_view payload) { return Frame(kFinal | 9, payload); }
std::string Pong(std::string_view payload) { return Frame(kFinal | 10, payload); }
std::string Close(std::string_view payload) { return Frame(kFinal | 8, payload); }

struct Reading {
  explicit Reading(uint64_t max = kMax, const std::optional<DeflateTerms>& terms = std::nullopt) : reader(max, terms) {}

  // What is found in it: "text hello", "ping x", "close 1000 bye", "1002 why".
  Lines Read(std::string_view bytes) {
    Lines lines;
    while (!over) {
      switch (reader.Next(bytes)) {
        case Found::kNothing:
          EXPECT_TRUE(bytes.empty()) << "left something";
          return lines;
        case Found::kMessage:
          lines.push_back((reader.kind() == FrameKind::kText ? "text " : "binary ") + std::string(reader.payload()));
          break;
        case Found::kPing:
          lines.push_back("ping " + std::string(reader.control()));
          break;
        case Found::kPong:
          lines.push_back("pong " + std::string(reader.control()));
          break;
        case Found::kClose:
          lines.push_back("close " + std::to_string(reader.close_code()) + " " + std::string(reader.close_reason()));
          over = true;
          break;
        case Found::kViolation:
          lines.push_back(std::to_string(reader.violation().close_code));
          over = true;
          break;
      }
    }
    return lines;
  }

  WebSocketReader reader;
  bool over = false;
};

// The same, in pieces: nothing may depend on where reads end.
Lines InPieces(std::string_view bytes, const std::vector<size_t>& cuts, const std::optional<DeflateTerms>& terms) {
  Reading reading(kMax, terms);
  Lines lines;
  size_t from = 0;
  for (const size_t cut : cuts) {
    for (std::string& line : reading.Read(bytes.substr(from, cut - from))) lines.push_back(std::move(line));
    from = cut;
  }
  for (std::string& line : reading.Read(bytes.substr(from))) lines.push_back(std::move(line));
  return lines;
}

// ---- Messages. ----

TEST(WebSocketReader, ReadsMessages) {
  Reading reading;
  EXPECT_THAT(reading.Read(Text("hello") + Binary("\x00\xff"s) + Text("") + Binary("")),
              ElementsAre("text hello", "binary \x00\xff"s, "text ", "binary "));
  EXPECT_THAT(reading.Read(""), ElementsAre());
}

TEST(WebSocketReader, ReadsEveryLengthOfALength) {
  for (const size_t size : {0, 1, 125, 126, 127, 65'535, 65'536, 1'000'000}) {
    Reading reading;
    const std::string payload(size, 'x');
    EXPECT_EQ(reading.Read(Text(payload)), Lines{"text " + payload}) << size;
  }
}

TEST(WebSocketReader, JoinsFragments) {
  Reading reading;
  EXPECT_THAT(reading.Read(Frame(1, "one, ") + Frame(0, "") + Frame(0, "two, ")), ElementsAre());
  EXPECT_THAT(reading.Read(Frame(kFinal, "three")), ElementsAre("text one, two, three"));
  EXPECT_THAT(reading.Read(Frame(2, "") + Frame(kFinal, "") + Text("next")), ElementsAre("binary ", "text next"));
}

TEST(WebSocketReader, ControlFramesComeBetweenFragments) {
  Reading reading;
  EXPECT_THAT(reading.Read(Frame(1, "a") + Ping("p") + Frame(0, "b") + Pong("") + Frame(kFinal, "c")),
              ElementsAre("ping p", "pong ", "text abc"));
  EXPECT_THAT(reading.Read(Frame(1, "a") + Ping(std::string(125, 'p')) + Close("")),
              ElementsAre("ping " + std::string(125, 'p'), "close 1005 "))
      << "also the last of them";
}

TEST(WebSocketReader, TextMayBeCutWithinACharacter) {
  Reading reading;
  EXPECT_THAT(reading.Read(Frame(1, "10 \xe2") + Ping("") + Frame(0, "\x82") + Frame(kFinal, "\xac")),
              ElementsAre("ping ", "text 10 \xe2\x82\xac"));
}

TEST(WebSocketReader, GivesPayloadsThatHoldNoMoreThanTheyNeed) {
  WebSocketReader reader(kMax, std::nullopt);
  std::string bytes;
  for (int i = 0; i < 999; ++i) bytes += Frame(i == 0 ? 2 : 0, std::string(100, 'x'));
  bytes += Frame(kFinal, "");
  std::string_view input = bytes;
  ASSERT_EQ(reader.Next(input), Found::kMessage);
  const std::string payload(reader.payload());
  EXPECT_EQ(payload.size(), 99'900u);
  EXPECT_LE(payload.capacity(), payload.size() + payload.size() / 4 + 64);
}

TEST(WebSocketReader, NothingDependsOnWhereReadsEnd) {
  Deflater deflater(DeflateTerms{});
  const auto compressed = [&](std::string_view text) { return *deflater.Compress(text); };
  const std::string one = compressed("price 1.0, price 1.1, price 1.2");
  const std::string two = compressed("price 1.1, price 1.2, price 1.3 \xe2\x82\xac");
  const std::string bytes = Text("caf\xc3\xa9") + Ping("are you there?") + Frame(1, "fr\xc3") + Pong("x") +
                            Frame(kFinal, "\xa9") + Binary(std::string(200, '\xff')) + Frame(kFinal | kRsv1 | 1, one) +
                            Frame(kRsv1 | 1, two.substr(0, 7)) + Ping("") + Frame(0, "") +
                            Frame(kFinal, two.substr(7)) +
                            Close(
                                "\x03\xe8"
                                "bye");
  Reading whole(kMax, DeflateTerms{});
  const Lines expected = whole.Read(bytes);
  ASSERT_EQ(expected.size(), 9u) << testing::PrintToString(expected);
  EXPECT_EQ(expected.back(), "close 1000 bye");
  for (size_t cut = 0; cut <= bytes.size(); ++cut) EXPECT_EQ(InPieces(bytes, {cut}, DeflateTerms{}), expected) << cut;
  std::vector<size_t> everywhere;
  for (size_t cut = 1; cut < bytes.size(); ++cut) everywhere.push_back(cut);
  EXPECT_EQ(InPieces(bytes, everywhere, DeflateTerms{}), expected) << "byte by byte";
}

TEST(WebSocketReader, NorDoesNonsense) {
  ForEachSeed(2000, [](Draws& draws) {
    std::string bytes;
    const std::string frames[] = {Text("hello"),
                                  Binary("\x01"),
                                  Frame(1, "a\xc3"),
                                  Frame(0, "b"),
                                  Frame(kFinal, "\xa9"),
                                  Ping("p"),
                                  Pong(""),
                                  Close("\x03\xe8"),
                                  Text(std::string(300, 'x')),
                                  Frame(kFinal | kRsv1 | 1, "\xf2\x48\xcd\xc9\xc9\x07\x00"s)};
    for (uint64_t i = draws.Between(1, 12); i > 0; --i) bytes += frames[draws.Below(std::size(frames))];
    for (uint64_t i = draws.Below(4); i > 0; --i)
      bytes[draws.Below(bytes.size())] = static_cast<char>(draws.Below(256));
    std::vector<size_t> cuts;
    for (size_t at = 0; at < bytes.size(); at += draws.Between(1, 20)) cuts.push_back(at);
    Reading whole(kMax, DeflateTerms{});
    ASSERT_EQ(InPieces(bytes, cuts, DeflateTerms{}), whole.Read(bytes)) << testing::PrintToString(bytes);
  });
}

// ---- The end. ----

TEST(WebSocketReader, ReadsCloseFrames) {
  struct Case {
    std::string payload;
    std::string found;
  };
  const Case cases[] = {{"", "close 1005 "},
                        {"\x03\xe8"s, "close 1000 "},
                        {"\x0f\xa1maintenance"s, "close 4001 maintenance"},
                        {"\x03\xf4" + std::string(123, 'r'), "close 1012 " + std::string(123, 'r')}};
  for (const Case& each : cases) EXPECT_EQ(Reading().Read(Close(each.payload)), Lines{each.found});
}

TEST(WebSocketReader, KnowsWhichCloseCodesMayBeSent) {
  for (int code = 0; code <= 0xffff; ++code) {
    const bool allowed = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || code >= 3000;
    Reading reading;
    const std::string payload = {static_cast<char>(code >> 8), static_cast<char>(code)};
    ASSERT_EQ(reading.Read(Close(payload)), Lines{allowed ? "close " + std::to_string(code) + " " : "1002"}) << code;
  }
}

TEST(WebSocketReader, SaysWhatBreaksTheProtocol) {
  struct Case {
    const char* what;
    std::string bytes;
    const char* code;
  };
  const Case cases[] = {
      {"compressed though that was not agreed", Frame(kFinal | kRsv1 | 1, "x"), "1002"},
      {"reserved bit 2", Frame(kFinal | 0x20 | 1, "x"), "1002"},
      {"reserved bit 3", Frame(kFinal | 0x10 | 1, "x"), "1002"},
      {"reserved bit of a control frame", Frame(kFinal | kRsv1 | 9, ""), "1002"},
      {"masked", "\x81\x80 key"s, "1002"},
      {"continuation of nothing", Frame(kFinal, "x"), "1002"},
      {"continuation behind a whole message", Text("x") + Frame(0, "x"), "1002"},
      {"message within a message", Frame(1, "a") + Text("b"), "1002"},
      {"fragmented ping", Frame(9, "x"), "1002"},
      {"fragmented close", Frame(8, ""), "1002"},
      {"long ping", Frame(kFinal | 9, std::string(126, 'x')), "1002"},
      {"long close", Frame(kFinal | 8, "\x03\xe8" + std::string(124, 'x')), "1002"},
      {"length in two bytes that fits one", "\x81\x7e\x00\x7d"s, "1002"},
      {"length in eight bytes that fits two", "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"s, "1002"},
      {"negative length", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"s, "1002"},
      {"close of one byte", Close("\x03"), "1002"},
      {"close reason that is not UTF-8", Close("\x03\xe8\xff"), "1007"},
      {"text that is not UTF-8", Text("\xc3\x28"), "1007"},
      {"text that ends within a character", Text("\xe2\x82"), "1007"},
      {"fragments that end within a character", Frame(1, "\xe2") + Frame(kFinal, "\x82"), "1007"},
      {"surrogate across fragments", Frame(1, "\xed") + Frame(0, "\xa0"), "1007"},
  };
  for (const Case& each : cases) {
    Reading reading;
    const Lines found = reading.Read(Text("before") + each.bytes);
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found.back(), each.code) << each.what;
    ASSERT_TRUE(reading.over) << each.what;
    EXPECT_EQ(found.front(), "text before") << each.what;
    const Failure& cause = reading.reader.violation().cause;
    EXPECT_EQ(cause.reason, Reason::kProtocolError) << each.what;
    std::string_view more = "more";
    EXPECT_EQ(reading.reader.Next(more), Found::kViolation) << "nothing is read behind it";
  }
  for (const int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15})
    EXPECT_EQ(Reading().Read(Frame(kFinal | opcode, "")), Lines{"1002"}) << "reserved opcode " << opcode;
}

TEST(WebSocketReader, SaysSoBeforeTheRestHasCome) {
  EXPECT_EQ(Reading().Read("\x81\x7f\x00\x00\x00\x00\x10\x00\x00\x00"s), Lines{"1009"}) << "by the header";
  EXPECT_EQ(Reading().Read("\x81\x0a\xff"), Lines{"1007"}) << "by the first byte";
}

// ---- Limits. ----

TEST(WebSocketReader, TakesNoMessageThatIsTooLong) {
  EXPECT_EQ(Reading(1000).Read(Text(std::string(1000, 'x'))).size(), 1u);
  Reading whole(1000);
  EXPECT_EQ(whole.Read(Text(std::string(1001, 'x'))), Lines{"1009"});
  EXPECT_EQ(whole.reader.violation().cause.reason, Reason::kMessageTooLong);
  EXPECT_THAT(whole.reader.violation().cause.message, testing::HasSubstr("max_message_bytes, 1000"));
  Reading fragments(1000);
  EXPECT_EQ(fragments.Read(Frame(2, std::string(600, 'x')) + Frame(0, std::string(400, 'x'))), Lines{});
  EXPECT_EQ(fragments.Read(Frame(kFinal, "x")), Lines{"1009"});
}

// ---- Compression. ----

TEST(WebSocketReader, Inflates) {
  Deflater deflater(DeflateTerms{});
  Reading reading(kMax, DeflateTerms{});
  for (int i = 0; i < 3; ++i) {
    const std::string compressed = *deflater.Compress("price 1.0, price 1.1");
    EXPECT_THAT(reading.Read(Frame(kFinal | kRsv1 | 1, compressed)), ElementsAre("text price 1.0, price 1.1"));
    EXPECT_THAT(reading.Read(Text("as it is")), ElementsAre("text as it is")) << "also without, if the peer likes";
  }
}

TEST(WebSocketReader, SaysWhatDoesNotInflate) {
  struct Case {
    const char* what;
    std::string bytes;
    const char* code;
    Reason reason;
  };
  Deflater deflater({.client_no_context_takeover = true});
  const std::string bomb = *deflater.Compress(std::string(2 << 20, 'x'));
  const std::string bad_text = *deflater.Compress("caf\xc3 au lait");
  const Case cases[] = {
      {"invalid block", Frame(kFinal | kRsv1 | 1, "\xff\xff\xff\xff"), "1002", Reason::kProtocolError},
      {"cut short", Frame(kFinal | kRsv1 | 1, "\x63\x00\x02\x00"s), "1002", Reason::kProtocolError},
      {"continuation marked as compressed", Frame(kRsv1 | 1, "") + Frame(kFinal | kRsv1, ""), "1002",
       Reason::kProtocolError},
      {"bomb", Frame(kFinal | kRsv1 | 2, bomb), "1009", Reason::kMessageTooLong},
      {"not UTF-8", Frame(kFinal | kRsv1 | 1, bad_text), "1007", Reason::kProtocolError},
  };
  for (const Case& each : cases) {
    Reading reading(kMax, DeflateTerms{});
    EXPECT_EQ(reading.Read(each.bytes), Lines{each.code}) << each.what;
    ASSERT_TRUE(reading.over) << each.what;
    EXPECT_EQ(reading.reader.violation().cause.reason, each.reason) << each.what;
  }
}

// ---- What we send. ----

// Takes off the mask, as a server does; what is left can be read like a server's frame.
std::string Unmasked(std::string_view frame) {
  const int length = frame[1] & 0x7f;
  const size_t header = length == 126 ? 4 : length == 127 ? 10 : 2;
  EXPECT_NE(frame[1] & 0x80, 0) << "not masked";
  std::string bare(frame.substr(0, header));
  bare[1] = static_cast<char>(length);
  for (size_t i = header + 4; i < frame.size(); ++i)
    bare.push_back(static_cast<char>(frame[i] ^ frame[header + (i - header - 4) % 4]));
  return bare;
}

TEST(AppendFrame, IsTheExampleOfTheRfc) {
  std::string out = "before ";
  AppendFrame(out, Opcode::kText, "Hello", 0x3d21fa37);
  EXPECT_EQ(out, "before \x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") << "section 5.7";
}

TEST(AppendFrame, CanBeReadBack) {
  ForEachSeed(5, [](Draws& draws) {
    for (const size_t size : {0, 1, 3, 7, 8, 9, 15, 125, 126, 65'535, 65'536, 300'000}) {
      std::string payload(size, '\0');
      for (char& c : payload) c = static_cast<char>(draws.Below(256));
      std::string out;
      AppendFrame(out, Opcode::kBinary, payload, static_cast<uint32_t>(draws.Below(1ull << 32)));
      EXPECT_EQ(Reading().Read(Unmasked(out)), Lines{"binary " + payload});
    }
  });
}

TEST(AppendFrame, MarksWhatIsCompressed) {
  Deflater deflater(DeflateTerms{});
  std::string out;
  AppendFrame(out, Opcode::kText, *deflater.Compress("text, text, text"), 1, /*compressed=*/true);
  Reading reading(kMax, DeflateTerms{});
  EXPECT_THAT(reading.Read(Unmasked(out)), ElementsAre("text text, text, text"));
}

TEST(ClosePayload, IsWhatACloseFrameCarries) {
  EXPECT_EQ(ClosePayload(1000, ""), "\x03\xe8");
  EXPECT_EQ(ClosePayload(4001, "bye"),
            "\x0f\xa1"
            "bye");
  EXPECT_EQ(ClosePayload(kNoStatusReceived, "bye"), "") << "stands for no payload at all";
  EXPECT_EQ(ClosePayload(1000, std::string(200, 'r')).size(), 125u);
}

}  // namespace
}  // namespace fairlead
