// Channels of an Attach stream, on virtual time, a scripted dialler and a recorded stream.
#pragma once

#include <google/protobuf/text_format.h>

#include <memory>
#include <string>

#include "rpc/channels.h"
#include "support/recorded_stream.h"
#include "support/testbed.h"

namespace fairlead {

// A command in protobuf's text format, "open { ... }", in a message of its own.
inline void Execute(Channels& channels, const std::string& action, uint32_t channel, uint64_t id) {
  v1::AttachRequest request;
  const std::string text =
      "commands { channel: " + std::to_string(channel) + " id: " + std::to_string(id) + " " + action + " }";
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  channels.Execute(request);
}

inline constexpr char kOpen[] = R"(open { session: "md" target { url: "ws://h/" } heartbeat { interval { } } })";

// One Attach stream on a testbed. Its peer takes messages at once, unless a test says otherwise.
struct Attached : Testbed {
  explicit Attached(const Limits& bounds = {}, Flush::Batch batch = {}) {
    limits = bounds;
    channels = std::make_unique<Channels>("dev", registry, access, time, limits, batch, stream);
    stream.wrote = [this] { channels->Wrote(); };
  }
  void Command(const std::string& action, uint32_t channel = 1, uint64_t id = 0) {
    Execute(*channels, action, channel, id);
  }
  Lines Read() {
    time.Advance(std::chrono::milliseconds(1));
    return stream.Read();
  }
  // A session on a channel, OPEN.
  Peer& Open(uint32_t channel = 1, const std::string& more = "") {
    const std::string name = "s" + std::to_string(channel);
    Command("open { session: \"" + name + R"(" target { url: "ws://h/" } heartbeat { interval { } } )" + more + "}",
            channel);
    Peer& peer = dialler.Accept();
    Read();
    return peer;
  }
  RecordedStream stream{time};
  std::unique_ptr<Channels> channels;
};

}  // namespace fairlead
