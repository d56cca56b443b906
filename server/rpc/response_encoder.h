// Builds one AttachResponse in wire format. Frames are gathered into Batches, whose columns stand ready in the
// journal's blocks: what lies there in one piece becomes one slice, shared with the journal and with all who are sent
// the same. Only the runs, in which the channel stands, are encoded for each stream.
#pragma once

#include <fairlead/v1/session.pb.h>
#include <grpcpp/support/byte_buffer.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/journal.h"

namespace fairlead {

class ResponseEncoder {
 public:
  // In the order in which they are to be read. The journal has not changed before Finish.
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
  // Frames that lie behind each other in a block.
  struct Range {
    const FrameBlock* block = nullptr;
    uint32_t first = 0;
    uint32_t count = 0;
    std::string_view payloads;
  };
  void CloseBatch();
  // Of memory that belongs to the block.
  void Append(const FrameBlock& block, const void* begin, size_t bytes);
  void CloseSlice();

  std::vector<grpc::Slice> slices_;
  std::string open_;  // Encoded, not yet a slice.
  // The batch that is being gathered.
  std::vector<Run> runs_;
  std::vector<Range> ranges_;
  size_t batch_frames_ = 0;
  size_t payloads_bytes_ = 0;
  std::optional<FrameBlocks> lone_;  // Of frames that are in no block.
  size_t frames_ = 0;
  size_t bytes_ = 0;
};

}  // namespace fairlead
