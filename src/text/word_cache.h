// Ids of the words seen lately: most words of a text are few different ones.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace graft::text {

/// Belongs to one thread at a time. Full, it forgets everything and starts anew.
class WordCache {
 public:
  /// Longer words are not worth remembering.
  static constexpr std::size_t kLongestWord = 96;

  WordCache();
  static std::uint64_t hash(std::string_view word);
  /// The ids, or false. The span holds until the next put().
  bool find(std::string_view word, std::uint64_t hash, std::span<const TokenId>& ids) const;
  void put(std::string_view word, std::uint64_t hash, std::span<const TokenId> ids);

 private:
  struct Slot {
    std::uint32_t tag = 0;  ///< upper half of the hash, 0: free
    std::uint32_t text = 0, ids = 0;
    std::uint16_t length = 0, count = 0;
  };
  std::vector<Slot> slots_;
  std::string texts_;
  std::vector<TokenId> ids_;
  std::size_t used_ = 0;
};

}  // namespace graft::text
