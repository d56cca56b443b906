// Requests in protobuf's text format, parsed as they come from adapters.
#pragma once

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "rpc/requests.h"

namespace fairlead {

template <typename Message>
Message Text(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}
inline const std::string kTarget = R"(target { url: "wss://stream.example.com/ws" } )";

inline Result<OpenRequest> Open(const std::string& more) {
  auto open = Text<v1::Open>(kTarget);
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(more, &open)) << more;
  return ParseOpen(open, Limits{});
}
inline OpenRequest Opened(const std::string& more) {
  auto open = Open(more);
  EXPECT_TRUE(open) << more << ": " << (open ? "" : open.error().message);
  return open.value_or(OpenRequest{});
}

// Of raw sockets.
inline const std::string kRawTarget = R"(target { url: "tcp://stream.example.com:4001" } )";

inline Result<OpenRequest> OpenRaw(const std::string& more) {
  return ParseOpen(Text<v1::Open>(kRawTarget + more), Limits{});
}
inline SessionOptions Raw(const std::string& more = "") {
  auto open = OpenRaw(more);
  EXPECT_TRUE(open) << more << ": " << (open ? "" : open.error().message);
  return open.value_or(OpenRequest{}).options;
}

}  // namespace fairlead
