#include "exchange/accepted.h"

#include <sys/ioctl.h>

#include <boost/asio/error.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/ssl/error.hpp>

namespace exchange {
namespace {

using namespace std::chrono_literals;

// How long a client may take to read what is left, and to close its side, before the connection is cut.
constexpr Clock::duration kPatience = 1s;

}  // namespace

Accepted::Accepted(std::unique_ptr<Wire> wire) : wire_(std::move(wire)), end_timer_(wire_->socket().get_executor()) {}

void Accepted::Start(const AcceptMode& mode) {
  error_code ignored;
  wire_->socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  if (mode.kind == AcceptMode::Kind::kReset) return Abort("accept:reset");
  if (mode.kind == AcceptMode::Kind::kSilent) {
    // Below TLS, so that the handshake gets no answer either. Reading on tells when the client gives up.
    wire_->socket().async_read_some(asio::buffer(read_buffer_), [self = shared_from_this()](error_code error, size_t) {
      if (error) return self->PeerGone(error);
      self->Start({.kind = AcceptMode::Kind::kSilent});
    });
    return;
  }
  wire_->Handshake([self = shared_from_this(), mode](error_code error) {
    if (error) return self->PeerGone(error);
    self->Begin(mode);
  });
}

void Accepted::Abort(const std::string& why) {
  error_code ignored;
  wire_->socket().set_option(asio::socket_base::linger(true, 0), ignored);
  Close(why);
}

void Accepted::Close(const std::string& why) {
  if (closed_) return;
  closed_ = true;
  const auto self = shared_from_this();  // Closed forgets the connection
  end_timer_.cancel();
  error_code ignored;
  wire_->socket().close(ignored);
  Closed(why);
}

void Accepted::End(Ending ending, const std::string& why) {
  if (ending_ != Ending::kNone || closed_) return;
  ending_ = ending;
  ending_why_ = why;
  if (ending != Ending::kFinButRead) {
    end_timer_.expires_after(kPatience);
    end_timer_.async_wait([self = shared_from_this()](error_code cancelled) {
      if (!cancelled) self->Close(self->ending_why_);
    });
  }
  Pump();
  ReadOn();
}

void Accepted::Depart() {
  error_code ignored;
  switch (ending_) {
    case Ending::kNone:
      return;
    case Ending::kFin:
    case Ending::kFinButRead:
      half_closed_ = true;
      wire_->socket().shutdown(asio::socket_base::shutdown_send, ignored);
      return;
    case Ending::kReset:
      half_closed_ = true;
      return ResetWhenDelivered(Clock::now() + kPatience);
    case Ending::kGoodbye:
      half_closed_ = true;
      wire_->SayGoodbye([self = shared_from_this()](error_code) {
        error_code gone;
        if (self->wire_->socket().is_open()) self->wire_->socket().shutdown(asio::socket_base::shutdown_send, gone);
      });
      return;
  }
}

void Accepted::ResetWhenDelivered(Clock::time_point deadline) {
  if (closed_) return;
  // RST makes the kernel forget what it has not delivered.
  int undelivered = 0;
  ioctl(wire_->socket().native_handle(), TIOCOUTQ, &undelivered);
  if (undelivered == 0 || Clock::now() > deadline) return Abort(ending_why_);
  end_timer_.expires_after(1ms);
  end_timer_.async_wait([self = shared_from_this(), deadline](error_code cancelled) {
    if (!cancelled) self->ResetWhenDelivered(deadline);
  });
}

bool Accepted::IsEof(error_code error) {
  return error == asio::error::eof || error == asio::ssl::error::stream_truncated;
}

}  // namespace exchange
