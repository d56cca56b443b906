#include "exchange/recording.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <memory>

namespace exchange {
namespace {

constexpr double kLongestGapSeconds = 1;

// The whole file, inflated. Empty optional: cannot be read.
std::optional<std::string> ReadGzip(const std::string& path) {
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) return std::nullopt;
  std::string content;
  std::array<char, 65536> block;
  int size = 0;
  while ((size = gzread(file.get(), block.data(), block.size())) > 0)
    content.append(block.data(), static_cast<size_t>(size));
  return size < 0 ? std::nullopt : std::optional(std::move(content));
}

}  // namespace

std::expected<Recording, std::string> LoadRecording(const std::string& directory, const std::string& name) {
  const std::string path = directory + "/" + name + ".jsonl.gz";
  if (name.empty() || name.contains('/') || name.contains(".."))
    return std::unexpected("no recording is called " + name);
  const auto content = ReadGzip(path);
  if (!content) return std::unexpected("cannot read " + path);
  Recording recording;
  double previous = -1;
  double shortened = 0;
  for (size_t begin = 0; begin < content->size();) {
    const size_t end = std::min(content->find('\n', begin), content->size());
    const std::string_view line = std::string_view(*content).substr(begin, end - begin);
    begin = end + 1;
    boost::json::error_code error;
    const auto value = boost::json::parse({line.data(), line.size()}, error);
    if (error || !value.is_object()) return std::unexpected(path + " has a line that is no JSON object");
    const auto& record = value.as_object();
    const auto* from = record.if_contains("from");
    if (from == nullptr || *from != "exchange") continue;
    RecordedMessage message;
    if (const auto* text = record.if_contains("text"); text && text->is_string()) {
      message.payload.assign(text->as_string().data(), text->as_string().size());
    } else if (const auto* base64 = record.if_contains("base64"); base64 && base64->is_string()) {
      auto bytes = Base64Decode({base64->as_string().data(), base64->as_string().size()});
      if (!bytes) return std::unexpected(path + " has a record that is not base64");
      message.opcode = Opcode::kBinary;
      message.payload = std::move(*bytes);
    } else {
      return std::unexpected(path + " has a message without text or base64");
    }
    const auto* at = record.if_contains("at");
    const double time = at && at->is_number() ? at->to_number<double>() : 0;
    if (previous >= 0) shortened += std::clamp(time - previous, 0.0, kLongestGapSeconds);
    previous = time;
    message.at = shortened;
    recording.push_back(std::move(message));
  }
  return recording;
}

}  // namespace exchange
