#include "policy/permessage_deflate.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/random.h"

namespace fairlead {
namespace {

using Verdict = Inflater::Verdict;
using namespace std::string_literals;

constexpr uint64_t kMax = 1 << 20;

// What a whole message inflates to, fed in pieces of this size.
std::string Inflated(Inflater& inflater, std::string_view compressed, size_t piece = 1 << 20) {
  std::string out;
  for (; !compressed.empty(); compressed.remove_prefix(std::min(piece, compressed.size())))
    EXPECT_EQ(inflater.Feed(compressed.substr(0, piece), out, kMax), Verdict::kGood);
  EXPECT_EQ(inflater.Finish(out, kMax), Verdict::kGood);
  return out;
}

// ---- What is agreed. ----

TEST(ReadDeflateAnswer, Agrees) {
  struct Case {
    std::string_view answer;
    DeflateTerms terms;
  };
  const Case cases[] = {
      {"permessage-deflate", {}},
      {"Permessage-Deflate", {}},
      {"permessage-deflate; server_no_context_takeover", {.server_no_context_takeover = true}},
      {"permessage-deflate;client_no_context_takeover ;  server_max_window_bits=9",
       {.client_no_context_takeover = true}},
      {"permessage-deflate; client_max_window_bits=8", {.client_max_window_bits = 8}},
      {"permessage-deflate; client_max_window_bits=\"12\"", {.client_max_window_bits = 12}},
      {", permessage-deflate ,", {}},
  };
  for (const Case& each : cases) {
    const auto terms = ReadDeflateAnswer(each.answer, /*offered=*/true);
    ASSERT_TRUE(terms && *terms) << each.answer;
    EXPECT_EQ(**terms, each.terms) << each.answer;
  }
}

TEST(ReadDeflateAnswer, MayDecline) {
  for (const bool offered : {true, false}) {
    const auto terms = ReadDeflateAnswer("", offered);
    ASSERT_TRUE(terms);
    EXPECT_FALSE(*terms);
  }
}

TEST(ReadDeflateAnswer, RefusesWhatWasNotOfferedOrHasNoMeaning) {
  EXPECT_FALSE(ReadDeflateAnswer("permessage-deflate", /*offered=*/false));
  for (const char* answer :
       {"x-webkit-deflate-frame", "permessage-deflate, permessage-bzip2", "permessage-deflate, permessage-deflate",
        "permessage-deflate; unknown", "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16", "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=", "permessage-deflate; server_max_window_bits=9x",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover"}) {
    const auto terms = ReadDeflateAnswer(answer, /*offered=*/true);
    ASSERT_FALSE(terms) << answer;
    EXPECT_EQ(terms.error().reason, Reason::kUpgradeInvalid);
    EXPECT_EQ(terms.error().phase, Phase::kNotSent);
  }
}

// ---- Inflating. ----

TEST(Inflater, ReadsTheExamplesOfTheRfc) {
  // RFC 7692 section 7.2.3: one block, the same with the window of the first, stored, final block, two blocks.
  const std::string examples[] = {"\xf2\x48\xcd\xc9\xc9\x07\x00"s, "\xf2\x00\x11\x00\x00"s,
                                  "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"s, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s,
                                  "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"s};
  for (const size_t piece : {1, 2, 3, 100}) {
    Inflater inflater(DeflateTerms{});
    for (const std::string& example : examples)
      EXPECT_EQ(Inflated(inflater, example, piece), "Hello") << testing::PrintToString(example);
  }
}

TEST(Inflater, GoesOnBehindAFinalBlockWithTheSameWindow) {
  Inflater inflater(DeflateTerms{});
  EXPECT_EQ(Inflated(inflater, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s), "Hello");
  EXPECT_EQ(Inflated(inflater, "\xf2\x00\x11\x00\x00"s), "Hello") << "refers to the message before";
}

TEST(Inflater, AnEmptyMessageIsEmpty) {
  Inflater inflater(DeflateTerms{});
  EXPECT_EQ(Inflated(inflater, "\x00"s), "");
  EXPECT_EQ(Inflated(inflater, ""), "");
  EXPECT_EQ(Inflated(inflater, "\xf2\x48\xcd\xc9\xc9\x07\x00"s), "Hello");
}

TEST(Inflater, WithoutContextNothingRefersBack) {
  Inflater inflater(DeflateTerms{.server_no_context_takeover = true});
  EXPECT_EQ(Inflated(inflater, "\xf2\x48\xcd\xc9\xc9\x07\x00"s), "Hello");
  std::string out;
  EXPECT_EQ(inflater.Feed("\xf2\x00\x11\x00\x00"s, out, kMax), Verdict::kCorrupt);
}

TEST(Inflater, RefusesWhatIsCorruptOrCutShort) {
  for (const std::string& message : {"\xff\xff\xff\xff"s, "\x63\x00\x02\x00"s, "\xf2\x48\xcd"s, "\x00\x05\x00"s}) {
    Inflater inflater(DeflateTerms{});
    std::string out;
    const bool good =
        inflater.Feed(message, out, kMax) == Verdict::kGood && inflater.Finish(out, kMax) == Verdict::kGood;
    EXPECT_FALSE(good) << testing::PrintToString(message);
  }
}

TEST(Inflater, StopsABomb) {
  Deflater deflater(DeflateTerms{});
  const std::string bomb = *deflater.Compress(std::string(64 << 20, '\0'));
  ASSERT_LT(bomb.size(), kMax / 8);
  Inflater inflater(DeflateTerms{});
  std::string out;
  EXPECT_EQ(inflater.Feed(bomb, out, kMax), Verdict::kTooLong);
  EXPECT_LE(out.size(), kMax + (64 << 10)) << "no more than it takes to see";
}

TEST(Inflater, TakesExactlyTheLongestMessage) {
  for (const uint64_t max : {uint64_t{0}, uint64_t{999}, uint64_t{1000}}) {
    Deflater deflater(DeflateTerms{});
    Inflater inflater(DeflateTerms{});
    std::string out;
    EXPECT_EQ(inflater.Feed(*deflater.Compress(std::string(1000, 'x')), out, max),
              max >= 1000 ? Verdict::kGood : Verdict::kTooLong);
  }
}

TEST(Inflater, StopsBlocksOfNothingWithoutEnd) {
  Inflater inflater(DeflateTerms{});
  std::string out;
  const std::string nothing(5, '\0');  // A stored block of no bytes.
  std::string blocks;
  for (int i = 0; i < 1000; ++i) blocks += "\x00\x00\x00\xff\xff"s;
  Verdict verdict = Verdict::kGood;
  int fed = 0;
  for (; verdict == Verdict::kGood && fed < 100'000; ++fed) verdict = inflater.Feed(blocks, out, 1000);
  EXPECT_EQ(verdict, Verdict::kTooLong);
  EXPECT_LT(fed, 100);
}

// ---- Both ways. ----

TEST(Deflater, WhatItCompressesInflates) {
  for (const bool context : {true, false}) {
    for (const int bits : {9, 10, 15}) {
      ForEachSeed(20, [&](Draws& draws) {
        Deflater deflater({.client_no_context_takeover = !context, .client_max_window_bits = bits});
        Inflater inflater({.server_no_context_takeover = !context});
        for (int i = 0; i < 20; ++i) {
          std::string message = draws.Text(40'000);
          for (char& c : message) {
            if (draws.OneIn(4)) c = static_cast<char>(draws.Below(256));
          }
          if (message.empty()) continue;
          const auto compressed = deflater.Compress(message);
          ASSERT_TRUE(compressed);
          ASSERT_EQ(Inflated(inflater, *compressed, draws.Between(1, 5000)), message);
        }
      });
    }
  }
}

TEST(Deflater, KeepsItsContextIfItMay) {
  const std::string message = R"({"symbol":"BTCUSDT","price":"64123.10","quantity":"0.00231"})";
  for (const bool context : {true, false}) {
    Deflater deflater({.client_no_context_takeover = !context});
    const size_t first = deflater.Compress(message)->size();
    const size_t second = deflater.Compress(message)->size();
    EXPECT_EQ(second < first / 2, context);
  }
}

TEST(Deflater, LeavesAloneWhatItCannotCompress) {
  EXPECT_FALSE(Deflater(DeflateTerms{}).Compress(""));
  EXPECT_FALSE(Deflater({.client_max_window_bits = 8}).Compress("text"));
}

}  // namespace
}  // namespace fairlead
