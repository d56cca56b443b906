#include "http/connection.h"

#include <utility>

namespace fairlead {

Connection::Connection(std::unique_ptr<ByteStream> stream, Timers& timers, Tally& tally,
                       std::function<void(Connection&)> changed)
    : stream_(std::move(stream)),
      timers_(timers),
      tally_(tally),
      changed_(std::move(changed)),
      idle_since_(timers.Now()),
      self_(std::make_shared<Connection*>(this)) {
  ++tally_[std::to_underlying(state_)];
  Read();
}

Connection::~Connection() {
  --tally_[std::to_underlying(state_)];
  *self_ = nullptr;
}

void Connection::Enter(State state) {
  --tally_[std::to_underlying(state_)];
  ++tally_[std::to_underlying(state)];
  state_ = state;
  if (state == State::kBusy) return;  // Whoever sends knows.
  if (state == State::kIdle) idle_since_ = timers_.Now();
  timers_.Post([self = self_, state] {
    if (*self == nullptr || (*self)->state_ != state) return;
    // Whatever the exchange had sent behind its answer has been read by now: the read that began with it found it.
    if (state == State::kSettling) return (*self)->Enter(State::kIdle);
    const auto changed = (*self)->changed_;
    changed(**self);
  });
}

void Connection::Send(Request request, Done done) {
  Enter(State::kBusy);
  ++requests_;
  reader_.emplace(request.to_head, request.limits);
  grew_ = std::move(request.grew);
  done_ = std::move(done);
  began_ = timers_.Now();
  first_byte_at_.reset();
  writing_ = true;
  taken_ = Phase::kNotSent;
  stream_->Write(std::move(request.head), std::move(request.body), [this](Phase taken) { DidWrite(taken); });
}

void Connection::Cancel(Reason reason, std::string message) {
  if (state_ == State::kBusy && !outcome_) Fail({reason, Phase::kUnspecified, std::move(message)});
}

// Always under way, so that an end or a byte that nobody asked for is seen when it comes.
void Connection::Read() {
  stream_->Read([this](Result<std::string_view> bytes) { DidRead(std::move(bytes)); });
}

void Connection::DidRead(Result<std::string_view> bytes) {
  if (state_ == State::kClosed) return;
  if (state_ != State::kBusy) return Close();
  if (outcome_) return;
  if (!bytes) return Fail(bytes.error());
  if (!bytes->empty()) return Take(*bytes);
  if (auto ended = reader_->End(); !ended) return Fail(ended.error());
  Complete(/*more_follows=*/true);
}

void Connection::Take(std::string_view bytes) {
  const auto taken = reader_->Take(bytes);
  if (!first_byte_at_ && reader_->begun()) first_byte_at_ = timers_.Now();
  if (!taken) return Fail(taken.error());
  if (auto room = grew_(reader_->body_bytes()); !room) return Fail(room.error());
  if (!reader_->complete()) return Read();
  Complete(*taken < bytes.size());
}

void Connection::Complete(bool more_follows) {
  // An answer that overtakes its request is an answer, but the connection is done with; and so it is when the write
  // has failed: what is missing of this request would be taken from the next.
  const bool goes_on = !more_follows && taken_ == Phase::kSentNoReply && reader_->keep_alive();
  HttpResponseHead head = reader_->TakeHead();
  outcome_ = Answer{.status = head.status,
                    .headers = std::move(head.headers),
                    .body = reader_->TakeBody(),
                    .first_byte = first_byte_at_.value_or(timers_.Now()) - began_};
  if (!goes_on) {
    stream_->Abort();
    if (!writing_) Tell(*std::exchange(outcome_, std::nullopt));
    return;
  }
  // Reads first: by the next turn it has found what is there already.
  Read();
  const auto done = std::exchange(done_, nullptr);
  auto outcome = *std::exchange(outcome_, std::nullopt);
  reader_.reset();
  grew_ = nullptr;
  Enter(State::kSettling);
  done(std::move(outcome));
}

// What is told is true when it is told: the write under way first says how far it came.
void Connection::Fail(Failure failure) {
  outcome_ = std::unexpected(std::move(failure));
  stream_->Abort();
  if (!writing_) Tell(*std::exchange(outcome_, std::nullopt));
}

void Connection::DidWrite(Phase taken) {
  writing_ = false;
  taken_ = taken;
  if (outcome_) return Tell(*std::exchange(outcome_, std::nullopt));
  // The read that is under way knows better why a write failed: an answer may have come before the end.
}

Phase Connection::Reached() const { return reader_->begun() ? Phase::kReplied : taken_; }

void Connection::Tell(Result<Answer> outcome) {
  // What is no response at all has not begun as one, but it is what came back: the reader has said so.
  if (!outcome && outcome.error().phase != Phase::kReplied) outcome.error().phase = Reached();
  const auto done = std::exchange(done_, nullptr);
  reader_.reset();
  grew_ = nullptr;
  Close();
  done(std::move(outcome));
}

void Connection::Close() {
  stream_->Abort();
  Enter(State::kClosed);
}

}  // namespace fairlead
