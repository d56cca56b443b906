// One Tail stream: a session's entries as readable messages, one at a time. Threads and the way out are those of
// rpc/attach_stream.
#pragma once

#include <fairlead/v1/session.pb.h>
#include <grpcpp/impl/codegen/server_callback.h>
#include <grpcpp/server_context.h>

#include <memory>
#include <mutex>

#include "rpc/streams.h"
#include "session/subscription.h"

namespace fairlead {

class TailStream final : public grpc::ServerWriteReactor<v1::TailResponse>,
                         public std::enable_shared_from_this<TailStream>,
                         private Subscription::Listener,
                         private Streams::Member {
 public:
  // Keeps itself until OnDone. Any thread.
  static TailStream* Begin(const Result<Admission>& admission, const v1::TailRequest& request, Streams& streams,
                           grpc::CallbackServerContext& context);

 private:
  TailStream(Admission admission, Streams& streams, const v1::TailRequest& request,
             grpc::CallbackServerContext& context)
      : Member(std::move(admission)), streams_(streams), request_(request), context_(context) {}

  // gRPC's threads.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // The loop.
  void Join();
  void Waiting(Subscription& subscription, size_t entries, size_t bytes) override;
  void Ponged(Subscription& /*subscription*/, std::string_view /*payload*/, Duration /*round_trip*/) override {}
  void Asked(Subscription& /*subscription*/, const Question& /*question*/) override {}
  void Recheck() override {}  // It reads its own identity's.
  void Revoke(const Failure& cause) override;
  void CutOff();
  void Drain(SteadyTime /*gone_by*/) override {}  // Its session's end ends it.
  void WriteNext();
  // What comes next; false: nothing yet.
  bool Fill();
  void End(grpc::Status status);

  Streams& streams_;
  const v1::TailRequest request_;
  grpc::CallbackServerContext& context_;
  const SteadyTime began_ = streams_.timers().Now();
  std::shared_ptr<TailStream> self_;
  std::unique_ptr<Subscription> subscription_;  // Loop only.
  v1::TailResponse response_;
  uint64_t written_ = 0;
  bool writing_ = false;
  bool posted_ = false;  // WriteNext is on its way.
  bool last_ = false;    // response_ is the last.
  bool ended_ = false;

  std::mutex done_mutex_;  // Nothing is cancelled once gRPC is done.
  bool done_ = false;
};

}  // namespace fairlead
