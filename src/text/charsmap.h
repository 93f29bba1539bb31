// SentencePiece's precompiled character map: a Darts double array over UTF-8 and a pool of replacement strings.
// Format: normalizer.cc of SentencePiece (u32 size of the trie in bytes, the trie's u32 units, then NUL-ended strings).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace graft::text {

class CharsMap {
 public:
  /// `blob` as stored in the model. Throws Corruption.
  CharsMap(std::string_view blob, const std::string& context);

  struct Match {
    std::size_t length = 0;  ///< bytes of the key, 0: none
    std::string_view replacement;
  };
  Match shortest(std::string_view text) const;
  Match longest(std::string_view text) const;
  /// Whether some key begins with `text`.
  bool begins_key(std::string_view text) const;

 private:
  /// Bytes of `text` that keys begin with, or after which found() ended it.
  template <typename Found>
  std::size_t walk(std::string_view text, Found&& found) const;
  std::string_view string_at(std::uint32_t offset) const;

  std::vector<std::uint32_t> units_;
  std::string strings_;
};

/// Bytes of base64 text. Throws Corruption.
std::string base64_decode(std::string_view text, const std::string& context);

}  // namespace graft::text
