#include "policy/framing.h"

#include <algorithm>
#include <cstring>

namespace fairlead {
namespace {

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

uint64_t Largest(const LengthPrefix& prefix) { return (uint64_t{1} << (8 * prefix.width)) - 1; }

uint64_t OwnBytes(const LengthPrefix& prefix) { return prefix.counts_itself ? prefix.width : 0; }

}  // namespace

Result<void> CheckFrame(const Framing& framing, std::string_view payload) {
  return std::visit(
      Overloaded{[&](const Delimiter& delimiter) -> Result<void> {
                   // Also where the end of the payload and the delimiter behind it would make one too early.
                   const size_t tail = std::min(payload.size(), delimiter.bytes.size() - 1);
                   const std::string end = std::string(payload.substr(payload.size() - tail)) + delimiter.bytes;
                   if (!payload.contains(delimiter.bytes) && end.find(delimiter.bytes) == tail) return {};
                   return NotSent(Reason::kInvalidField, "has the delimiter in it: it would arrive as two frames");
                 },
                 [&](const LengthPrefix& prefix) -> Result<void> {
                   const uint64_t most = Largest(prefix) - OwnBytes(prefix);
                   if (payload.size() <= most) return {};
                   return NotSent(Reason::kInvalidField, "has " + std::to_string(payload.size()) +
                                                             " bytes; the length prefix can tell " +
                                                             std::to_string(most) + " at most");
                 },
                 [&](const Unframed&) -> Result<void> {
                   if (!payload.empty()) return {};
                   return NotSent(Reason::kInvalidField, "is empty: without framing there is nothing to send");
                 }},
      framing);
}

std::string Enframe(const Framing& framing, std::string_view payload) {
  std::string sent;
  if (const auto* prefix = std::get_if<LengthPrefix>(&framing)) {
    const uint64_t length = payload.size() + OwnBytes(*prefix);
    sent.reserve(prefix->width + payload.size());
    for (unsigned i = 0; i < prefix->width; ++i) {
      const unsigned place = prefix->little_endian ? i : prefix->width - 1 - i;
      sent += static_cast<char>(length >> (8 * place) & 0xff);
    }
  }
  sent += payload;
  if (const auto* delimiter = std::get_if<Delimiter>(&framing)) sent += delimiter->bytes;
  return sent;
}

std::span<char> Deframer::Room() {
  // What has been delivered makes room; a frame that is not whole moves at most once a read, and only if something
  // stood before it.
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, filled_ - begin_);
    filled_ -= begin_;
    work_ += filled_;
    begin_ = 0;
  }
  // A long frame has gone; the beginning of the next one may be here already.
  if (filled_ == 0 ? buffer_.size() > kMostRoom : filled_ <= kMostRoom && buffer_.size() > 4 * kMostRoom) {
    if (filled_ == 0) room_ = kLeastRoom;
    Resize(filled_ + room_);
    buffer_.shrink_to_fit();
  }
  if (buffer_.size() < filled_ + room_) Resize(std::max(filled_ + room_, buffer_.size() * 2));
  return {buffer_.data() + filled_, std::min(buffer_.size() - filled_, kMostRoom)};
}

void Deframer::Resize(size_t bytes) {
  work_ += std::max(filled_, bytes);
  buffer_.resize(bytes);
}

void Deframer::Filled(size_t bytes) {
  filled_ += bytes;
  if (bytes >= room_) room_ = std::min(room_ * 2, kMostRoom);  // It comes faster than it is read.
}

Result<std::optional<std::string_view>> Deframer::Next() {
  if (const auto* delimiter = std::get_if<Delimiter>(&framing_)) return NextDelimited(*delimiter);
  if (const auto* prefix = std::get_if<LengthPrefix>(&framing_)) return NextPrefixed(*prefix);
  return NextUnframed();
}

Result<std::optional<std::string_view>> Deframer::NextDelimited(const Delimiter& delimiter) {
  const size_t length = delimiter.bytes.size();
  const std::string_view here = rest();
  const size_t found = here.find(delimiter.bytes, searched_);
  work_ += (found == std::string_view::npos ? here.size() : found + length) - searched_;
  if (found == std::string_view::npos) {
    // The delimiter may have begun in the last bytes.
    searched_ = here.size() < length ? 0 : here.size() - (length - 1);
    if (searched_ > max_frame_bytes_) return TooLong();
    return std::nullopt;
  }
  if (found > max_frame_bytes_) return TooLong();
  begin_ += found + length;
  searched_ = 0;
  return here.substr(0, found);
}

Result<std::optional<std::string_view>> Deframer::NextPrefixed(const LengthPrefix& prefix) {
  const std::string_view here = rest();
  if (here.size() < prefix.width) return std::nullopt;
  uint64_t length = 0;
  for (unsigned i = 0; i < prefix.width; ++i) {
    const unsigned place = prefix.little_endian ? i : prefix.width - 1 - i;
    length |= uint64_t{static_cast<unsigned char>(here[i])} << (8 * place);
  }
  if (length < OwnBytes(prefix)) {
    return std::unexpected(Failure{
        Reason::kProtocolError, Phase::kUnspecified,
        "the exchange sent a length prefix of " + std::to_string(length) + ", which does not even count itself"});
  }
  length -= OwnBytes(prefix);
  if (length > max_frame_bytes_) return TooLong();
  if (here.size() - prefix.width < length) return std::nullopt;
  begin_ += prefix.width + length;
  return here.substr(prefix.width, length);
}

std::optional<std::string_view> Deframer::NextUnframed() {
  if (begin_ == filled_) return std::nullopt;
  const std::string_view frame = rest().substr(0, max_frame_bytes_);
  begin_ += frame.size();
  return frame;
}

std::unexpected<Failure> Deframer::TooLong() const {
  return std::unexpected(Failure{Reason::kMessageTooLong, Phase::kUnspecified,
                                 "a frame is longer than socket.max_frame_bytes, " + std::to_string(max_frame_bytes_)});
}

}  // namespace fairlead
