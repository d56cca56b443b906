#include "policy/framing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/limits.h"
#include "support/random.h"

namespace fairlead {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What came out of a deframer: whole frames, and how it ended.
struct Taken {
  std::vector<std::string> frames = {};
  std::optional<Failure> failure = std::nullopt;
};

// As one read does: what does not fit into the room comes with the next one.
void Give(Deframer& deframer, std::string_view bytes, Taken& taken) {
  while (!bytes.empty() && !taken.failure) {
    const std::span<char> room = deframer.Room();
    ASSERT_GE(room.size(), 1u);
    const size_t size = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), size);
    bytes.remove_prefix(size);
    deframer.Filled(size);
    for (;;) {
      auto frame = deframer.Next();
      if (!frame) taken.failure = frame.error();
      if (!frame || !*frame) break;
      taken.frames.emplace_back(**frame);
    }
  }
}

// A dialogue: reads, and what they bring.
class Wire {
 public:
  explicit Wire(Framing framing, uint64_t max_frame_bytes = 100) : deframer_(std::move(framing), max_frame_bytes) {}

  std::vector<std::string> Read(std::string_view bytes) {
    Taken taken;
    Give(deframer_, bytes, taken);
    EXPECT_FALSE(taken.failure) << taken.failure->message;
    return taken.frames;
  }
  // The read brings no whole frame.
  Failure Fails(std::string_view bytes) {
    Taken taken;
    Give(deframer_, bytes, taken);
    EXPECT_THAT(taken.frames, IsEmpty());
    EXPECT_TRUE(taken.failure) << "it was taken";
    return taken.failure.value_or(Failure{});
  }
  Deframer& deframer() { return deframer_; }

 private:
  Deframer deframer_;
};

std::vector<LengthPrefix> AllPrefixes() {
  std::vector<LengthPrefix> all;
  for (const unsigned width : {1u, 2u, 4u}) {
    for (const bool little_endian : {false, true}) {
      for (const bool counts_itself : {false, true}) all.push_back({width, little_endian, counts_itself});
    }
  }
  return all;
}

std::string Name(const LengthPrefix& prefix) {
  return "width " + std::to_string(prefix.width) + (prefix.little_endian ? ", little endian" : ", big endian") +
         (prefix.counts_itself ? ", counting itself" : "");
}

