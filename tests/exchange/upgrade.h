// The upgrade from HTTP to WebSocket (RFC 6455 section 4.2): the client's request, and what the exchange answers.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "exchange/plan.h"
#include "exchange/record.h"

namespace exchange {

struct HttpRequest {
  std::string method;
  std::string target;
  Headers headers;

  // Values of a header (any case), joined by ", "; nullopt = not there.
  std::optional<std::string> Find(std::string_view name) const;
};

// `head`: everything up to and with the empty line. The error says what is wrong.
std::expected<HttpRequest, std::string> ParseHttpRequest(std::string_view head);

bool EqualIgnoringCase(std::string_view a, std::string_view b);

// permessage-deflate as agreed (RFC 7692 section 7.1). The client always sends without context takeover.
struct DeflateTerms {
  int window_bits = 15;  // of what the exchange sends
  bool keep_context = false;
  std::string extension{};  // the answer's Sec-WebSocket-Extensions
};
// nullopt: none of the client's offers can be met.
std::optional<DeflateTerms> AgreeOnDeflate(std::string_view offers, bool want_context);

struct UpgradeAnswer {
  int status = 400;
  std::string response{};  // the bytes to send
  std::string subprotocol{};
  std::optional<DeflateTerms> deflate{};
};
// The answer that `plan` wants, or a refusal that says what the request lacks.
UpgradeAnswer AnswerUpgrade(const HttpRequest& request, const Plan& plan);

// The reason phrase of a status.
std::string_view Phrase(int status);

// A whole response that ends the connection.
std::string PlainResponse(int status, std::string_view extra_headers, std::string_view body);

}  // namespace exchange
