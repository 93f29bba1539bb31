// TER, the translation edit rate (Snover et al. 2006): edits of words and shifts of phrases that turn a text into a
// reference.
#pragma once

#include <span>

#include "statistics/text_cases.h"
#include "statistics/words.h"

namespace graft {

struct TerSettings {
  bool case_sensitive = false;
  TercomTokens tokens = {};
};

struct Ter {
  double score = 0;            ///< 100 · edits / reference words: 0 is best, above 100 is possible
  double edits = 0;            ///< against the nearest reference of each hypothesis
  double reference_words = 0;  ///< mean over the references of each hypothesis
};

/// Equal to sacrebleu 2.6.0 (TER.corpus_score; with one case, sentence_score) without asian_support: Tercom's greedy
/// search for shifts of at most 10 words by at most 50 places, at most 1,000 of them tried, over an edit distance in a
/// beam of 25 around the diagonal. Against empty references a text scores 100, an empty one 0. Throws InvalidArgument
/// as check_cases.
Ter corpus_ter(const TextCases& cases, const TerSettings& settings = {});

/// What each case adds to corpus_ter(), edits and reference words, and that of the cases whose sums these are, added
/// up. Throws as that.
CaseSums ter_sums(const TextCases& cases, const TerSettings& settings = {});
Ter ter_of(std::span<const double> sums);

}  // namespace graft
