#include "exchange/http_answer.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <utility>

#include "exchange/taker.h"
#include "exchange/upgrade.h"

namespace exchange {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kMaxBodyBytes = uint64_t{1} << 40;
constexpr size_t kPieceBytes = 64 << 10;

constexpr auto kNames = std::to_array<std::pair<HttpFault::Kind, std::string_view>>({
    {HttpFault::Kind::kResetRequestAt, "reset_request_at"},
    {HttpFault::Kind::kResetResponseAt, "reset_response_at"},
    {HttpFault::Kind::kCloseResponseAt, "close_response_at"},
    {HttpFault::Kind::kStallAt, "stall_at"},
    {HttpFault::Kind::kNeverAnswer, "never_answer"},
    {HttpFault::Kind::kCloseIdle, "close_idle"},
    {HttpFault::Kind::kResetIdle, "reset_idle"},
    {HttpFault::Kind::kHalfClose, "half_close"},
});

std::string Head(int status, const std::string& fields) {
  return "HTTP/1.1 " + std::to_string(status) + " " + std::string(Phrase(status)) + "\r\n" + fields + "\r\n";
}

HttpAnswer Whole(int status, std::string_view type, std::string_view body, const std::string& fields = "") {
  HttpAnswer answer{.status = status};
  const bool bodyless = status < 200 || status == 204 || status == 304;  // RFC 9110 section 6.4.1
  answer.first = Head(status, bodyless ? fields
                                       : "Content-Type: " + std::string(type) +
                                             "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields);
  if (!bodyless) answer.first += body;
  return answer;
}

HttpAnswer Wrong(int status, const std::string& why) {
  return Whole(status, "application/json", boost::json::serialize(boost::json::object{{"error", why}}));
}

// "0123456789" over and over: byte number `at` and what follows it.
void AppendDigits(std::string& out, uint64_t at, uint64_t size) {
  static const std::string kDigits = [] {
    std::string digits(kPieceBytes + 10, '0');
    for (size_t index = 0; index < digits.size(); ++index) digits[index] = static_cast<char>('0' + index % 10);
    return digits;
  }();
  while (size > 0) {
    const uint64_t next = std::min<uint64_t>(size, kPieceBytes);
    out.append(kDigits, at % 10, next);
    at += next;
    size -= next;
  }
}

// `size` digits in pieces of `piece` bytes.
std::move_only_function<bool(std::string&)> Digits(uint64_t size, uint64_t piece) {
  return [size, piece, at = uint64_t{0}](std::string& out) mutable {
    const uint64_t next = std::min(piece, size - at);
    AppendDigits(out, at, next);
    at += next;
    return at < size;
  };
}

HttpAnswer WithDigits(uint64_t size) {
  HttpAnswer answer{.status = 200};
  answer.first = Head(200, "Content-Type: text/plain\r\nContent-Length: " + std::to_string(size) + "\r\n");
  if (size <= kPieceBytes) {
    AppendDigits(answer.first, 0, size);  // one write
  } else {
    answer.more = Digits(size, kPieceBytes);
  }
  return answer;
}

HttpAnswer Chunked(uint64_t size, uint64_t chunk, bool trailers) {
  HttpAnswer answer{.status = 200};
  answer.first = Head(200, std::string("Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n") +
                               (trailers ? "Trailer: X-Trailer\r\n" : ""));
  answer.more = [size, chunk, trailers, at = uint64_t{0}](std::string& out) mutable {
    while (at < size && out.size() < kPieceBytes) {
      const uint64_t next = std::min(chunk, size - at);
      char digits[16];
      out.append(digits, std::to_chars(digits, digits + sizeof digits, next, 16).ptr);
      out += "\r\n";
      AppendDigits(out, at, next);
      out += "\r\n";
      at += next;
    }
    if (at < size) return true;
    out += trailers ? "0\r\nX-Trailer: the end\r\n\r\n" : "0\r\n\r\n";
    return false;
  };
  if (size <= kPieceBytes) {
    answer.more(answer.first);
    answer.more = nullptr;
  }
  return answer;
}

std::string Depth(uint64_t levels) {
  std::string body = R"({"lastUpdateId":1000001,"bids":[)";
  const auto side = [&](bool bids) {
    for (uint64_t level = 0; level < levels; ++level) {
      const uint64_t cents = bids ? 6'500'000 - level : 6'500'001 + level;
      const std::string fraction = std::to_string(100 + cents % 100);
      body += (level == 0 ? "[\"" : ",[\"") + std::to_string(cents / 100) + "." + fraction.substr(1) + "\",\"" +
              std::to_string(1 + level % 9) + ".5\"]";
    }
  };
  side(true);
  body += R"(],"asks":[)";
  side(false);
  return body + "]}";
}

// A header's bytes as code points, so that every value can stand in JSON.
std::string Latin1(std::string_view text) {
  std::string utf8;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x80) utf8.push_back(static_cast<char>(0xC0 | byte >> 6));
    utf8.push_back(byte < 0x80 ? c : static_cast<char>(0x80 | (byte & 0x3F)));
  }
  return utf8;
}

