// Text as the reference implementations of the generation metrics see it: Python's strings, their words and their
// tokenizers. Bytes that are not UTF-8 count as U+FFFD, as Python's errors="replace" reads them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft {

/// Words between white space, as Python's str.split(). Views of `text`, which must be valid UTF-8.
std::vector<std::string_view> split_words(std::string_view text);

/// Valid UTF-8 without white space at its end, as Python's str.rstrip().
std::string_view without_space_at_end(std::string_view text);

enum class LetterCase {
  AsWritten,
  Lower,       ///< Unicode's full mapping, as Python's str.lower()
  LowerAscii,  ///< A to Z only
};

/// Any bytes as valid UTF-8, in the letter case.
std::string readable(std::string_view text, LetterCase letters);

enum class Tokens {
  None,           ///< the text as it is
  Mteval13a,      ///< mteval-v13a.pl, the standard of sacrebleu (its "13a")
  International,  ///< mteval-v14.pl --international-tokenization (sacrebleu's "intl")
};

/// Valid UTF-8 with a space between tokens. sacrebleu 2.6.0 leaves white space at the end of a text out before this.
std::string tokenise(std::string_view text, Tokens tokens);

struct TercomTokens {
  bool normalised = false;      ///< joins lines, resolves entities, puts Western punctuation apart
  bool no_punctuation = false;  ///< without . , ? : ; ! " ( )
};

/// Valid UTF-8 after Tercom's Normalizer as sacrebleu 2.6.0 has it, without its treatment of Chinese and Japanese
/// (asian_support).
std::string tokenise_tercom(std::string_view text, const TercomTokens& settings);

}  // namespace graft
