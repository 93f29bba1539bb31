#include "text/charsmap.h"

#include <cstring>

#include "base/error.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

// Fields of a Darts unit.
bool has_leaf(std::uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
std::uint32_t label(std::uint32_t unit) {
  return unit & (1u << 31 | 0xFFu);
}
std::uint32_t offset(std::uint32_t unit) {
  return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}
std::uint32_t value(std::uint32_t unit) {
  return unit & 0x7FFFFFFFu;
}

}  // namespace

CharsMap::CharsMap(std::string_view blob, const std::string& context) {
  std::uint32_t bytes = 0;
  if (blob.size() >= sizeof bytes) std::memcpy(&bytes, blob.data(), sizeof bytes);
  if (bytes == 0 || bytes % 4 != 0 || bytes > blob.size() - sizeof bytes) {
    fail(Category::Corruption, context, "the character map of {} bytes claims a trie of {} bytes", blob.size(), bytes);
  }
  units_.resize(bytes / 4);
  std::memcpy(units_.data(), blob.data() + sizeof bytes, bytes);
  std::string storage;
  strings_ = valid_utf8(blob.substr(sizeof bytes + bytes), storage);
}

template <typename Found>
std::size_t CharsMap::walk(std::string_view text, Found&& found) const {
  std::size_t at = offset(units_[0]);
  for (std::size_t index = 0; index < text.size(); ++index) {
    const auto byte = static_cast<unsigned char>(text[index]);
    at ^= byte;
    if (byte == 0 || at >= units_.size() || label(units_[at]) != byte) return index;
    const std::uint32_t unit = units_[at];
    at ^= offset(unit);
    if (has_leaf(unit) && at < units_.size() && !found(index + 1, value(units_[at]))) return index + 1;
  }
  return text.size();
}

std::string_view CharsMap::string_at(std::uint32_t offset) const {
  // A replacement never begins within a character: what comes out stays valid UTF-8 whatever the file says.
  if (offset >= strings_.size() || (static_cast<unsigned char>(strings_[offset]) & 0xC0u) == 0x80u) return {};
  const std::string_view rest = std::string_view(strings_).substr(offset);
  return rest.substr(0, rest.find('\0'));
}

CharsMap::Match CharsMap::shortest(std::string_view text) const {
  Match match;
  walk(text, [&](std::size_t length, std::uint32_t where) {
    match = {length, string_at(where)};
    return false;
  });
  return match;
}

CharsMap::Match CharsMap::longest(std::string_view text) const {
  Match match;
  walk(text, [&](std::size_t length, std::uint32_t where) {
    match = {length, string_at(where)};
    return true;
  });
  return match;
}

bool CharsMap::begins_key(std::string_view text) const {
  return walk(text, [](std::size_t, std::uint32_t) { return true; }) == text.size();
}

std::string base64_decode(std::string_view text, const std::string& context) {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    const std::size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) fail(Category::Corruption, context, "the character map is not base64 text");
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<char>(bits >> count & 0xFF));
    }
  }
  return bytes;
}

}  // namespace graft::text
