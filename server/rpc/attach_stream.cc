#include "rpc/attach_stream.h"

#include <grpcpp/impl/codegen/proto_buffer_reader.h>

#include "base/log.h"
#include "rpc/rpc_log.h"
#include "rpc/status.h"

namespace fairlead {

AttachStream* AttachStream::Begin(const Result<Admission>& admission, Streams& streams,
                                  grpc::CallbackServerContext& context) {
  const std::shared_ptr<AttachStream> stream(new AttachStream(admission.value_or(Admission{}), streams, context));
  stream->self_ = stream;
  streams.rpcs().StreamBegan(Rpc::kAttach);
  streams.timers().Post([stream, refused = RefusalOf(admission)] {
    if (stream->ended_) return;  // Cancelled before it began.
    if (refused) return stream->End(ToStatus(*refused));
    if (auto admitted = stream->streams_.Admit(*stream); !admitted) return stream->End(ToStatus(admitted.error()));
    Streams& all = stream->streams_;
    Channels::Stream& side = *stream;
    stream->channels_ =
        std::make_unique<Channels>(stream->admission().identity, all.registry(), all.access(), all.timers(),
                                   all.limits(), all.batch(), side, stream->admission().trace);
  });
  stream->ReadNext();
  return stream.get();
}

// ---- gRPC's threads. ----

void AttachStream::ReadNext() {
  const std::lock_guard lock(finish_mutex_);
  if (!finishing_) StartRead(&incoming_);
}

void AttachStream::OnReadDone(bool ok) {
  if (!ok) {
    streams_.timers().Post([self = shared_from_this()] {
      if (self->channels_) self->channels_->HalfClosed();
    });
    return;
  }
  // Parsed here, off the loop.
  auto request = std::make_shared<v1::AttachRequest>();
  grpc::ProtoBufferReader reader(&incoming_);
  const bool readable = reader.status().ok() && request->ParseFromZeroCopyStream(&reader);
  const bool go_on = unprocessed_.fetch_add(1) + 1 < kMaxUnprocessed;
  streams_.timers().Post([self = shared_from_this(), request, readable] {
    if (!self->channels_) return;
    if (!readable) {
      return self->End(ToStatus({Reason::kInvalidField, Phase::kNotSent,
                                 "AttachRequest: not readable; strings must be UTF-8, and lengths must be right"}));
    }
    // Of the message itself: what a command carries is the command's affair.
    if (const auto& unknown = request->GetReflection()->GetUnknownFields(*request); !unknown.empty()) {
      return self->End(ToStatus({Reason::kUnknownField, Phase::kNotSent,
                                 "AttachRequest: field number " + std::to_string(unknown.field(0).number()) +
                                     " is not known to this version"}));
    }
    self->channels_->Execute(*request);
    self->Processed();
  });
  if (go_on) ReadNext();
}

void AttachStream::OnWriteDone(bool /*ok*/) {
  // A failed write means a broken stream: OnCancel tells.
  streams_.timers().Post([self = shared_from_this()] {
    self->outgoing_.Clear();
    if (self->oldest_) self->streams_.measures().added_latency.Observe(self->write_began_ - *self->oldest_);
    if (self->channels_) self->channels_->Wrote();
  });
}

void AttachStream::OnCancel() {
  streams_.timers().Post([self = shared_from_this()] { self->End(grpc::Status::CANCELLED); });
}

void AttachStream::OnDone() {
  {
    const std::lock_guard lock(finish_mutex_);
    done_ = true;
  }
  self_.reset();
}

// ---- The loop. ----

void AttachStream::Processed() {
  if (channels_ && channels_->Full()) {
    ++held_back_;
    return;
  }
  if (unprocessed_.fetch_sub(1) == kMaxUnprocessed) ReadNext();
}

void AttachStream::Drained() {
  for (; held_back_ > 0; --held_back_) {
    if (unprocessed_.fetch_sub(1) == kMaxUnprocessed) ReadNext();
  }
}

void AttachStream::Write(const grpc::ByteBuffer& message) {
  outgoing_ = message;  // Shares the slices.
  oldest_ = channels_->oldest_live();
  streams_.flusher().Run([self = shared_from_this()] {
    self->write_began_ = self->streams_.timers().WallNow();
    self->StartWrite(&self->outgoing_);
  });
}

void AttachStream::Finished(const Failure* why) {
  // Not now: the channels are calling.
  const grpc::Status status = why == nullptr ? grpc::Status::OK : ToStatus(*why);
  streams_.timers().Post([self = shared_from_this(), status] { self->End(status); });
}

void AttachStream::Stuck() {
  Log(Level::kWarn, "stream.stuck",
      {{"peer", context_.peer()},
       {"message", "the adapter has read nothing for limits.stuck_write"},
       LogField::Detail("trace_id", admission().trace.text())});
  context_.TryCancel();  // Finish would wait behind the write; this leads to OnCancel.
}

void AttachStream::Drain(SteadyTime gone_by) {
  if (channels_) channels_->Drain(gone_by);
}

void AttachStream::Recheck() {
  if (channels_) channels_->Recheck();
}

void AttachStream::Revoke(const Failure& cause) {
  End(ToStatus(cause));
  streams_.CutOffLater([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->CutOff();
  });
}

// Finish waits behind a write that the peer does not take.
void AttachStream::CutOff() {
  const std::lock_guard lock(finish_mutex_);
  if (!done_) context_.TryCancel();
}

void AttachStream::End(grpc::Status status) {
  if (std::exchange(ended_, true)) return;
  streams_.rpcs().StreamEnded(Rpc::kAttach, status.error_code());
  LogEnd(context_, Rpc::kAttach, admission().identity, status, streams_.timers().Now() - began_);
  streams_.Leave(*this);
  channels_.reset();
  streams_.flusher().Run([self = shared_from_this(), status = std::move(status)] {
    {
      const std::lock_guard lock(self->finish_mutex_);
      self->finishing_ = true;
    }
    self->Finish(status);
  });
}

}  // namespace fairlead
