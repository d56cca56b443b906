// Raw sockets' framing: how the bytes come in pieces changes nothing, what is sent arrives as it was, and what is kept
// is bounded.
#include "policy/framing.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "fuzz/fuzz.h"

namespace fairlead {
namespace {

Framing Choose(FuzzInput& input) {
  const uint8_t choice = input.Byte();
  if (choice % 4 == 3) return Unframed{};
  if (choice % 2 == 0) {
    std::string bytes = input.Text().substr(0, 16);
    return Delimiter{bytes.empty() ? "\r\n" : bytes};
  }
  constexpr unsigned kWidths[] = {1, 2, 4};
  return LengthPrefix{
      .width = kWidths[choice / 4 % 3], .little_endian = (choice & 64) != 0, .counts_itself = (choice & 128) != 0};
}

struct Outcome {
  std::vector<std::string> frames;
  std::optional<Reason> failure;
  size_t unfinished = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Feeds the bytes in pieces of the sizes given in turn; no sizes: as large as there is room.
Outcome Feed(const Framing& framing, uint64_t max_frame_bytes, std::string_view bytes, std::string_view sizes) {
  Deframer deframer(framing, max_frame_bytes);
  Outcome outcome;
  for (size_t turn = 0; !bytes.empty(); ++turn) {
    const std::span<char> room = deframer.Room();
    FUZZ_CHECK(!room.empty());
    const size_t wanted = sizes.empty() ? bytes.size() : 1 + static_cast<uint8_t>(sizes[turn % sizes.size()]);
    const size_t piece = std::min({room.size(), bytes.size(), wanted});
    std::copy_n(bytes.begin(), piece, room.begin());
    bytes.remove_prefix(piece);
    deframer.Filled(piece);
    for (;;) {
      const auto frame = deframer.Next();
      if (!frame) {
        outcome.failure = frame.error().reason;
        outcome.unfinished = 0;
        return outcome;
      }
      if (!*frame) break;
      FUZZ_CHECK((*frame)->size() <= max_frame_bytes);
      outcome.frames.emplace_back(**frame);
    }
    outcome.unfinished = deframer.unfinished();
  }
  return outcome;
}

std::string Joined(const std::vector<std::string>& frames) {
  std::string all;
  for (const std::string& frame : frames) all += frame;
  return all;
}

}  // namespace
}  // namespace fairlead

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace fairlead;
  FuzzInput input(bytes, size);
  const Framing framing = Choose(input);
  const uint64_t max_frame_bytes = 1 + uint64_t{input.Byte()} * input.Byte();
  const std::string sizes = input.Text();
  const std::string_view stream = input.Rest();

  const Outcome whole = Feed(framing, max_frame_bytes, stream, "");
  const Outcome pieces = Feed(framing, max_frame_bytes, stream, sizes);
  if (std::holds_alternative<Unframed>(framing)) {
    FUZZ_CHECK(Joined(whole.frames) == stream && Joined(pieces.frames) == stream);
  } else {
    FUZZ_CHECK(whole == pieces);
  }

  // The stream as one frame that is sent.
  if (CheckFrame(framing, stream)) {
    const Outcome back = Feed(framing, std::max<uint64_t>(stream.size(), 1), Enframe(framing, stream), sizes);
    FUZZ_CHECK(!back.failure && back.unfinished == 0);
    FUZZ_CHECK(Joined(back.frames) == stream);
    FUZZ_CHECK(std::holds_alternative<Unframed>(framing) || back.frames.size() == 1);
  }
  return 0;
}
