// gRPC's side of one Attach stream: reads commands, writes responses, ends once. What they mean is rpc/channels.
//
// Threads: gRPC calls the On... functions on its own; everything else of this class runs on the loop, but for starting
// writes and the end, which run on the flusher.
//
// One path out: whatever happens (half-close and last channel, cancel, a broken link, an unreadable message, draining,
// a stuck write) leads to End, once; it detaches the channels and has the flusher call Finish, once; gRPC then calls
// OnDone, which drops the stream's hold on itself.
#pragma once

#include <grpcpp/impl/codegen/server_callback.h>
#include <grpcpp/server_context.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "rpc/channels.h"
#include "rpc/streams.h"

namespace fairlead {

class AttachStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                           public std::enable_shared_from_this<AttachStream>,
                           private Channels::Stream,
                           private Streams::Member {
 public:
  // Keeps itself until OnDone. Without an admission it ends at once. Any thread.
  static AttachStream* Begin(const Result<Admission>& admission, Streams& streams,
                             grpc::CallbackServerContext& context);

 private:
  AttachStream(Admission admission, Streams& streams, grpc::CallbackServerContext& context)
      : Member(std::move(admission)), streams_(streams), context_(context) {}

  // gRPC's threads.
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void ReadNext();

  // The loop.
  void Write(const grpc::ByteBuffer& message) override;
  void Finished(const Failure* why) override;
  void Drained() override;
  void Stuck() override;
  void Drain(SteadyTime gone_by) override;
  void Recheck() override;
  void Revoke(const Failure& cause) override;
  void CutOff();
  void Processed();
  void End(grpc::Status status);

  Streams& streams_;
  grpc::CallbackServerContext& context_;
  const SteadyTime began_ = streams_.timers().Now();
  std::shared_ptr<AttachStream> self_;
  std::unique_ptr<Channels> channels_;  // Loop only. Null before the stream is admitted and after its end.
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;

  // Messages read but not yet executed; reading pauses at the limit, and whoever executes goes on with it.
  static constexpr int kMaxUnprocessed = 4;
  std::atomic<int> unprocessed_ = 0;
  int held_back_ = 0;               // Loop only: executed, but not counted as such while too many events wait.
  bool ended_ = false;              // Loop only.
  std::optional<WallTime> oldest_;  // Of what is being written, when its oldest live frame was read.
  WallTime write_began_;

  std::mutex finish_mutex_;  // No read is started once the end is, and nothing is cancelled once gRPC is done.
  bool finishing_ = false;
  bool done_ = false;
};

}  // namespace fairlead
