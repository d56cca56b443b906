// The connection's way out: feed, faults, and how sending ends.
#include <algorithm>
#include <boost/asio/socket_base.hpp>

#include "exchange/connection.h"

namespace exchange {
namespace {

using namespace std::chrono_literals;

constexpr size_t kChunkBytes = 128 << 10;  // of feed in one write
// A paced feed wakes up at most this often, and then sends all that is due.
constexpr Clock::duration kShortestWait = 500us;

}  // namespace

bool Connection::Apply(const Fault& fault) {
  if (record_->state != ConnectionRecord::State::kOpen || ending_ != Ending::kNone) return false;
  using Kind = Fault::Kind;
  if (fault.kind == Kind::kNeverUpgrade || fault.kind == Kind::kSlowHandshake) return false;
  const std::string name(FaultName(fault.kind));
  record_->faults.push_back(name);
  switch (fault.kind) {
    case Kind::kDrop:
      End(Ending::kFin, "fault:" + name);
      return true;
    case Kind::kReset:
      Abort("fault:" + name);
      return true;
    case Kind::kResetAtByte:
      cut_at_byte_ = fault.byte;
      if (record_->bytes_sent > fault.byte) Abort("fault:" + name);
      break;
    case Kind::kStall:
      stalled_ = true;
      break;
    case Kind::kHalfClose:
      End(Ending::kFinButRead, "");
      return true;
    case Kind::kClose:
      BeginClose(fault.code, fault.reason);
      break;
    case Kind::kCorrupt:
      if (!codec_->Corrupt(pending_, fault.corruption)) return false;
      break;
    case Kind::kPartial:
      AppendPartial();
      End(fault.reset ? Ending::kReset : Ending::kFin, "fault:" + name);
      return true;
    case Kind::kSilent:
      silent_ = true;
      pending_.clear();
      break;
    case Kind::kNoPong:
      no_pong_ = true;
      break;
    case Kind::kNeverRead: {
      never_read_ = true;
      error_code ignored;
      wire_->socket().set_option(asio::socket_base::receive_buffer_size(1), ignored);  // the kernel's least
      break;
    }
    case Kind::kLift:
      stalled_ = silent_ = no_pong_ = never_read_ = false;
      ReadOn();
      break;
    case Kind::kNeverUpgrade:
    case Kind::kSlowHandshake:
      break;
  }
  Pump();
  return true;
}

bool Connection::Send(Opcode opcode, std::string_view payload) {
  if (record_->state != ConnectionRecord::State::kOpen || ending_ != Ending::kNone || closing_ || silent_) return false;
  Queue(opcode, payload, false);
  Pump();
  return true;
}

void Connection::Queue(Opcode opcode, std::string_view payload, bool of_feed) {
  if (silent_ || closing_) return;
  AppendTo(pending_, {.opcode = opcode, .payload = payload}, of_feed);
}

void Connection::AppendTo(std::string& out, const Item& item, bool of_feed) {
  codec_->Write(out, item);
  if (static_cast<uint8_t>(item.opcode) & 8 || item.unframed) return;
  ++record_->frames_sent;
  if (of_feed) ++record_->feed_frames_sent;
  if (of_feed && plan_.fault && plan_.fault_after_frames && record_->feed_frames_sent == *plan_.fault_after_frames) {
    fault_due_ = true;
  }
  if (item.number == 0) return;
  if (record_->first_number == 0) record_->first_number = item.number;
  record_->last_number = item.number;
}

void Connection::AppendPartial() {
  Item item{.payload = "the other half of this frame never comes"};
  Clock::time_point ignored;
  if (source_) source_->Next(Clock::now(), item, ignored);
  std::string frame;
  codec_->Write(frame, item);
  pending_.append(frame, 0, frame.size() / 2);
}

void Connection::Pump() {
  if (write_under_way_ || write_failed_ || half_closed_ || record_->state == ConnectionRecord::State::kClosed) return;
  if (written_ == writing_.size()) {
    writing_.clear();
    written_ = 0;
    write_under_way_ = true;  // a feed that ends here ends a raw socket, and with it asks to be written
    Fill();
    write_under_way_ = false;
  }
  if (writing_.empty()) return Flushed();
  Write();
}

void Connection::Write() {
  write_under_way_ = true;
  const size_t left = writing_.size() - written_;
  const size_t size = plan_.write == 0 ? left : std::min<uint64_t>(plan_.write, left);
  wire_->Write(asio::buffer(writing_.data() + written_, size), [self = Self(), size](error_code error) {
    self->written_ += size;
    if (!error && self->plan_.write_pause.count() > 0) {
      self->write_timer_.expires_after(self->plan_.write_pause);
      self->write_timer_.async_wait([self](error_code) {
        self->write_under_way_ = false;
        self->Pump();
        self->ReadOn();
      });
      return;
    }
    self->write_under_way_ = false;
    if (error) {
      self->writing_.clear();
      self->written_ = 0;
      // The reading side knows better how the client left; only when nothing is being read is this all there is.
      self->write_failed_ = true;
      if (!self->read_under_way_) self->PeerGone(error);
      return;
    }
    self->Pump();
    self->ReadOn();
  });
}

void Connection::Fill() {
  writing_.swap(pending_);
  const size_t head = std::exchange(head_bytes_, 0);
  if (feeding_ && source_ && !stalled_ && !silent_ && !closing_ && ending_ == Ending::kNone) {
    const uint64_t left = cut_at_byte_ ? *cut_at_byte_ - record_->bytes_sent + head : kChunkBytes;
    PullFeed(std::min<uint64_t>(left, kChunkBytes));
  }
  size_t frames = writing_.size() - head;
  if (cut_at_byte_ && record_->bytes_sent + frames >= *cut_at_byte_) {
    frames = *cut_at_byte_ - record_->bytes_sent;
    writing_.resize(head + frames);
    ending_ = Ending::kReset;
    ending_why_ = "fault:reset_at_byte";
  }
  record_->bytes_sent += frames;
}

void Connection::PullFeed(size_t until_bytes) {
  const Clock::time_point now = Clock::now();
  while (writing_.size() < until_bytes && !fault_due_) {
    Item item;
    Clock::time_point when;
    switch (source_->Next(now, item, when)) {
      case Source::Outcome::kItem:
        AppendTo(writing_, item, true);
        break;
      case Source::Outcome::kLater:
        if (when == Clock::time_point::max()) return;
        feed_timer_.expires_at(std::max(when, now + kShortestWait));
        feed_timer_.async_wait([self = Self()](error_code cancelled) {
          if (!cancelled) self->Pump();
        });
        return;
      case Source::Outcome::kEnd:
        source_.reset();
        if (plan_.close_code) BeginClose(*plan_.close_code, "");
        return;
    }
  }
}

void Connection::Flushed() {
  if (record_->state != ConnectionRecord::State::kOpen && ending_ == Ending::kNone) return;
  if (fault_due_) {
    fault_due_ = false;
    Fault fault = *std::exchange(plan_.fault, std::nullopt);
    if (fault.kind == Fault::Kind::kReset) {  // what was sent before is to arrive
      record_->faults.emplace_back("reset");
      ending_ = Ending::kReset;
      ending_why_ = "fault:reset";
    } else {
      Apply(fault);
      return Pump();
    }
  }
  if (!pending_.empty()) return Pump();
  Depart();
}

}  // namespace exchange
