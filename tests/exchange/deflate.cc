#include "exchange/deflate.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace exchange {
namespace {

Bytef* Bytes(std::string_view text) { return reinterpret_cast<Bytef*>(const_cast<char*>(text.data())); }

}  // namespace

Deflater::Deflater(int window_bits, bool keep_context) : keep_context_(keep_context) {
  // Negative window bits: a raw deflate stream without the zlib header.
  if (deflateInit2(&stream_, Z_BEST_SPEED, Z_DEFLATED, -window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2 failed");
  }
}

Deflater::~Deflater() { deflateEnd(&stream_); }

std::string_view Deflater::Compress(std::string_view payload) {
  if (!keep_context_) deflateReset(&stream_);
  output_.resize(deflateBound(&stream_, payload.size()) + 16);
  stream_.next_in = Bytes(payload);
  stream_.avail_in = static_cast<uInt>(payload.size());
  stream_.next_out = Bytes(output_);
  stream_.avail_out = static_cast<uInt>(output_.size());
  deflate(&stream_, Z_SYNC_FLUSH);
  const size_t size = output_.size() - stream_.avail_out;
  return std::string_view(output_).substr(0, size - 4);
}

std::optional<std::string> Inflate(std::string_view compressed, uint64_t max_bytes) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return std::nullopt;
  const std::string input = std::string(compressed) + std::string("\x00\x00\xff\xff", 4);
  stream.next_in = Bytes(input);
  stream.avail_in = static_cast<uInt>(input.size());
  std::string output;
  std::array<char, 16384> block;
  int result = Z_OK;
  while (result == Z_OK && output.size() <= max_bytes) {
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = block.size();
    result = inflate(&stream, Z_SYNC_FLUSH);
    output.append(block.data(), block.size() - stream.avail_out);
    if (stream.avail_in == 0 && stream.avail_out > 0) break;
  }
  inflateEnd(&stream);
  const bool sound = (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) && output.size() <= max_bytes;
  return sound ? std::optional(std::move(output)) : std::nullopt;
}

std::string CompressedZeros(uint64_t size) {
  // After a full flush the stream is byte-aligned and refers to nothing before: one compressed block can simply be
  // repeated.
  constexpr uint64_t kBlock = 1 << 20;
  const std::string zeros(kBlock, '\0');
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2 failed");
  }
  const auto compress = [&](uint64_t bytes, int flush) {
    std::string output(deflateBound(&stream, bytes) + 16, '\0');
    stream.next_in = Bytes(zeros);
    stream.avail_in = static_cast<uInt>(bytes);
    stream.next_out = Bytes(output);
    stream.avail_out = static_cast<uInt>(output.size());
    deflate(&stream, flush);
    output.resize(output.size() - stream.avail_out);
    return output;
  };
  std::string result;
  const std::string block = compress(kBlock, Z_FULL_FLUSH);
  for (uint64_t whole = size / kBlock; whole > 0; --whole) result += block;
  if (size % kBlock > 0) {
    deflateReset(&stream);
    result += compress(size % kBlock, Z_SYNC_FLUSH);
  }
  deflateEnd(&stream);
  if (result.size() >= 4) result.resize(result.size() - 4);  // every flush ends in 00 00 ff ff
  return result;
}

}  // namespace exchange
