// The response reader: the same verdict however a response is cut, and no response accepted that Boost.Beast's parser
// reads differently. Two parsers that agree on where a response ends leave little room for one that hides another.
//
// The last byte of an input says what the request was and whether the exchange ends the connection, the one before it
// how the rest, the response, is cut.
#include "policy/http_response.h"

#include <boost/beast/http.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "fuzz/fuzz.h"
#include "policy/http_headers.h"

namespace fairlead {
namespace {

namespace http = boost::beast::http;

// Small, so that inputs of the fuzzer's usual size reach them.
constexpr ResponseReader::Limits kLimits{.header_bytes = 512, .body_bytes = 1024};

struct Verdict {
  std::optional<Reason> failure = std::nullopt;
  bool complete = false;
  bool keep_alive = false;
  bool begun = false;
  size_t taken = 0;
  unsigned status = 0;
  std::vector<Header> headers = {};
  std::string body = {};
  friend bool operator==(const Verdict&, const Verdict&) = default;
};

// Pieces of 1 to 16 bytes that `cut` chooses; all at once if it is 0.
size_t NextPiece(uint32_t& cut, size_t left) {
  if (cut == 0) return left;
  cut = cut * 1664525 + 1013904223;
  return std::min<size_t>(left, 1 + (cut >> 16) % 16);
}

Verdict Read(std::string_view bytes, bool to_head, bool ends, uint32_t cut) {
  ResponseReader reader(to_head, kLimits);
  Verdict verdict;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, NextPiece(cut, bytes.size()));
    bytes.remove_prefix(piece.size());
    const auto taken = reader.Take(piece);
    if (!taken) {
      FUZZ_CHECK(taken.error().phase == Phase::kReplied);
      FUZZ_CHECK(taken.error().reason == Reason::kResponseInvalid || taken.error().reason == Reason::kResponseTooLong);
      FUZZ_CHECK(!reader.complete() && !reader.keep_alive());
      return {.failure = taken.error().reason};
    }
    FUZZ_CHECK(*taken <= piece.size());
    FUZZ_CHECK(*taken == piece.size() || (reader.complete() && !reader.keep_alive()));
    verdict.taken += *taken;
  }
  FUZZ_CHECK(reader.complete() || !reader.keep_alive());
  FUZZ_CHECK(reader.begun() || !reader.complete());
  verdict.begun = reader.begun();
  if (ends) {
    if (const auto ended = reader.End(); !ended) {
      FUZZ_CHECK(!reader.complete());
      verdict.failure = ended.error().reason;
      return verdict;
    }
    FUZZ_CHECK(reader.complete());
  }
  verdict.complete = reader.complete();
  verdict.keep_alive = reader.keep_alive();
  if (!verdict.complete) return verdict;
  HttpResponseHead head = reader.TakeHead();
  verdict.status = head.status;
  verdict.headers = std::move(head.headers);
  verdict.body = reader.TakeBody();
  FUZZ_CHECK(verdict.status >= 200 && verdict.status <= 999);
  FUZZ_CHECK(verdict.body.size() <= kLimits.body_bytes);
  return verdict;
}

bool IsChunked(const std::vector<Header>& headers) {
  return std::ranges::any_of(headers,
                             [](const Header& each) { return EqualsIgnoringCase(each.name, "Transfer-Encoding"); });
}

bool MentionsConnection(std::string_view bytes) {
  static constexpr std::string_view kName = "connection:";
  for (size_t at = 0; at + kName.size() <= bytes.size(); ++at) {
    if (EqualsIgnoringCase(bytes.substr(at, kName.size()), kName)) return true;
  }
  return false;
}

std::vector<Header> Sorted(std::vector<Header> headers) {
  std::ranges::sort(headers, {}, [](const Header& each) { return std::pair(each.name, each.value); });
  return headers;
}

// Beast reads what was accepted, and must come to the same.
void CompareWithBeast(std::string bytes, bool to_head, const Verdict& verdict) {
  for (;;) {
    // The one thing that we accept and Beast does not: no space behind a status without reason.
    static constexpr size_t kBehindStatus = 12;
    if (bytes.size() > kBehindStatus && bytes[kBehindStatus] == '\r') bytes.insert(kBehindStatus, " ");

    http::response_parser<http::string_body> parser;
    parser.eager(true);
    parser.skip(to_head);
    parser.header_limit(1 << 20);
    parser.body_limit(1 << 20);
    boost::beast::error_code error;
    size_t taken = 0;
    while (!error && taken < bytes.size() && !parser.is_done()) {
      taken += parser.put(boost::asio::const_buffer(bytes.data() + taken, bytes.size() - taken), error);
    }
    // A list of connection options that Beast does not understand; for us it only means that the connection closes.
    if (error == http::error::bad_value && MentionsConnection(bytes)) return;
    FUZZ_CHECK(!error);
    FUZZ_CHECK(parser.is_header_done());
    if (parser.get().result_int() < 200) {
      FUZZ_CHECK(parser.is_done());
      bytes.erase(0, taken);
      continue;
    }
    if (!parser.is_done()) {
      parser.put_eof(error);
      FUZZ_CHECK(!error && !verdict.keep_alive);
    }
    FUZZ_CHECK(parser.is_done());
    FUZZ_CHECK(taken == bytes.size());
    FUZZ_CHECK(parser.get().result_int() == verdict.status);
    FUZZ_CHECK(parser.get().body() == verdict.body);
    FUZZ_CHECK(parser.keep_alive() || !verdict.keep_alive);
    if (IsChunked(verdict.headers)) return;  // Beast adds the trailers to the headers.
    std::vector<Header> headers;
    for (const auto& field : parser.get()) headers.push_back({field.name_string(), field.value()});
    FUZZ_CHECK(Sorted(headers) == Sorted(verdict.headers));
    return;
  }
}

}  // namespace
}  // namespace fairlead

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace fairlead;
  if (size < 2) return 0;
  const bool to_head = (bytes[size - 1] & 1) != 0;
  const bool ends = (bytes[size - 1] & 2) != 0;
  const std::string_view response(reinterpret_cast<const char*>(bytes), size - 2);

  const Verdict whole = Read(response, to_head, ends, 0);
  FUZZ_CHECK(whole == Read(response, to_head, ends, 1 + bytes[size - 2]));
  if (whole.complete) CompareWithBeast(std::string(response.substr(0, whole.taken)), to_head, whole);
  return 0;
}