HttpAnswer Echo(const HttpRequest& request, const std::string& body) {
  boost::json::array headers;
  for (const auto& [name, value] : request.headers) headers.push_back(boost::json::array{name, Latin1(value)});
  return Whole(200, "application/json",
               boost::json::serialize(boost::json::object{{"method", request.method},
                                                          {"target", request.target},
                                                          {"headers", std::move(headers)},
                                                          {"body_base64", Base64Encode(body)}}));
}

HttpAnswer Raw(Taker& take) {
  HttpAnswer answer;
  std::string text = take.Text("base64").value_or("");
  std::ranges::replace(text, '-', '+');
  std::ranges::replace(text, '_', '/');
  const auto bytes = Base64Decode(text);
  if (!bytes) take.Fail("base64 is not base64");
  answer.first = bytes.value_or("");
  if (take.Flag("close")) answer.after = HttpAnswer::After::kClose;
  if (take.Flag("reset")) answer.after = HttpAnswer::After::kReset;
  return answer;
}

HttpAnswer Slow(Taker& take) {
  const auto wait = [&](const char* name) { return milliseconds(take.In<int64_t>(name, 0, 3'600'000).value_or(0)); };
  const auto size = take.In<uint64_t>("size", 1, kMaxBodyBytes).value_or(16);
  HttpAnswer answer{.status = 200};
  answer.first = Head(200, "Content-Type: text/plain\r\nContent-Length: " + std::to_string(size) + "\r\n");
  answer.before = wait("ms");
  answer.before_body = wait("first_byte_ms");
  answer.between = wait("byte_ms");
  answer.more = Digits(size, answer.between.count() > 0 ? 1 : kPieceBytes);
  return answer;
}

