// UTF-8 and the character classes tokenizers ask for, by code point.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace graft::text {

/// U+FFFD, what stands for bytes that are not UTF-8.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// `text` itself where it is valid UTF-8; otherwise `storage`, in which every maximal ill-formed subpart became one
/// U+FFFD (as Python's errors="replace" and Rust's from_utf8_lossy do).
std::string_view valid_utf8(std::string_view text, std::string& storage);

/// `text` without its bytes that are not UTF-8 (as Python's errors="ignore" does).
std::string without_invalid_utf8(std::string_view text);

bool is_ascii(std::string_view text);

/// What Python's string.punctuation holds: every visible ASCII character that is neither letter nor digit.
inline bool is_ascii_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/// Length in bytes of the character that `lead` begins, in valid UTF-8.
inline std::size_t utf8_length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/// How many code points valid UTF-8 has.
std::size_t code_points(std::string_view text);

/// The code point at `at` of valid UTF-8; moves `at` behind it.
inline char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t offset) { return static_cast<unsigned char>(text[at + offset]); };
  const unsigned char lead = byte(0);
  const std::size_t length = utf8_length(lead);
  char32_t point = lead;
  if (length == 2) point = (lead & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
  if (length == 3) point = (lead & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
  if (length == 4) point = (lead & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
  at += length;
  return point;
}

/// The code point that ends at `at` (> 0) of valid UTF-8; moves `at` before it.
char32_t previous_code_point(std::string_view text, std::size_t& at);

void append_utf8(std::string& out, char32_t point);

bool is_white_space(char32_t point);  ///< property White_Space
/// What Python's str.split and str.strip take for space: White_Space and the four information separators.
bool is_python_space(char32_t point);
bool is_letter(char32_t point);       ///< category L
bool is_numeric(char32_t point);      ///< category N
bool is_punctuation(char32_t point);  ///< category P or ASCII punctuation
/// As the reference's tables have them, which are older than ICU's: marks of Unicode 9.0, punctuation of Unicode 8.0.
bool is_mark_of_unicode_9(char32_t point);
bool is_punctuation_of_unicode_8(char32_t point);
bool is_word(char32_t point);         ///< what \w matches: Alphabetic, M, Nd, Pc, Join_Control
char32_t lower_case(char32_t point);  ///< simple lower-case mapping
char32_t upper_case(char32_t point);  ///< simple upper-case mapping

}  // namespace graft::text
