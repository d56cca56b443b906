#include "exchange/codec.h"

#include <algorithm>
#include <utility>

namespace exchange {
namespace {

constexpr uint64_t kMaxMessageBytes = 64 << 20;

bool IsControl(Opcode opcode) { return static_cast<uint8_t>(opcode) & 8; }

class WebSocketCodec : public Codec {
 public:
  WebSocketCodec(const std::optional<DeflateTerms>& deflate, uint64_t fragment)
      : parser_(deflate.has_value(), kMaxMessageBytes), fragment_(fragment) {
    if (deflate) deflater_.emplace(deflate->window_bits, deflate->keep_context);
  }

  void Append(std::string_view bytes) override { parser_.Append(bytes); }
  std::expected<std::optional<Message>, ProtocolError> Next() override {
    auto message = parser_.Next();
    if (!message || !*message || IsControl((*message)->opcode)) return message;
    if ((*message)->compressed) {
      auto inflated = Inflate((*message)->payload, kMaxMessageBytes);
      if (!inflated) return std::unexpected(ProtocolError{1007, "the message does not inflate"});
      (*message)->payload = std::move(*inflated);
    }
    if ((*message)->opcode == Opcode::kText && !IsUtf8((*message)->payload)) {
      return std::unexpected(ProtocolError{1007, "a text message is not UTF-8"});
    }
    return message;
  }
  void Write(std::string& out, const Item& item) override {
    if (IsControl(item.opcode)) return AppendFrame(out, item.opcode, item.payload);
    if (item.unframed) return static_cast<void>(out.append(item.payload));
    const bool compress = deflater_ && !item.compressed;
    AppendMessage(out, item.opcode, compress ? deflater_->Compress(item.payload) : item.payload, fragment_,
                  compress || item.compressed);
  }
  bool Corrupt(std::string& out, Fault::Corruption corruption) override {
    switch (corruption) {
      case Fault::Corruption::kOpcode:
        AppendFrame(out, static_cast<Opcode>(3), "corrupt");
        return true;
      case Fault::Corruption::kMasked:
        AppendFrame(out, Opcode::kText, "corrupt", {.masked = true});
        return true;
      case Fault::Corruption::kRsv:
        AppendFrame(out, Opcode::kText, "corrupt", {.rsv2 = true});
        return true;
      case Fault::Corruption::kUtf8:
        AppendFrame(out, Opcode::kText, "corrupt \xC3\x28");
        return true;
      case Fault::Corruption::kContinuation:
        AppendFrame(out, Opcode::kContinuation, "corrupt");
        return true;
      case Fault::Corruption::kLongPing:
        AppendFrame(out, Opcode::kPing, std::string(126, 'x'));
        return true;
      case Fault::Corruption::kShortLength:
      case Fault::Corruption::kLongLength:
        return false;
    }
    return false;
  }

 private:
  MessageParser parser_;
  std::optional<Deflater> deflater_;
  const uint64_t fragment_;
};

class FrameCodec : public Codec {
 public:
  explicit FrameCodec(const Framing& framing) : framing_(framing) {}

  void Append(std::string_view bytes) override { input_.append(bytes); }

  std::expected<std::optional<Message>, ProtocolError> Next() override {
    const std::string_view rest = std::string_view(input_).substr(consumed_);
    size_t head = 0;
    size_t size = rest.size();
    size_t tail = 0;
    switch (framing_.kind) {
      case Framing::Kind::kNone:
        if (rest.empty()) return NeedMore();
        break;
      case Framing::Kind::kDelimiter:
        // What was searched before is not searched again.
        size = rest.find(framing_.delimiter, searched_ - std::min(searched_, framing_.delimiter.size()));
        tail = framing_.delimiter.size();
        if (size == std::string_view::npos) {
          searched_ = rest.size();
          if (rest.size() > kMaxMessageBytes) return std::unexpected(ProtocolError{0, "the frame is too long"});
          return NeedMore();
        }
        break;
      case Framing::Kind::kLength: {
        head = framing_.width;
        if (rest.size() < head) return NeedMore();
        const uint64_t told = Length(rest.substr(0, head));
        if (framing_.counts_itself && told < head) {
          return std::unexpected(ProtocolError{0, "the length is below its own width"});
        }
        size = told - (framing_.counts_itself ? head : 0);
        if (size > kMaxMessageBytes) return std::unexpected(ProtocolError{0, "the frame is too long"});
        if (rest.size() < head + size) return NeedMore();
        break;
      }
    }
    searched_ = 0;
    consumed_ += head + size + tail;
    return Message{Opcode::kBinary, false, std::string(rest.substr(head, size))};
  }

  void Write(std::string& out, const Item& item) override {
    if (IsControl(item.opcode)) return;
    if (framing_.kind == Framing::Kind::kLength && !item.unframed) {
      AppendLength(out, item.payload.size() + (framing_.counts_itself ? framing_.width : 0));
    }
    out.append(item.payload);
    if (framing_.kind == Framing::Kind::kDelimiter && !item.unframed) out.append(framing_.delimiter);
  }

  bool Corrupt(std::string& out, Fault::Corruption corruption) override {
    if (framing_.kind != Framing::Kind::kLength) return false;
    if (corruption == Fault::Corruption::kShortLength && framing_.counts_itself) {
      AppendLength(out, framing_.width - 1);
      return true;
    }
    if (corruption == Fault::Corruption::kLongLength) {
      AppendLength(out, UINT64_MAX);  // all bits: the most that this width can tell
      return true;
    }
    return false;
  }

 private:
  std::expected<std::optional<Message>, ProtocolError> NeedMore() {
    input_.erase(0, consumed_);
    consumed_ = 0;
    return std::nullopt;
  }
  uint64_t Length(std::string_view bytes) const {
    uint64_t value = 0;
    for (size_t at = 0; at < bytes.size(); ++at) {
      value = value << 8 | static_cast<uint8_t>(bytes[framing_.big_endian ? at : bytes.size() - 1 - at]);
    }
    return value;
  }
  void AppendLength(std::string& out, uint64_t value) const {
    for (uint64_t at = 0; at < framing_.width; ++at) {
      const uint64_t place = framing_.big_endian ? framing_.width - 1 - at : at;
      out.push_back(static_cast<char>(value >> 8 * place & 0xFF));
    }
  }

  const Framing framing_;
  std::string input_;
  size_t consumed_ = 0;
  size_t searched_ = 0;  // of what is not consumed, without a delimiter
};

}  // namespace

std::unique_ptr<Codec> MakeWebSocketCodec(const std::optional<DeflateTerms>& deflate, uint64_t fragment) {
  return std::make_unique<WebSocketCodec>(deflate, fragment);
}
std::unique_ptr<Codec> MakeFrameCodec(const Framing& framing) { return std::make_unique<FrameCodec>(framing); }

}  // namespace exchange
