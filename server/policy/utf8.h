// RFC 3629, for text that comes in pieces.
#pragma once

#include <string_view>

namespace fairlead {

class Utf8 {
 public:
  // False: what came so far can be the beginning of no text. After that, begin anew.
  bool Feed(std::string_view piece);
  // No character is cut off.
  bool complete() const { return follow_ == 0; }

 private:
  // Of the character that is cut off: how many bytes follow, and the bounds of the first of them.
  int follow_ = 0;
  unsigned char low_ = 0x80;
  unsigned char high_ = 0xbf;
};

bool IsUtf8(std::string_view text);

}  // namespace fairlead
