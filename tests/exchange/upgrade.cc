#include "exchange/upgrade.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace exchange {
namespace {

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    if (const std::string_view part = Trim(text.substr(0, end)); !part.empty()) parts.push_back(part);
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool HasToken(std::string_view list, std::string_view token) {
  return std::ranges::any_of(Split(list, ','), [&](std::string_view part) { return EqualIgnoringCase(part, token); });
}

UpgradeAnswer Refuse(int status, std::string_view why) {
  return {.status = status, .response = PlainResponse(status, "", why)};
}

}  // namespace

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::optional<std::string> HttpRequest::Find(std::string_view name) const {
  std::optional<std::string> found;
  for (const auto& [key, value] : headers) {
    if (EqualIgnoringCase(key, name)) found = found ? *found + ", " + value : value;
  }
  return found;
}

std::expected<HttpRequest, std::string> ParseHttpRequest(std::string_view head) {
  HttpRequest request;
  bool first = true;
  while (!head.empty()) {
    const size_t end = head.find("\r\n");
    if (end == std::string_view::npos) return std::unexpected("a line of the request has no end");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (first) {
      const auto words = Split(line, ' ');
      if (words.size() != 3 || words[2] != "HTTP/1.1") return std::unexpected("the request line is malformed");
      request.method = words[0];
      request.target = words[1];
      first = false;
    } else if (!line.empty()) {
      const size_t colon = line.find(':');
      if (colon == std::string_view::npos || colon == 0) return std::unexpected("a header is malformed");
      request.headers.emplace_back(line.substr(0, colon), Trim(line.substr(colon + 1)));
    }
  }
  if (first) return std::unexpected("the request is empty");
  return request;
}

std::optional<DeflateTerms> AgreeOnDeflate(std::string_view offers, bool want_context) {
  for (const std::string_view offer : Split(offers, ',')) {
    const auto parts = Split(offer, ';');
    if (parts.empty() || !EqualIgnoringCase(parts[0], "permessage-deflate")) continue;
    DeflateTerms terms{.keep_context = want_context};
    bool acceptable = true;
    std::string window;
    for (size_t index = 1; index < parts.size(); ++index) {
      const std::string_view name = Trim(parts[index].substr(0, parts[index].find('=')));
      if (name == "server_no_context_takeover") {
        terms.keep_context = false;
      } else if (name == "server_max_window_bits") {
        std::string_view value = parts[index].substr(std::min(parts[index].find('=') + 1, parts[index].size()));
        if (value.starts_with('"') && value.size() >= 2) value = value.substr(1, value.size() - 2);
        const auto result = std::from_chars(value.data(), value.data() + value.size(), terms.window_bits);
        // zlib cannot make a raw stream with a window of 8 bits.
        acceptable = acceptable && result.ec == std::errc() && terms.window_bits >= 9 && terms.window_bits <= 15;
        window = "; server_max_window_bits=" + std::to_string(terms.window_bits);
      } else if (name != "client_no_context_takeover" && name != "client_max_window_bits") {
        acceptable = false;
      }
    }
    if (!acceptable) continue;
    terms.extension = "permessage-deflate";
    if (!terms.keep_context) terms.extension += "; server_no_context_takeover";
    terms.extension += "; client_no_context_takeover" + window;
    return terms;
  }
  return std::nullopt;
}

UpgradeAnswer AnswerUpgrade(const HttpRequest& request, const Plan& plan) {
  if (plan.status != 101) {
    const std::string retry = plan.retry_after.empty() ? "" : "Retry-After: " + plan.retry_after + "\r\n";
    return {.status = plan.status, .response = PlainResponse(plan.status, retry, "as asked for by status=")};
  }
  const auto key = request.Find("Sec-WebSocket-Key");
  if (request.method != "GET") return Refuse(400, "an upgrade is a GET");
  if (!HasToken(request.Find("Connection").value_or(""), "upgrade"))
    return Refuse(400, "Connection: Upgrade is missing");
  if (!HasToken(request.Find("Upgrade").value_or(""), "websocket")) return Refuse(400, "Upgrade: websocket is missing");
  if (request.Find("Sec-WebSocket-Version") != "13") return Refuse(400, "Sec-WebSocket-Version is not 13");
  if (!request.Find("Host")) return Refuse(400, "Host is missing");
  if (!key || Base64Decode(*key).value_or("").size() != 16)
    return Refuse(400, "Sec-WebSocket-Key is not 16 bytes in base64");

  UpgradeAnswer answer{.status = 101};
  const std::string protocols = request.Find("Sec-WebSocket-Protocol").value_or("");
  const auto offered = Split(protocols, ',');
  if (plan.subprotocol && *plan.subprotocol != "none") {
    answer.subprotocol = *plan.subprotocol;  // even one that was not offered: that is a misbehaviour worth testing
  } else if (!plan.subprotocol && !offered.empty()) {
    answer.subprotocol = offered.front();
  }
  if (plan.compression != Plan::Compression::kOff) {
    answer.deflate = AgreeOnDeflate(request.Find("Sec-WebSocket-Extensions").value_or(""),
                                    plan.compression == Plan::Compression::kWithContext);
    if (!answer.deflate && plan.feed == Plan::Feed::kBomb)
      return Refuse(400, "a bomb needs an offer of permessage-deflate");
  }
  answer.response =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
      AcceptKey(*key) + "\r\n";
  if (!answer.subprotocol.empty()) answer.response += "Sec-WebSocket-Protocol: " + answer.subprotocol + "\r\n";
  if (answer.deflate) answer.response += "Sec-WebSocket-Extensions: " + answer.deflate->extension + "\r\n";
  answer.response += "\r\n";
  return answer;
}

std::string_view Phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 102:
      return "Processing";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 409:
      return "Conflict";
    case 418:
      return "I'm a teapot";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

std::string PlainResponse(int status, std::string_view extra_headers, std::string_view body) {
  return "HTTP/1.1 " + std::to_string(status) + " " + std::string(Phrase(status)) +
         "\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + std::string(extra_headers) + "\r\n" + std::string(body);
}

}  // namespace exchange
