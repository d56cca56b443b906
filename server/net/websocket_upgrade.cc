#include "net/websocket_upgrade.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>

#include "policy/upgrade.h"

namespace fairlead {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 section 1.3.

std::string Base64(const unsigned char* bytes, size_t size) {
  std::string text((size + 2) / 3 * 4 + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes, static_cast<int>(size));
  text.resize(static_cast<size_t>(length));
  return text;
}

std::string RandomKey() {
  std::array<unsigned char, 16> bytes;
  RAND_bytes(bytes.data(), bytes.size());
  return Base64(bytes.data(), bytes.size());
}

std::string AcceptOf(const std::string& key) {
  const std::string text = key + std::string(kGuid);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  return Base64(digest.data(), size);
}

std::string RequestFor(const DialRequest& request, const std::string& key) {
  std::string text = "GET " + request.url.target.Reveal() + " HTTP/1.1\r\n";
  const auto add = [&text](std::string_view name, std::string_view value) {
    text.append(name).append(": ").append(value).append("\r\n");
  };
  add("Host", request.url.HostHeader());
  add("Upgrade", "websocket");
  add("Connection", "Upgrade");
  add("Sec-WebSocket-Key", key);
  add("Sec-WebSocket-Version", "13");
  std::string subprotocols;
  for (const std::string& name : request.websocket.subprotocols) {
    subprotocols += (subprotocols.empty() ? "" : ", ") + name;
  }
  if (!subprotocols.empty()) add("Sec-WebSocket-Protocol", subprotocols);
  if (request.websocket.permessage_deflate) add("Sec-WebSocket-Extensions", kDeflateOffer);
  const auto named = [](std::string_view name) {
    return [name](const RequestHeader& header) { return beast::iequals(header.name, name); };
  };
  if (std::ranges::none_of(request.headers, named("User-Agent"))) add("User-Agent", "fairlead");
  // In order, but those of one name together, where its first one stands.
  for (auto header = request.headers.begin(); header != request.headers.end(); ++header) {
    if (std::any_of(request.headers.begin(), header, named(header->name))) continue;
    for (const RequestHeader& same : request.headers) {
      if (named(header->name)(same)) add(same.name, same.value.Reveal());
    }
  }
  return text + "\r\n";
}

Loss Invalid(const std::string& why) {
  return {.cause = {Reason::kUpgradeInvalid, Phase::kNotSent, "the answer to the upgrade is not valid: " + why}};
}

}  // namespace

struct WebSocketUpgrade::Answer {
  http::response_parser<http::empty_body> parser;
  std::string unread;

  // Of all fields of this name, joined.
  std::string Field(http::field name) const {
    std::string value;
    const auto [begin, end] = parser.get().equal_range(name);
    for (auto field = begin; field != end; ++field) {
      if (!value.empty()) value += ", ";
      value.append(field->value().data(), field->value().size());
    }
    return value;
  }
};

WebSocketUpgrade::WebSocketUpgrade(const DialRequest& request)
    : subprotocols_(request.websocket.subprotocols),
      offers_deflate_(request.websocket.permessage_deflate),
      answer_(std::make_unique<Answer>()) {
  answer_->parser.body_limit(boost::none);  // A refusal may have any body; nobody reads it.
  const std::string key = RandomKey();
  accept_ = AcceptOf(key);
  request_ = RequestFor(request, key);
}

WebSocketUpgrade::~WebSocketUpgrade() = default;

std::optional<std::expected<WebSocketUpgrade::Agreement, Loss>> WebSocketUpgrade::Feed(std::string_view bytes,
                                                                                       WallTime now) {
  std::string& unread = answer_->unread;
  unread.append(bytes);
  boost::system::error_code error;
  unread.erase(0, answer_->parser.put(boost::asio::buffer(unread), error));
  if (error && error != http::error::need_more) return std::unexpected(Invalid(error.message()));
  if (!answer_->parser.is_header_done()) return std::nullopt;
  if (auto refused = Check(now)) return std::unexpected(std::move(*refused));
  auto deflate = ReadDeflateAnswer(answer_->Field(http::field::sec_websocket_extensions), offers_deflate_);
  if (!deflate) return std::unexpected(Loss{.cause = deflate.error()});
  return Agreement{*deflate, std::move(unread)};
}

std::optional<Loss> WebSocketUpgrade::Check(WallTime now) const {
  const auto& response = answer_->parser.get();
  if (response.result() != http::status::switching_protocols)
    return UpgradeRefused(response.result_int(), answer_->Field(http::field::retry_after), now);
  if (response.version() < 11) return Invalid("its HTTP is older than 1.1");
  if (!http::token_list(answer_->Field(http::field::connection)).exists("upgrade"))
    return Invalid("it does not say Connection: Upgrade");
  if (!http::token_list(answer_->Field(http::field::upgrade)).exists("websocket"))
    return Invalid("it does not say Upgrade: websocket");
  if (answer_->Field(http::field::sec_websocket_accept) != accept_)
    return Invalid("its Sec-WebSocket-Accept does not prove a WebSocket server");
  if (auto failure = CheckSubprotocol(subprotocols_, answer_->Field(http::field::sec_websocket_protocol)))
    return Loss{.cause = std::move(*failure)};
  return std::nullopt;
}

}  // namespace fairlead
