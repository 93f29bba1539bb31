#include "report/markup.h"

#include <fmt/format.h>

#include <cmath>

namespace graft {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

struct Decoded {
  char32_t code = kReplacement;
  std::size_t length = 1;
  bool valid = false;
};

/// The code point at `at` (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF).
Decoded decode(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || at + length > text.size()) return {};
  char32_t code = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {};
    code = (code << 6) | (byte(at + i) & 0x3Fu);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  if (overlong || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return {};
  return {code, length, true};
}

/// Would end or reorder the text around it: a hostile example must not rewrite the page.
bool is_bidirectional_control(char32_t code) {
  return (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

void append_ascii(std::string& out, char32_t code) {
  switch (code) {
    case '&':
      out += "&amp;";
      return;
    case '<':
      out += "&lt;";
      return;
    case '>':
      out += "&gt;";
      return;
    case '"':
      out += "&quot;";
      return;
    case '\'':
      out += "&#39;";
      return;
    case '\n':
    case '\t':
      out += static_cast<char>(code);
      return;
    case 0x7F:
      out += "\xE2\x90\xA1";
      return;
    default:
      break;
  }
  if (code < 0x20) {
    out += "\xE2\x90";
    out += static_cast<char>(0x80 + code);
  } else {
    out += static_cast<char>(code);
  }
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (std::size_t at = 0; at < text.size();) {
    const Decoded next = decode(text, at);
    if (text.substr(at, 2) == "\r\n") {
      // The newline follows.
    } else if (next.valid && next.code < 0x80) {
      append_ascii(out, next.code);
    } else if (!next.valid || next.code < 0xA0 || is_bidirectional_control(next.code)) {
      out += "\xEF\xBF\xBD";
    } else {
      out += text.substr(at, next.length);
    }
    at += next.length;
  }
  return out;
}

std::string excerpt(std::string_view text, std::size_t characters) {
  std::size_t at = 0;
  for (std::size_t count = 0; at < text.size() && count < characters; ++count) at += decode(text, at).length;
  if (at >= text.size()) return std::string(text);
  return std::string(text.substr(0, at)) + "…";
}

std::string excerpt_middle(std::string_view text, std::size_t characters) {
  const std::size_t length = shown_characters(text);
  if (length <= characters) return std::string(text);
  const std::size_t tail = (characters - 1) / 2;
  std::size_t at = 0;
  for (std::size_t count = 0; count < length - tail; ++count) at += decode(text, at).length;
  return excerpt(text, characters - 1 - tail) + std::string(text.substr(at));
}

std::size_t shown_characters(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) at += decode(text, at).length;
  return count;
}

std::string percent(double fraction, int decimals) {
  return std::isfinite(fraction) ? fmt::format("{:.{}f}%", 100 * fraction, decimals) : "–";
}

std::string percentage_points(double difference) {
  if (!std::isfinite(difference)) return "–";
  return fmt::format("{}{:.1f}", difference < 0 ? "−" : "+", std::abs(100 * difference));
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.4g}", value) : "–";
}

std::string si(double value) {
  static constexpr const char* kLetters[] = {"", " k", " M", " G", " T", " P", " E"};
  if (!std::isfinite(value)) return "–";
  std::size_t letter = 0;
  while (std::abs(value) >= 999.5 && letter + 1 < std::size(kLetters)) {
    value /= 1000;
    ++letter;
  }
  return fmt::format("{:.3g}{}", value, kLetters[letter]);
}

}  // namespace graft
