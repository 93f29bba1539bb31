#include "text/unicode.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace graft::text {
namespace {

// Length of the well-formed sequence at `at`, or 0; then `bad` is the length of its maximal ill-formed subpart.
std::size_t sequence_length(std::string_view text, std::size_t at, std::size_t& bad) {
  const auto byte = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned char lead = byte(at);
  bad = 1;
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const std::size_t length = utf8_length(lead);
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (std::size_t index = 1; index < length; ++index) {
    if (at + index >= text.size() || byte(at + index) < low || byte(at + index) > high) return 0;
    low = 0x80;
    high = 0xBF;
    bad = index + 1;
  }
  return length;
}

// Whether version `major` of Unicode, or one before it, gave this character out.
bool is_as_old_as(char32_t point, std::uint8_t major) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(point), age);
  return age[0] <= major;
}

std::size_t ascii_prefix(std::string_view text, std::size_t at) {
  while (at + 8 <= text.size()) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if ((word & 0x8080808080808080u) != 0) break;
    at += 8;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

}  // namespace

bool is_ascii(std::string_view text) {
  return ascii_prefix(text, 0) == text.size();
}

std::string without_invalid_utf8(std::string_view text) {
  std::string valid;
  std::size_t bad = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at, bad);
    valid += text.substr(at, length);
    at += length > 0 ? length : bad;
  }
  return valid;
}

std::string_view valid_utf8(std::string_view text, std::string& storage) {
  std::size_t at = 0;
  std::size_t bad = 0;
  while ((at = ascii_prefix(text, at)) < text.size()) {
    const std::size_t length = sequence_length(text, at, bad);
    if (length == 0) break;
    at += length;
  }
  if (at == text.size()) return text;
  storage.assign(text.substr(0, at));
  while (at < text.size()) {
    const std::size_t length = sequence_length(text, at, bad);
    if (length > 0) {
      storage.append(text.substr(at, length));
      at += length;
    } else {
      storage.append(kReplacement);
      at += bad;
    }
  }
  return storage;
}

char32_t previous_code_point(std::string_view text, std::size_t& at) {
  do {
    --at;
  } while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u);
  std::size_t start = at;
  return next_code_point(text, start);
}

void append_utf8(std::string& out, char32_t point) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xC0 | point >> 6);
  } else if (point < 0x10000) {
    put(0xE0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3F));
  } else {
    put(0xF0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3F));
    put(0x80 | (point >> 6 & 0x3F));
  }
  put(0x80 | (point & 0x3F));
}

bool is_white_space(char32_t point) {
  if (point < 0x80) return point == ' ' || (point >= 9 && point <= 13);
  return u_isUWhiteSpace(static_cast<UChar32>(point)) != 0;
}

bool is_python_space(char32_t point) {
  return (point >= 0x1C && point <= 0x1F) || is_white_space(point);
}

bool is_letter(char32_t point) {
  if (point < 0x80) return (point >= 'A' && point <= 'Z') || (point >= 'a' && point <= 'z');
  return (U_GET_GC_MASK(static_cast<UChar32>(point)) & U_GC_L_MASK) != 0;
}

bool is_numeric(char32_t point) {
  if (point < 0x80) return point >= '0' && point <= '9';
  return (U_GET_GC_MASK(static_cast<UChar32>(point)) & U_GC_N_MASK) != 0;
}

// U+1CF2 and U+1CF3 became letters in Unicode 12, U+111C9 was punctuation until it became a mark in 11.
bool is_mark_of_unicode_9(char32_t point) {
  if (point == 0x1CF2 || point == 0x1CF3) return true;
  const bool mark = (U_GET_GC_MASK(static_cast<UChar32>(point)) & U_GC_M_MASK) != 0;
  return mark && point != 0x111C9 && is_as_old_as(point, 9);
}

bool is_punctuation(char32_t point) {
  if (point < 0x80) return is_ascii_punctuation(static_cast<char>(point));
  return (U_GET_GC_MASK(static_cast<UChar32>(point)) & U_GC_P_MASK) != 0;
}

// U+166D became a symbol in Unicode 12.
bool is_punctuation_of_unicode_8(char32_t point) {
  if (point < 0x80) return is_ascii_punctuation(static_cast<char>(point));
  return point == 0x166D || point == 0x111C9 || (is_punctuation(point) && is_as_old_as(point, 8));
}

bool is_word(char32_t point) {
  const auto value = static_cast<UChar32>(point);
  return u_hasBinaryProperty(value, UCHAR_ALPHABETIC) != 0 || u_hasBinaryProperty(value, UCHAR_JOIN_CONTROL) != 0 ||
         (U_GET_GC_MASK(value) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

char32_t lower_case(char32_t point) {
  return static_cast<char32_t>(u_tolower(static_cast<UChar32>(point)));
}

char32_t upper_case(char32_t point) {
  return static_cast<char32_t>(u_toupper(static_cast<UChar32>(point)));
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

}  // namespace graft::text
