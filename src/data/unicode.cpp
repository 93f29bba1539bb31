#include "data/unicode.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "text/unicode.h"

namespace graft {
namespace {

bool within(unsigned char byte, int low, int high) {
  return byte >= low && byte <= high;
}

// Length of a well-formed sequence at `at`, or minus the length of the ill-formed maximal subpart there (Unicode 15,
// table 3-7).
int sequence(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
  const unsigned char first = byte(at);
  if (first < 0x80) return 1;
  if (!within(first, 0xC2, 0xF4)) return -1;
  const int length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  const int low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const int high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (!within(byte(at + 1), low, high)) return -1;
  for (int i = 2; i < length; ++i) {
    if (!within(byte(at + static_cast<std::size_t>(i)), 0x80, 0xBF)) return -i;
  }
  return length;
}

std::uint32_t code_point(std::string_view text, std::size_t at, int length) {
  const auto byte = [&](int i) { return static_cast<unsigned char>(text[at + static_cast<std::size_t>(i)]); };
  if (length == 1) return byte(0);
  std::uint32_t value = byte(0) & (0xFFu >> (length + 1));
  for (int i = 1; i < length; ++i) value = (value << 6) | (byte(i) & 0x3Fu);
  return value;
}

// Characters that str.split() splits at: bidirectional class WS, B or S, or general category Zs.
bool is_space(std::uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace

std::string replace_invalid_utf8(std::string_view text) {
  std::string storage;
  return std::string(text::valid_utf8(text, storage));
}

bool make_valid_utf8(std::string& text) {
  std::string storage;
  if (text::valid_utf8(text, storage).data() == text.data()) return false;
  text = std::move(storage);
  return true;
}

std::string collapse_whitespace(std::string_view text) {
  std::string words;
  bool gap = false;
  for (std::size_t at = 0; at < text.size();) {
    const int length = sequence(text, at);
    const auto bytes = static_cast<std::size_t>(length > 0 ? length : -length);
    if (length > 0 && is_space(code_point(text, at, length))) {
      gap = true;
    } else {
      if (gap && !words.empty()) words += ' ';
      gap = false;
      words.append(text, at, bytes);
    }
    at += bytes;
  }
  return words;
}

std::string without_space_around(std::string_view text) {
  std::size_t first = text.size(), last = 0;  // [first, last) is what stays
  for (std::size_t at = 0; at < text.size();) {
    const int length = sequence(text, at);
    const auto next = at + static_cast<std::size_t>(length > 0 ? length : -length);
    if (length < 0 || !is_space(code_point(text, at, length))) {
      first = std::min(first, at);
      last = next;
    }
    at = next;
  }
  return first < last ? std::string(text.substr(first, last - first)) : "";
}

bool is_blank(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const int length = sequence(text, at);
    if (length < 0 || !is_space(code_point(text, at, length))) return false;
    at += static_cast<std::size_t>(length);
  }
  return true;
}

}  // namespace graft
