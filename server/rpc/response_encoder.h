// Builds one AttachResponse in wire format. Frames are gathered into Batches, whose columns are written as they come: a
// frame is copied once, and nothing is walked twice, as encoding protobuf's own objects would.
#pragma once

#include <fairlead/v1/session.pb.h>
#include <grpcpp/support/byte_buffer.h>

#include <string>
#include <vector>

#include "policy/journal.h"

namespace fairlead {

class ResponseEncoder {
 public:
  // In the order in which they are to be read.
  void Frame(uint32_t channel, uint64_t sequence, const Entry& entry);
  void Event(const v1::Event& event);

  size_t frames() const { return frames_; }
  // Of payloads and events so far: close to the message's size.
  size_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }

  // The message; the encoder is empty again.
  grpc::ByteBuffer Finish();

 private:
  struct Run {
    uint32_t channel = 0;
    uint64_t first_sequence = 0;
    uint32_t count = 0;
    FrameKind kind = FrameKind::kText;
    uint64_t generation = 0;
  };
  void CloseBatch();

  std::vector<grpc::Slice> slices_;
  std::string open_;  // Encoded, not yet a slice.
  // The batch that is being gathered.
  std::vector<Run> runs_;
  std::string payloads_;
  std::string times_;
  size_t frames_ = 0;
  size_t bytes_ = 0;
};

}  // namespace fairlead
