#include "text/byte_alphabet.h"

#include <array>

#include "text/unicode.h"

namespace graft::text {
namespace {

struct Alphabet {
  std::array<char32_t, 256> point{};
  std::array<int, 512> byte{};
};

const Alphabet& alphabet() {
  static const Alphabet table = [] {
    Alphabet built;
    built.byte.fill(-1);
    char32_t next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      built.point[static_cast<std::size_t>(byte)] = printable ? static_cast<char32_t>(byte) : next++;
      built.byte[built.point[static_cast<std::size_t>(byte)]] = byte;
    }
    return built;
  }();
  return table;
}

}  // namespace

std::optional<std::string> bytes_of_alphabet(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const char32_t point = next_code_point(token, at);
    const int byte = point < 512 ? alphabet().byte[point] : -1;
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

std::string alphabet_of_bytes(std::string_view bytes) {
  std::string token;
  for (const char byte : bytes) append_utf8(token, alphabet().point[static_cast<unsigned char>(byte)]);
  return token;
}

}  // namespace graft::text
