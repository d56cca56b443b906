// Segments of a journal on disk: whatever became of the bytes, what is read is a prefix of what was written.
#include <string>
#include <variant>
#include <vector>

#include "fuzz/fuzz.h"
#include "policy/journal_record.h"

namespace fairlead {
namespace {

// The text outlives it.
Entry Draw(FuzzInput& input, std::string& text) {
  Entry entry{.generation = input.Byte(), .time = WallTime(Duration(input.Byte())), .what = FrameEntry{}};
  const uint8_t choice = input.Byte();
  text = input.Text();
  const std::optional<Failure> failure =
      (choice & 4) == 0 ? std::nullopt
                        : std::optional(Failure{Reason::kPeerClosed, Phase::kReplied, text, Duration(choice), text});
  switch (choice % 4) {
    case 0:
      entry.what = FrameEntry(FrameKind::kText, text);
      break;
    case 1:
      entry.what = FrameEntry(FrameKind::kBinary, text);
      break;
    case 2:
      entry.what = std::make_unique<StateChange>(StateChange{
          .state = State::kReconnecting, .cause = failure, .close_reason = text, .retry_in = Duration(choice)});
      break;
    default:
      entry.what = std::make_unique<CommandResult>(CommandResult{choice, Outcome::kNotSent, failure});
  }
  return entry;
}

std::string Encoded(uint64_t sequence, const Entry& entry) {
  const EncodedEntry encoded(sequence, entry);
  std::string bytes(encoded.size(), '\0');
  encoded.Write(bytes.data());
  return bytes;
}

void Run(FuzzInput input) {
  const uint64_t first = 1 + input.Byte();
  std::string bytes = EncodeHeader({.first = first, .epoch = input.Text(), .identity = input.Text(), .session = "md"});
  std::vector<std::string> written;
  for (int count = input.Byte() % 8; count > 0; --count) {
    std::string text;
    const Entry entry = Draw(input, text);
    written.push_back(Encoded(first + written.size(), entry));
    bytes += written.back();
  }
  // Cut, and overwritten here and there.
  bytes.resize(bytes.size() - std::min<size_t>(bytes.size(), input.Byte()));
  while (!input.empty() && !bytes.empty()) {
    const size_t at = (size_t{input.Byte()} << 8 | input.Byte()) % bytes.size();
    bytes[at] = static_cast<char>(input.Byte());
  }
  SegmentReader reader(bytes);
  size_t read = 0;
  while (const auto entry = reader.Next()) {
    FUZZ_CHECK(read < written.size());
    FUZZ_CHECK(reader.sequence() == first + read);
    FUZZ_CHECK(Encoded(reader.sequence(), *entry) == written[read]);
    ++read;
  }
  FUZZ_CHECK(!reader.Skip());
}

}  // namespace
}  // namespace fairlead

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  // As they come, too: they are no segment.
  fairlead::SegmentReader reader(std::string_view(reinterpret_cast<const char*>(bytes), size));
  while (reader.Next()) {
  }
  fairlead::Run(fairlead::FuzzInput(bytes, size));
  return 0;
}