// However a stream is cut in two, or in single bytes, the same frames come of it.
void ExpectSameHoweverCut(const Framing& framing, const std::string& stream, const std::vector<std::string>& frames) {
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    SCOPED_TRACE("cut at " + std::to_string(cut));
    Wire wire(framing, 10'000);
    auto taken = wire.Read(stream.substr(0, cut));
    for (auto& frame : wire.Read(stream.substr(cut))) taken.push_back(std::move(frame));
    EXPECT_EQ(taken, frames);
    EXPECT_EQ(wire.deframer().unfinished(), 0u);
  }
  Wire wire(framing, 10'000);
  std::vector<std::string> taken;
  for (const char byte : stream) {
    for (auto& frame : wire.Read({&byte, 1})) taken.push_back(std::move(frame));
  }
  EXPECT_EQ(taken, frames) << "byte by byte";
}

TEST(Deframer, CutsAtTheDelimiter) {
  Wire wire(Delimiter{});
  EXPECT_THAT(wire.Read("a\r\nbc\r\nde"), ElementsAre("a", "bc"));
  EXPECT_EQ(wire.deframer().unfinished(), 2u);
  EXPECT_THAT(wire.Read("f\r"), IsEmpty());
  EXPECT_THAT(wire.Read("\n"), ElementsAre("def")) << "a delimiter that comes in two reads";
  EXPECT_EQ(wire.deframer().unfinished(), 0u);
  EXPECT_THAT(wire.Read("\r\n\r\nx\r\n"), ElementsAre("", "", "x")) << "two in a row hold an empty frame";
  EXPECT_THAT(wire.Read("\n\r\r\n"), ElementsAre("\n\r")) << "halves of it are the frame's own";
  EXPECT_THAT(wire.Read(std::string("\0\xff\r\n", 4)), ElementsAre(std::string("\0\xff", 2)));
}

TEST(Deframer, CutsAtADelimiterThatOverlapsItself) {
  Wire wire(Delimiter{"\r\r\n"});
  EXPECT_THAT(wire.Read("a\r\r"), IsEmpty());
  EXPECT_THAT(wire.Read("\r\n"), ElementsAre("a\r")) << "the last possible beginning, not the first";
  Wire same(Delimiter{"aaa"});
  EXPECT_THAT(same.Read("xaa"), IsEmpty());
  EXPECT_THAT(same.Read("aaa"), ElementsAre("x")) << "the earliest place where it is whole";
  EXPECT_EQ(same.deframer().unfinished(), 2u);
  EXPECT_THAT(same.Read("a"), ElementsAre(""));
}

TEST(Deframer, FindsDelimitersHoweverTheyAreCut) {
  ExpectSameHoweverCut(Delimiter{}, "one\r\n\r\n\r\r\ntwo\nthree\r\n", {"one", "", "\r", "two\nthree"});
  ExpectSameHoweverCut(Delimiter{"\n"}, "a\n\nbb\n", {"a", "", "bb"});
  ExpectSameHoweverCut(Delimiter{"\r\r\n"}, "a\r\r\r\nb\r\n\r\r\n", {"a\r", "b\r\n"});
  ExpectSameHoweverCut(Delimiter{"abcabcabcabcabcd"}, "abcabcabcabcabcabcd-abcabcabcabcabcd", {"abc", "-"});
  ExpectSameHoweverCut(Delimiter{std::string("\0", 1)}, std::string("a\0\0b\0", 5), {"a", "", "b"});
}

TEST(Deframer, CutsByTheLengthInFront) {
  Wire wire(LengthPrefix{});
  EXPECT_THAT(wire.Read(std::string("\0\0\0\2ab\0\0\0\0\0\0\0\1c\0\0", 17)), ElementsAre("ab", "", "c"));
  EXPECT_EQ(wire.deframer().unfinished(), 2u) << "the beginning of a length";
  EXPECT_THAT(wire.Read(std::string("\0\3xy", 4)), IsEmpty());
  EXPECT_EQ(wire.deframer().unfinished(), 6u);
  EXPECT_THAT(wire.Read("z"), ElementsAre("xyz"));

  Wire little(LengthPrefix{.width = 2, .little_endian = true, .counts_itself = true});
  EXPECT_THAT(little.Read(std::string("\5\0abc\2\0", 7)), ElementsAre("abc", ""));
}

TEST(Deframer, TakesPrefixedFramesSplitAtEveryByteBoundary) {
  for (const LengthPrefix& prefix : AllPrefixes()) {
    SCOPED_TRACE(Name(prefix));
    std::vector<std::string> frames = {"a", "", "0123456789", std::string(200, 'x'), ""};
    if (prefix.width > 1) frames.emplace_back(300, 'y');  // A length of two bytes that differ.
    std::string stream;
    for (const std::string& frame : frames) stream += Enframe(prefix, frame);
    ExpectSameHoweverCut(prefix, stream, frames);
  }
}

TEST(Deframer, UnframedIsWhatOneReadBrings) {
  Wire wire(Unframed{}, 4);
  EXPECT_THAT(wire.Read("abc"), ElementsAre("abc"));
  EXPECT_THAT(wire.Read("abcdefghij"), ElementsAre("abcd", "efgh", "ij")) << "an entry holds max_frame_bytes at most";
  EXPECT_EQ(wire.deframer().unfinished(), 0u);
}

TEST(Deframer, RefusesOnlyWhatIsLongerThanAllowed) {
  const std::string most(100, 'x');
  for (const std::string delimiter : {"\n", "\r\n", "\r\r\n"}) {
    SCOPED_TRACE(delimiter.size());
    EXPECT_THAT(Wire(Delimiter{delimiter}).Read(most + delimiter), ElementsAre(most));
    EXPECT_EQ(Wire(Delimiter{delimiter}).Fails(most + "x" + delimiter).reason, Reason::kMessageTooLong);
    // Unfinished: refused as soon as it is certain, not before.
    Wire unfinished(Delimiter{delimiter});
    EXPECT_THAT(unfinished.Read(most + delimiter.substr(0, delimiter.size() - 1)), IsEmpty());
    EXPECT_THAT(unfinished.Read(delimiter.substr(delimiter.size() - 1)), ElementsAre(most));
    Wire certain(Delimiter{delimiter});
    EXPECT_THAT(certain.Read(most + std::string(delimiter.size() - 1, 'x')), IsEmpty());
    EXPECT_EQ(certain.Fails("x").reason, Reason::kMessageTooLong);
  }
  for (const LengthPrefix& prefix : AllPrefixes()) {
    SCOPED_TRACE(Name(prefix));
    EXPECT_THAT(Wire(prefix).Read(Enframe(prefix, most)), ElementsAre(most));
    const std::string longer = Enframe(prefix, most + "x");
    EXPECT_EQ(Wire(prefix).Fails(longer).reason, Reason::kMessageTooLong);
    EXPECT_EQ(Wire(prefix).Fails(longer.substr(0, prefix.width)).reason, Reason::kMessageTooLong)
        << "its length says so before it comes";
  }
  EXPECT_EQ(Wire(LengthPrefix{}).Fails("\xff\xff\xff\xff").reason, Reason::kMessageTooLong);
  const Failure failure = Wire(Delimiter{"\n"}).Fails(most + "secret");
  EXPECT_EQ(failure.phase, Phase::kUnspecified);
  EXPECT_EQ(failure.message, "a frame is longer than socket.max_frame_bytes, 100");
}

TEST(Deframer, DeliversTheFramesBeforeOneThatIsTooLong) {
  Deframer deframer(Delimiter{"\n"}, 3);
  Taken taken;
  Give(deframer, "a\nbb\ntoo long\nc\n", taken);
  EXPECT_THAT(taken.frames, ElementsAre("a", "bb"));
  ASSERT_TRUE(taken.failure);
  EXPECT_EQ(taken.failure->reason, Reason::kMessageTooLong);
}

TEST(Deframer, RefusesALengthThatDoesNotCountItself) {
  for (const LengthPrefix& prefix : AllPrefixes()) {
    if (!prefix.counts_itself) continue;
    SCOPED_TRACE(Name(prefix));
    std::string stream(prefix.width, '\0');
    stream[prefix.little_endian ? 0 : prefix.width - 1] = static_cast<char>(prefix.width - 1);
    const Failure failure = Wire(prefix).Fails(stream);
    EXPECT_EQ(failure.reason, Reason::kProtocolError);
    EXPECT_THAT(failure.message, HasSubstr("a length prefix of " + std::to_string(prefix.width - 1)));
  }
}

// How much work a frame that does not end costs, given in small pieces.
uint64_t WorkFor(const Framing& framing, const std::string& beginning, size_t bytes, size_t piece) {
  Deframer deframer(framing, 64 * kMiB);
  Taken taken;
  Give(deframer, beginning, taken);
  const std::string pieces(piece, 'x');
  for (size_t given = 0; given < bytes; given += piece) Give(deframer, pieces, taken);
  EXPECT_FALSE(taken.failure);
  EXPECT_THAT(taken.frames, IsEmpty());
  return deframer.work();
}

TEST(Deframer, AnUnfinishedFrameCostsTimeInProportionToItsLength) {
  const std::string prefix = std::string("\3\0\0\0", 4);  // 48 MiB.
  for (const auto& [framing, beginning] : std::vector<std::pair<Framing, std::string>>{
           {Delimiter{}, "\r"}, {Delimiter{"xxxxxxxxxxxxxxxy"}, ""}, {LengthPrefix{}, prefix}}) {
    SCOPED_TRACE(framing.index());
    const uint64_t one = WorkFor(framing, beginning, 8 * kMiB, 61);
    const uint64_t two = WorkFor(framing, beginning, 16 * kMiB, 61);
    EXPECT_GE(one, 8 * kMiB) << "else nothing was counted";
    EXPECT_LE(one, 8 * 8 * kMiB);
    EXPECT_LE(two, 3 * one) << "twice as long, twice the work: growing doubles, so not to the byte";
  }
  const uint64_t by_the_byte = WorkFor(Delimiter{}, "", kMiB, 1);
  EXPECT_LE(by_the_byte, 8 * kMiB) << "nor does it depend on how it is cut";
}

TEST(Deframer, RefusesALineWithoutAnEndAtTheCap) {
  Deframer deframer(Delimiter{}, 64 * kMiB);
  Taken taken;
  const std::string pieces(64 * kKiB, 'x');
  size_t given = 0;
  for (; given <= 64 * kMiB && !taken.failure; given += pieces.size()) Give(deframer, pieces, taken);
  ASSERT_TRUE(taken.failure);
  EXPECT_EQ(taken.failure->reason, Reason::kMessageTooLong);
  EXPECT_THAT(taken.failure->message, HasSubstr("socket.max_frame_bytes, 67108864"));
  EXPECT_EQ(given, 64 * kMiB + pieces.size()) << "not before the cap";
  EXPECT_LE(deframer.held(), 2 * 64 * kMiB + kMiB) << "memory in proportion, too";
  EXPECT_LE(deframer.work(), 8 * 64 * kMiB);
}

TEST(Deframer, ManySmallFramesCostInProportionToo) {
  Deframer deframer(Delimiter{}, kMiB);
  Taken taken;
  std::string stream;
  for (int i = 0; i < 100'000; ++i) stream += "0123456789abcdef\r\n";
  Give(deframer, stream, taken);
  EXPECT_EQ(taken.frames.size(), 100'000u);
  EXPECT_LE(deframer.work(), 4 * stream.size());
}

TEST(Deframer, GivesBackTheMemoryOfALongFrame) {
  // Also when the beginning of the next frame came with its end.
  for (const std::string rest : {"", "the next frame begins"}) {
    Wire wire(Delimiter{}, 10 * kMiB);
    const size_t idle = (wire.Read("a\r\n"), wire.deframer().held());
    EXPECT_LE(idle, 8 * kKiB);
    const std::string frame(5 * kMiB, 'x');
    EXPECT_THAT(wire.Read(frame), IsEmpty());
    EXPECT_GE(wire.deframer().held(), 5 * kMiB);
    EXPECT_EQ(wire.Read("\r\n" + rest).size(), 1u);
    wire.deframer().Room();
    EXPECT_LE(wire.deframer().held(), 256 * kKiB);
    EXPECT_EQ(wire.Read("\r\n"), std::vector<std::string>{rest});
  }
}

TEST(Deframer, ReadsMoreAtOnceWhileMuchComes) {
  Wire wire(Delimiter{}, kMiB);
  const size_t first = wire.deframer().Room().size();
  EXPECT_EQ(first, 4096u);
  wire.Read(std::string(100'000, 'x'));
  EXPECT_GE(wire.deframer().Room().size(), 8 * first);
}

TEST(CheckFrame, RefusesWhatWouldArriveAsSomethingElse) {
  const auto allows = [](const Framing& framing, std::string_view payload) {
    const auto fits = CheckFrame(framing, payload);
    if (!fits) {
      EXPECT_EQ(fits.error().reason, Reason::kInvalidField);
      EXPECT_EQ(fits.error().phase, Phase::kNotSent);
    }
    return fits.has_value();
  };
  EXPECT_TRUE(allows(Delimiter{}, ""));
  EXPECT_TRUE(allows(Delimiter{}, "a\rb\nc\n\r"));
  EXPECT_FALSE(allows(Delimiter{}, "a\r\nb"));
  EXPECT_FALSE(allows(Delimiter{}, "\r\n"));
  EXPECT_TRUE(allows(Delimiter{}, "a\r")) << "a CR before CRLF ends no earlier";
  EXPECT_FALSE(allows(Delimiter{"\n"}, "\n"));
  EXPECT_FALSE(allows(Delimiter{"aa"}, "xa")) << "with the delimiter behind it, it would end one byte too early";
  EXPECT_FALSE(allows(Delimiter{"abab"}, "ab"));
  EXPECT_TRUE(allows(Delimiter{"abab"}, "ba"));
  EXPECT_TRUE(allows(Delimiter{"\r\r\n"}, "a\r")) << "the first place where it is whole is behind the payload";

  EXPECT_TRUE(allows(LengthPrefix{.width = 1}, std::string(255, 'x')));
  EXPECT_FALSE(allows(LengthPrefix{.width = 1}, std::string(256, 'x')));
  EXPECT_TRUE(allows(LengthPrefix{.width = 1, .counts_itself = true}, std::string(254, 'x')));
  EXPECT_FALSE(allows(LengthPrefix{.width = 1, .counts_itself = true}, std::string(255, 'x')));
  EXPECT_TRUE(allows(LengthPrefix{.width = 2}, std::string(65'535, 'x')));
  EXPECT_FALSE(allows(LengthPrefix{.width = 2}, std::string(65'536, 'x')));
  EXPECT_TRUE(allows(LengthPrefix{}, std::string(65'536, 'x')));
  EXPECT_TRUE(allows(LengthPrefix{}, ""));

  EXPECT_TRUE(allows(Unframed{}, "a"));
  EXPECT_FALSE(allows(Unframed{}, ""));
}

TEST(CheckFrame, QuotesNothing) {
  EXPECT_EQ(CheckFrame(Delimiter{}, "secret\r\n").error().message,
            "has the delimiter in it: it would arrive as two frames");
  EXPECT_EQ(CheckFrame(LengthPrefix{.width = 1}, std::string(300, 's')).error().message,
            "has 300 bytes; the length prefix can tell 255 at most");
}

TEST(Enframe, AddsWhatFramesIt) {
  EXPECT_EQ(Enframe(Delimiter{}, "a"), "a\r\n");
  EXPECT_EQ(Enframe(Delimiter{"|"}, ""), "|");
  EXPECT_EQ(Enframe(LengthPrefix{}, "abc"), std::string("\0\0\0\3abc", 7));
  EXPECT_EQ(Enframe(LengthPrefix{.width = 4, .little_endian = true}, std::string(258, 'x')).substr(0, 4),
            std::string("\2\1\0\0", 4));
  EXPECT_EQ(Enframe(LengthPrefix{.width = 2}, std::string(258, 'x')).substr(0, 2), "\1\2");
  EXPECT_EQ(Enframe(LengthPrefix{.width = 1, .counts_itself = true}, "abc"), "\4abc");
  EXPECT_EQ(Enframe(Unframed{}, "abc"), "abc");
}

// Bytes of a small alphabet, so that delimiters and halves of them are common.
std::string RandomBytes(Draws& draws, size_t most) {
  std::string bytes(draws.Below(most + 1), '\0');
  for (char& byte : bytes) byte = static_cast<char>(draws.OneIn(8) ? draws.Below(256) : 'a' + draws.Below(2));
  return bytes;
}

TEST(Framing, WhatCheckFrameAllowsArrivesAsTheSameFrames) {
  ForEachSeed(3000, [](Draws& draws) {
    Framing framing = Unframed{};
    if (draws.OneIn(2)) {
      std::string delimiter = RandomBytes(draws, 4);
      if (delimiter.empty()) delimiter = "\r\n";
      framing = Delimiter{delimiter};
    } else {
      framing = AllPrefixes()[draws.Below(AllPrefixes().size())];
    }
    std::vector<std::string> frames;
    std::string stream;
    for (uint64_t i = draws.Below(20); i > 0; --i) {
      std::string payload = RandomBytes(draws, draws.OneIn(5) ? 300 : 12);
      if (!CheckFrame(framing, payload)) continue;
      stream += Enframe(framing, payload);
      frames.push_back(std::move(payload));
    }
    Deframer deframer(framing, 300);
    Taken taken;
    for (std::string_view rest = stream; !rest.empty();) {
      const std::string_view piece = rest.substr(0, draws.Between(1, draws.OneIn(2) ? 4 : 5000));
      rest.remove_prefix(piece.size());
      Give(deframer, piece, taken);
    }
    EXPECT_FALSE(taken.failure) << taken.failure->message;
    EXPECT_EQ(taken.frames, frames);
    EXPECT_EQ(deframer.unfinished(), 0u);
  });
}

}  // namespace
}  // namespace fairlead
