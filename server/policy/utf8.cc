#include "policy/utf8.h"

#include <cstdint>
#include <cstring>

namespace fairlead {

bool Utf8::Feed(std::string_view piece) {
  const auto* at = reinterpret_cast<const unsigned char*>(piece.data());
  const auto* const end = at + piece.size();
  while (at != end) {
    if (follow_ > 0) {
      if (*at < low_ || *at > high_) return false;
      ++at;
      --follow_;
      low_ = 0x80;
      high_ = 0xbf;
      continue;
    }
    // Most of what exchanges send is ASCII: eight bytes at a time.
    while (end - at >= 8) {
      uint64_t eight = 0;
      std::memcpy(&eight, at, sizeof(eight));
      if ((eight & 0x8080808080808080) != 0) break;
      at += 8;
    }
    while (at != end && *at < 0x80) ++at;
    if (at == end) break;
    // The bounds exclude overlong forms, surrogates and what is beyond U+10FFFF.
    const unsigned char lead = *at++;
    if (lead >= 0xc2 && lead <= 0xdf) {
      follow_ = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      follow_ = 2;
      if (lead == 0xe0) low_ = 0xa0;
      if (lead == 0xed) high_ = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      follow_ = 3;
      if (lead == 0xf0) low_ = 0x90;
      if (lead == 0xf4) high_ = 0x8f;
    } else {
      return false;
    }
  }
  return true;
}

bool IsUtf8(std::string_view text) {
  Utf8 check;
  return check.Feed(text) && check.complete();
}

}  // namespace fairlead
