#include "rpc/tail_stream.h"

#include "rpc/checker.h"
#include "rpc/events.h"
#include "rpc/requests.h"
#include "rpc/rpc_log.h"
#include "rpc/status.h"

namespace fairlead {

TailStream* TailStream::Begin(const Result<Admission>& admission, const v1::TailRequest& request, Streams& streams,
                              grpc::CallbackServerContext& context) {
  const std::shared_ptr<TailStream> stream(new TailStream(admission.value_or(Admission{}), streams, request, context));
  stream->self_ = stream;
  streams.rpcs().StreamBegan(Rpc::kTail);
  streams.timers().Post(
      [stream, refused = RefusalOf(admission)] { refused ? stream->End(ToStatus(*refused)) : stream->Join(); });
  return stream.get();
}

void TailStream::Join() {
  if (ended_) return;
  if (auto known = CheckKnown(request_); !known) return End(ToStatus(known.error()));
  if (auto name = CheckSessionName(request_.session(), "session"); !name) return End(ToStatus(name.error()));
  const auto start = ParseStart(request_.start(), "start");
  if (!start) return End(ToStatus(start.error()));
  auto session = streams_.registry().Find(admission().identity, request_.session());
  if (session == nullptr) {
    return End(ToStatus(
        {Reason::kSessionNotFound, Phase::kNotSent, "session: \"" + request_.session() + "\" is not a live session"}));
  }
  if (session->subscriptions().size() >= streams_.limits().subscribers_per_session) {
    return End(ToStatus({Reason::kLimitReached, Phase::kNotSent, "limits.subscribers_per_session are attached"}));
  }
  if (auto admitted = streams_.Admit(*this); !admitted) return End(ToStatus(admitted.error()));
  Subscription::Listener& listener = *this;
  subscription_ =
      std::make_unique<Subscription>(std::move(session), listener, /*owner=*/false, *start, Overflow::kSkip);
  WriteNext();
}

void TailStream::Waiting(Subscription& /*subscription*/, size_t /*entries*/, size_t /*bytes*/) {
  if (writing_ || std::exchange(posted_, true)) return;
  streams_.timers().Post([self = shared_from_this()] {
    self->posted_ = false;
    self->WriteNext();
  });
}

void TailStream::WriteNext() {
  if (ended_ || writing_ || !subscription_) return;
  if (last_ || (request_.max_entries() != 0 && written_ == request_.max_entries())) return End(grpc::Status::OK);
  if (!Fill()) return;
  writing_ = true;
  streams_.flusher().Run([self = shared_from_this()] { self->StartWrite(&self->response_); });
}

bool TailStream::Fill() {
  response_.Clear();
  if (const auto gap = subscription_->TakeGap()) {
    *response_.mutable_gap() = ToProto(0, *gap);
    return true;
  }
  const Entry* entry = subscription_->Peek();
  if (entry == nullptr) {
    if (subscription_->ended() == nullptr) return false;
    *response_.mutable_ended() = ToProto(0, *subscription_->ended());
    last_ = true;
    return true;
  }
  response_.set_sequence(subscription_->next_sequence());
  response_.set_generation(entry->generation);
  *response_.mutable_receive_time() = ToTimestamp(entry->time);
  if (const FrameEntry* frame = entry->frame()) {
    if (frame->kind == FrameKind::kText) {
      response_.set_text(std::string(frame->payload));
    } else {
      response_.set_binary(std::string(frame->payload));
    }
  } else {
    SetEntry(response_, /*channel=*/0, response_.sequence(), *entry);
  }
  subscription_->Advance();
  ++written_;
  return true;
}

void TailStream::OnWriteDone(bool /*ok*/) {
  streams_.timers().Post([self = shared_from_this()] {
    self->writing_ = false;
    self->WriteNext();
  });
}

void TailStream::OnCancel() {
  streams_.timers().Post([self = shared_from_this()] { self->End(grpc::Status::CANCELLED); });
}

void TailStream::OnDone() {
  {
    const std::lock_guard lock(done_mutex_);
    done_ = true;
  }
  self_.reset();
}

void TailStream::Revoke(const Failure& cause) {
  End(ToStatus(cause));
  streams_.CutOffLater([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->CutOff();
  });
}

void TailStream::CutOff() {
  const std::lock_guard lock(done_mutex_);
  if (!done_) context_.TryCancel();
}

void TailStream::End(grpc::Status status) {
  if (std::exchange(ended_, true)) return;
  streams_.rpcs().StreamEnded(Rpc::kTail, status.error_code());
  LogEnd(context_, Rpc::kTail, admission().identity, status, streams_.timers().Now() - began_);
  streams_.Leave(*this);
  subscription_.reset();
  streams_.flusher().Run([self = shared_from_this(), status = std::move(status)] { self->Finish(status); });
}

}  // namespace fairlead
