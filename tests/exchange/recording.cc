#include "exchange/recording.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <functional>
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

// Calls `record` with each line's object, until one gives an error.
std::expected<void, std::string> ReadLines(
    const std::string& directory, const std::string& name,
    const std::function<std::expected<void, std::string>(const boost::json::object&)>& record) {
  const std::string path = directory + "/" + name + ".jsonl.gz";
  if (name.empty() || name.contains('/') || name.contains(".."))
    return std::unexpected("no recording is called " + name);
  const auto content = ReadGzip(path);
  if (!content) return std::unexpected("cannot read " + path);
  for (size_t begin = 0; begin < content->size();) {
    const size_t end = std::min(content->find('\n', begin), content->size());
    const std::string_view line = std::string_view(*content).substr(begin, end - begin);
    begin = end + 1;
    boost::json::error_code error;
    const auto value = boost::json::parse({line.data(), line.size()}, error);
    if (error || !value.is_object()) return std::unexpected(path + " has a line that is no JSON object");
    if (const auto read = record(value.as_object()); !read) return std::unexpected(path + read.error());
  }
  return {};
}

// What `text` or `base64` of a record holds.
std::expected<std::pair<Opcode, std::string>, std::string> ReadPayload(const boost::json::object& record) {
  if (const auto* text = record.if_contains("text"); text && text->is_string()) {
    return std::pair(Opcode::kText, std::string(text->as_string().data(), text->as_string().size()));
  }
  const auto* base64 = record.if_contains("base64");
  if (!base64 || !base64->is_string()) return std::unexpected(" has a record without text or base64");
  auto bytes = Base64Decode({base64->as_string().data(), base64->as_string().size()});
  if (!bytes) return std::unexpected(" has a record that is not base64");
  return std::pair(Opcode::kBinary, std::move(*bytes));
}

}  // namespace

std::expected<Recording, std::string> LoadRecording(const std::string& directory, const std::string& name) {
  Recording recording;
  double previous = -1;
  double shortened = 0;
  const auto read =
      ReadLines(directory, name, [&](const boost::json::object& record) -> std::expected<void, std::string> {
        const auto* from = record.if_contains("from");
        if (from == nullptr || *from != "exchange") return {};
        auto payload = ReadPayload(record);
        if (!payload) return std::unexpected(payload.error());
        const auto* at = record.if_contains("at");
        const double time = at && at->is_number() ? at->to_number<double>() : 0;
        if (previous >= 0) shortened += std::clamp(time - previous, 0.0, kLongestGapSeconds);
        previous = time;
        recording.push_back({.at = shortened, .opcode = payload->first, .payload = std::move(payload->second)});
        return {};
      });
  if (!read) return std::unexpected(read.error());
  return recording;
}

std::expected<Responses, std::string> LoadResponses(const std::string& directory, const std::string& name) {
  Responses responses;
  const auto read =
      ReadLines(directory, name, [&](const boost::json::object& record) -> std::expected<void, std::string> {
        if (!record.contains("url")) return {};
        auto payload = ReadPayload(record);
        if (!payload) return std::unexpected(payload.error());
        responses.push_back(std::move(payload->second));
        return {};
      });
  if (!read) return std::unexpected(read.error());
  return responses;
}

}  // namespace exchange