HttpAnswer ManyHeaders(Taker& take) {
  const auto count = take.In<uint64_t>("count", 0, 100'000).value_or(10);
  const auto size = take.In<uint64_t>("size", 0, 16 << 20).value_or(10);
  std::string fields = "Set-Cookie: a=1\r\nset-cookie: b=2\r\nX-Empty:\r\n";
  for (uint64_t index = 1; index <= count; ++index) {
    fields += "X-Header-" + std::to_string(index) + ": " + std::string(size, 'x') + "\r\n";
  }
  return Whole(200, "text/plain", "headers", fields);
}

HttpAnswer Recorded(const std::string& name, Taker& take, RecordedResponses& recordings) {
  const auto index = take.In<uint64_t>("index", 0, UINT64_MAX).value_or(0);
  const auto responses = recordings.Get(name);
  if (!responses) return Wrong(404, responses.error());
  const std::string count = "X-Recording-Count: " + std::to_string((*responses)->size()) + "\r\n";
  if (index >= (*responses)->size()) return Wrong(404, "the recording has no response of that index");
  return Whole(200, "application/json", (**responses)[index], count);
}

// Of the endpoints that know their parameters.
HttpAnswer Choose(const std::string& path, uint64_t index, Taker& take, RecordedResponses& recordings) {
  const auto size = [&](uint64_t least, uint64_t otherwise) {
    return take.In<uint64_t>("size", least, kMaxBodyBytes).value_or(otherwise);
  };
  const auto small = [](const char* text) { return Whole(200, "text/plain", text); };
  if (path == "/depth")
    return Whole(200, "application/json", Depth(take.In<uint64_t>("levels", 0, 100'000).value_or(10)));
  if (path == "/slow") return Slow(take);
  if (path == "/big") return WithDigits(size(0, 16 << 20));
  if (path == "/chunked") {
    const uint64_t chunk = take.In<uint64_t>("chunk", 1, kMaxBodyBytes).value_or(1000);
    const bool trailers = take.Flag("trailers");
    return Chunked(size(0, 10'000), chunk, trailers);
  }
  if (path == "/close") {
    const bool now = index >= take.In<uint64_t>("after", 1, UINT64_MAX).value_or(1);
    HttpAnswer answer = Whole(200, "text/plain", "close", now ? "Connection: close\r\n" : "");
    if (now) answer.after = HttpAnswer::After::kClose;
    return answer;
  }
  if (path == "/close_after_write") {
    HttpAnswer answer = small("close_after_write");
    answer.after = HttpAnswer::After::kClose;
    return answer;
  }
  if (path == "/until_close") {
    HttpAnswer answer{.status = 200, .first = Head(200, "Content-Type: text/plain\r\n")};
    if (const uint64_t bytes = size(0, 10'000); bytes > 0) answer.more = Digits(bytes, kPieceBytes);
    // Without close_notify a TLS client cannot tell the end from an attack (RFC 9112 section 9.8).
    const bool goodbye = take.OneOf<bool>("goodbye", {{"0", false}, {"1", true}}).value_or(true);
    answer.after = goodbye ? HttpAnswer::After::kClose : HttpAnswer::After::kFin;
    return answer;
  }
  if (path.starts_with("/status/")) {
    Parameters number = {{"status", path.substr(std::string_view("/status/").size())}};
    Taker status(number);
    const int code = status.In<int>("status", 200, 999).value_or(0);
    const std::string retry = take.Text("retry_after").value_or("");
    const std::string text = take.Text("body").value_or("as asked for");
    if (code == 0) return Wrong(400, status.error());
    return Whole(code, "text/plain", text, retry.empty() ? "" : "Retry-After: " + retry + "\r\n");
  }
  if (path == "/headers") return ManyHeaders(take);
  if (path == "/interim") {
    const auto count = take.In<uint64_t>("count", 0, 10'000).value_or(1);
    const int code = take.In<int>("code", 100, 199).value_or(103);
    HttpAnswer answer = small("interim");
    const std::string interim = Head(code, "X-Interim: 1\r\n");
    for (uint64_t number = 0; number < count; ++number) answer.first.insert(0, interim);
    return answer;
  }
  if (path.starts_with("/recording/")) {
    return Recorded(path.substr(std::string_view("/recording/").size()), take, recordings);
  }
  if (path == "/raw") return Raw(take);
  if (path == "/fin_then_go") {
    HttpAnswer answer = small("fin_then_go");
    answer.fault = HttpFault{.kind = HttpFault::Kind::kHalfClose,
                             .idle = milliseconds(take.In<int64_t>("ms", 0, 3'600'000).value_or(0))};
    return answer;
  }
  return Wrong(404, "there is no " + path);
}

}  // namespace

std::string_view HttpFaultName(HttpFault::Kind kind) {
  for (const auto& [value, name] : kNames) {
    if (value == kind) return name;
  }
  return "unknown";
}

std::expected<HttpFault, std::string> TakeHttpFault(const std::string& name, Parameters& parameters) {
  const auto* found = std::ranges::find(kNames, name, [](const auto& entry) { return entry.second; });
  if (found == kNames.end()) return std::unexpected("there is no fault " + name);
  HttpFault fault{.kind = found->first};
  using Kind = HttpFault::Kind;
  Taker take(parameters);
  if (fault.kind <= Kind::kStallAt) {
    if (!parameters.contains("byte")) take.Fail(name + " needs byte");
    fault.byte = take.In<uint64_t>("byte", 0, UINT64_MAX).value_or(0);
  }
  if (fault.kind == Kind::kCloseResponseAt) fault.goodbye = take.Flag("goodbye");
  if (fault.kind >= Kind::kCloseIdle) {
    fault.idle = milliseconds(take.In<int64_t>("idle_ms", 0, 3'600'000).value_or(0));
  }
  if (!take.error().empty()) return std::unexpected(take.error());
  return fault;
}

Parameters LenientQuery(std::string_view target) {
  Parameters query;
  const size_t mark = target.find('?');
  std::string_view rest = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (const auto one = ParseTarget("/?" + std::string(pair))) query.insert(one->query.begin(), one->query.end());
  }
  return query;
}

std::expected<const Responses*, std::string> RecordedResponses::Get(const std::string& name) {
  if (const auto found = read_.find(name); found != read_.end()) return &found->second;
  auto responses = LoadResponses(directory_, name);
  if (!responses) return std::unexpected(responses.error());
  return &read_.emplace(name, std::move(*responses)).first->second;
}

std::string OrderId(const Parameters& query, std::string_view body) {
  if (const auto found = query.find("id"); found != query.end()) return found->second;
  const std::string_view line = body.substr(0, body.find('\n'));
  return std::string(line.substr(0, line.find('\r')));
}

HttpAnswer MakeHttpAnswer(const HttpRequest& request, const std::string& body, uint64_t index,
                          RecordedResponses& recordings) {
  const std::string_view target = request.target;
  const auto path = ParseTarget(target.substr(0, target.find('?')));
  Parameters query = LenientQuery(target);
  HttpAnswer answer;
  std::optional<HttpFault> fault;
  if (const auto name = query.extract("fault")) {
    const auto taken = TakeHttpFault(name.mapped(), query);
    if (!taken) return Wrong(400, taken.error());
    fault = *taken;
  }
  if (!path) {
    answer = Wrong(400, path.error());
  } else if (path->path == "/echo") {  // may have any parameters
    const bool raw = query.contains("raw") && query["raw"] == "1";
    answer = raw ? Whole(200, "application/octet-stream", body) : Echo(request, body);
  } else if (path->path == "/order") {  // may have any parameters
    const std::string id = OrderId(query, body);
    answer = request.method != "POST" ? Wrong(405, "an order is a POST")
             : id.empty()             ? Wrong(400, "the order has no id")
                                      : Whole(200, "application/json",
                                              boost::json::serialize(boost::json::object{{"ok", true}, {"id", Latin1(id)}}));
  } else {
    query.erase("tag");
    query.erase("token");
    Taker take(query);
    answer = Choose(path->path, index, take, recordings);
    if (!take.error().empty()) answer = Wrong(400, take.error());
    if (!query.empty() && answer.status != 404) answer = Wrong(400, "unknown parameter " + query.begin()->first);
  }
  if (fault) answer.fault = fault;
  if (request.method == "HEAD" && answer.status != 0) {
    answer.first.resize(answer.first.find("\r\n\r\n") + 4);
    answer.more = nullptr;
  }
  return answer;
}

}  // namespace exchange
