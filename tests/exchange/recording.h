// Recorded exchange traffic: gzip-compressed JSON Lines, one record a line, with `at` (seconds), `from`, and `text` or
// `base64`. Messages have `from`; HTTP responses have `url`.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "exchange/websocket.h"

namespace exchange {

struct RecordedMessage {
  double at = 0;  // seconds since the first message, idle gaps cut to 1 s
  Opcode opcode = Opcode::kText;
  std::string payload;
};
using Recording = std::vector<RecordedMessage>;

// The messages from the exchange of DIRECTORY/NAME.jsonl.gz. The error names the file and what is wrong with it.
std::expected<Recording, std::string> LoadRecording(const std::string& directory, const std::string& name);

// The bodies of the HTTP responses of DIRECTORY/NAME.jsonl.gz, byte for byte, in order.
using Responses = std::vector<std::string>;
std::expected<Responses, std::string> LoadResponses(const std::string& directory, const std::string& name);

}  // namespace exchange
