// Requests: whatever is accepted goes out as exactly what was given, in a head that cannot be read as another.
#include <array>
#include <optional>
#include <vector>

#include "fuzz/fuzz.h"
#include "policy/http_headers.h"
#include "policy/http_request.h"

namespace fairlead {
namespace {

constexpr uint64_t kHeaderBytes = 512;
constexpr std::array<std::string_view, 5> kTargets = {"/", "/?", "/a?b=c", "/a?b=c&", "/?b=c?"};

// The next line without its CRLF; no other CR or LF may be in it.
std::string_view TakeLine(std::string_view& head) {
  const size_t end = head.find("\r\n");
  FUZZ_CHECK(end != std::string_view::npos);
  const std::string_view line = head.substr(0, end);
  FUZZ_CHECK(line.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  head.remove_prefix(end + 2);
  return line;
}

void CheckHead(std::string_view head, std::string_view method, const TargetUrl& url,
               const std::vector<RequestHeader>& headers, uint64_t body_bytes) {
  std::vector<Header> expected = {{"Host", url.HostHeader()}};
  for (const RequestHeader& each : headers) expected.push_back({each.name, each.value.Reveal()});
  if (std::ranges::none_of(headers,
                           [](const RequestHeader& each) { return EqualsIgnoringCase(each.name, "user-agent"); })) {
    expected.push_back({"User-Agent", "fairlead"});
  }
  if (body_bytes > 0 || method == "POST" || method == "PUT" || method == "PATCH") {
    expected.push_back({"Content-Length", std::to_string(body_bytes)});
  }

  const std::string_view request = TakeLine(head);
  FUZZ_CHECK(request == std::string(method) + " " + url.target.Reveal() + " HTTP/1.1");
  FUZZ_CHECK(std::ranges::count(request, ' ') == 2);
  std::vector<Header> read;
  for (std::string_view line = TakeLine(head); !line.empty(); line = TakeLine(head)) {
    const size_t colon = line.find(':');
    FUZZ_CHECK(colon != std::string_view::npos && colon > 0);
    FUZZ_CHECK(line.find_first_of(" \t") > colon);
    read.push_back({std::string(line.substr(0, colon)), std::string(Trimmed(line.substr(colon + 1)))});
  }
  FUZZ_CHECK(head.empty());
  FUZZ_CHECK(read == expected);
}

unsigned HexDigit(char c) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  FUZZ_CHECK(kDigits.find(c) != std::string_view::npos);
  return static_cast<unsigned>(kDigits.find(c));
}

std::string Decoded(std::string_view text) {
  std::string decoded;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      FUZZ_CHECK(IsToken(text.substr(at, 1)) && std::string_view("!#$&'*+^`|").find(text[at]) == std::string::npos);
      decoded += text[at];
      continue;
    }
    FUZZ_CHECK(at + 2 < text.size());
    decoded += static_cast<char>(HexDigit(text[at + 1]) * 16 + HexDigit(text[at + 2]));
    at += 2;
  }
  return decoded;
}

void CheckQuery(std::string_view before, std::string_view after, const std::vector<QueryParameter>& query) {
  FUZZ_CHECK(after.starts_with(before));
  after.remove_prefix(before.size());
  if (query.empty()) {
    FUZZ_CHECK(after.empty());
    return;
  }
  FUZZ_CHECK(before.find('?') != std::string_view::npos || after.front() == '?');
  if (after.front() == '?' || after.front() == '&') after.remove_prefix(1);
  for (const QueryParameter& each : query) {
    const std::string_view pair = after.substr(0, after.find('&'));
    const size_t equals = pair.find('=');
    FUZZ_CHECK(equals != std::string_view::npos);
    FUZZ_CHECK(Decoded(pair.substr(0, equals)) == each.key);
    FUZZ_CHECK(Decoded(pair.substr(equals + 1)) == each.value);
    after.remove_prefix(std::min(pair.size() + 1, after.size()));
  }
  FUZZ_CHECK(after.empty());
}

}  // namespace
}  // namespace fairlead

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace fairlead;
  FuzzInput input(bytes, size);
  const std::string method = input.Text();
  const std::string_view target = kTargets[input.Byte() % kTargets.size()];
  const uint64_t body_bytes = input.Byte();
  std::vector<QueryParameter> query;
  for (auto left = input.Byte() % 4; left > 0; --left) {
    std::string key = input.Text();
    query.push_back({std::move(key), input.Text()});
  }
  std::vector<RequestHeader> headers;
  while (!input.empty()) {
    std::string name = input.Text();
    headers.emplace_back(std::move(name), input.Text());
  }

  TargetUrl url{"https", true, "api.example.com", 443, Secret(AppendQuery(std::string(target), query))};
  CheckQuery(target, url.target.Reveal(), query);
  const auto checked = CheckHeaders(headers, kHeaderBytes, "request.headers");
  FUZZ_CHECK(checked || checked.error().message.starts_with("request.headers"));
  if (CheckMethod(method) && checked)
    CheckHead(RequestHead(method, url, headers, body_bytes), method, url, headers, body_bytes);
  return 0;
}
