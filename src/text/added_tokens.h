// Added and special tokens: found in the text before anything else looks at it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"
#include "text/tokenizer.h"
#include "text/trie.h"

namespace graft::text {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;  ///< only where no word character touches it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space behind it
  bool normalized = false;   ///< looked for in the normalised text
};

/// Finds, leftmost and longest first, the added tokens of one text. Immutable.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  /// The tokens whose `normalized` is as given; contents go through `normalizer` (may be null) for the normalised ones.
  AddedTokenFinder(const std::vector<AddedToken>& tokens, bool normalized, const Normalizer* normalizer);

  bool empty() const { return trie_.empty(); }

  /// Calls between(begin, end) and token(id) in the order of the text; `between` only for non-empty stretches.
  template <typename Between, typename Token>
  void scan(std::string_view text, Between&& between, Token&& token) const {
    std::size_t done = 0;
    Found found;
    for (std::size_t from = 0; next(text, from, done, found); from = found.next) {
      if (found.token == nullptr) continue;
      if (done < found.begin) between(done, found.begin);
      token(found.token->id);
      done = found.end;
    }
    if (done < text.size()) between(done, text.size());
  }

 private:
  struct Found {
    const AddedToken* token = nullptr;  ///< nullptr: a match that single_word rejects
    std::size_t begin = 0, end = 0, next = 0;
  };
  bool next(std::string_view text, std::size_t from, std::size_t done, Found& found) const;

  std::vector<AddedToken> tokens_;
  Trie trie_;
  bool first_byte_[256] = {};
};

}  // namespace graft::text
