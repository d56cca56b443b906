#include "policy/permessage_deflate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace fairlead {
namespace {

// Every message ends in these, which stay off the wire (section 7.2.1).
constexpr std::string_view kTail("\x00\x00\xff\xff", 4);
constexpr size_t kBlock = 16384;
// Compressed bytes that a message may have beyond twice its longest length: honest ones stay far below, empty deflate
// blocks without end do not.
constexpr uint64_t kOverhead = 64 << 10;
// As Beast had them: a message is compressed in 136 KiB.
constexpr int kLevel = 8;
constexpr int kMemory = 4;

std::string_view Trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(Trim(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::unexpected<Failure> Invalid(const char* what) {
  return NotSent(Reason::kUpgradeInvalid, std::string("the answer to the upgrade is not valid: ") + what);
}

// Section 7.1.2: 8 to 15, without leading zeros, perhaps quoted.
std::optional<int> WindowBits(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
  int bits = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), bits);
  const bool sound = error == std::errc() && end == value.data() + value.size() && value.front() != '0';
  return sound && bits >= 8 && bits <= 15 ? std::optional(bits) : std::nullopt;
}

Bytef* Bytes(std::string_view text) { return reinterpret_cast<Bytef*>(const_cast<char*>(text.data())); }

}  // namespace

Result<std::optional<DeflateTerms>> ReadDeflateAnswer(std::string_view answer, bool offered) {
  std::optional<DeflateTerms> terms;
  for (const std::string_view extension : Split(answer, ',')) {
    if (extension.empty()) continue;
    const auto parts = Split(extension, ';');
    if (!offered || !EqualIgnoringCase(parts[0], "permessage-deflate"))
      return Invalid("it has an extension that was not offered");
    if (terms) return Invalid("permessage-deflate is in it twice");
    terms.emplace();
    std::vector<std::string_view> seen;
    for (size_t i = 1; i < parts.size(); ++i) {
      const size_t equals = parts[i].find('=');
      const bool has_value = equals != std::string_view::npos;
      const std::string_view name = Trim(parts[i].substr(0, equals));
      const auto bits = has_value ? WindowBits(Trim(parts[i].substr(equals + 1))) : std::nullopt;
      if (std::ranges::find(seen, name) != seen.end())
        return Invalid("a parameter of permessage-deflate is in it twice");
      seen.push_back(name);
      if (name == "server_no_context_takeover" && !has_value) {
        terms->server_no_context_takeover = true;
      } else if (name == "client_no_context_takeover" && !has_value) {
        terms->client_no_context_takeover = true;
      } else if (name == "client_max_window_bits" && bits) {
        terms->client_max_window_bits = *bits;
      } else if (name != "server_max_window_bits" || !bits) {  // Ours is the largest window: any fits.
        return Invalid("a parameter of permessage-deflate has no meaning");
      }
    }
  }
  return terms;
}

void Inflater::End::operator()(z_stream* stream) const {
  inflateEnd(stream);
  delete stream;
}

Inflater::Verdict Inflater::Feed(std::string_view piece, std::string& out, uint64_t max_bytes) {
  const uint64_t allowed = 2 * max_bytes + kOverhead - compressed_bytes_;
  const std::string_view taken = piece.substr(0, allowed);
  compressed_bytes_ += taken.size();
  const Verdict verdict = Inflate(taken, out, max_bytes);
  return verdict == Verdict::kGood && taken.size() < piece.size() ? Verdict::kTooLong : verdict;
}

Inflater::Verdict Inflater::Finish(std::string& out, uint64_t max_bytes) {
  if (compressed_bytes_ == 0) return Verdict::kGood;  // Some peers make nothing of an empty message.
  const Verdict verdict = Inflate(kTail, out, max_bytes);
  if (verdict != Verdict::kGood) return verdict;
  // zlib's word for "between two blocks": else the message was cut short.
  constexpr int kBetweenBlocks = 128;
  if ((stream_->data_type & kBetweenBlocks) == 0) return Verdict::kCorrupt;
  if (!keeps_context_) inflateReset(stream_.get());
  compressed_bytes_ = 0;
  return Verdict::kGood;
}

Inflater::Verdict Inflater::Inflate(std::string_view piece, std::string& out, uint64_t max_bytes) {
  if (!stream_) {
    auto stream = std::make_unique<z_stream>();
    if (inflateInit2(stream.get(), -MAX_WBITS) != Z_OK) return Verdict::kCorrupt;
    stream_.reset(stream.release());
  }
  stream_->next_in = Bytes(piece);
  stream_->avail_in = static_cast<uInt>(piece.size());
  std::array<char, kBlock> block;
  for (;;) {
    stream_->next_out = Bytes({block.data(), block.size()});
    stream_->avail_out = block.size();
    const int result = inflate(stream_.get(), Z_SYNC_FLUSH);
    out.append(block.data(), block.size() - stream_->avail_out);
    if (out.size() > max_bytes) return Verdict::kTooLong;
    if (result == Z_STREAM_END) {
      if (!Continue()) return Verdict::kCorrupt;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      return Verdict::kCorrupt;
    }
    if (stream_->avail_in == 0 && (stream_->avail_out > 0 || result == Z_STREAM_END)) return Verdict::kGood;
  }
}

bool Inflater::Continue() {
  std::array<Bytef, 1 << MAX_WBITS> window;
  uInt size = 0;
  return inflateGetDictionary(stream_.get(), window.data(), &size) == Z_OK && inflateReset(stream_.get()) == Z_OK &&
         inflateSetDictionary(stream_.get(), window.data(), size) == Z_OK;
}

void Deflater::End::operator()(z_stream* stream) const {
  deflateEnd(stream);
  delete stream;
}

std::optional<std::string> Deflater::Compress(std::string_view message) {
  // zlib makes no raw stream with a window of 8 bits; and an empty message becomes none by being compressed.
  if (message.empty() || terms_.client_max_window_bits == 8) return std::nullopt;
  if (!stream_) {
    auto stream = std::make_unique<z_stream>();
    if (deflateInit2(stream.get(), kLevel, Z_DEFLATED, -terms_.client_max_window_bits, kMemory, Z_DEFAULT_STRATEGY) !=
        Z_OK)
      return std::nullopt;
    stream_.reset(stream.release());
  }
  std::string out(deflateBound(stream_.get(), message.size()) + 16, '\0');
  stream_->next_in = Bytes(message);
  stream_->avail_in = static_cast<uInt>(message.size());
  stream_->next_out = Bytes(out);
  stream_->avail_out = static_cast<uInt>(out.size());
  deflate(stream_.get(), Z_SYNC_FLUSH);
  while (stream_->avail_out == 0) {  // Not expected: the bound is one.
    const size_t size = out.size();
    out.resize(size * 2);
    stream_->next_out = Bytes(out) + size;
    stream_->avail_out = static_cast<uInt>(size);
    deflate(stream_.get(), Z_SYNC_FLUSH);
  }
  out.resize(out.size() - stream_->avail_out - kTail.size());
  if (terms_.client_no_context_takeover) deflateReset(stream_.get());
  return out;
}

}  // namespace fairlead
