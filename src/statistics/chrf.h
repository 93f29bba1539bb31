// chrF (Popović 2015) and chrF++ (Popović 2017): an F score of n-grams of characters, and of words.
#pragma once

#include <span>

#include "statistics/text_cases.h"

namespace graft {

struct ChrfSettings {
  std::size_t char_order = 6;
  std::size_t word_order = 0;  ///< 2 makes it chrF++
  double beta = 2;             ///< recall counts beta² times as much as precision
  bool lowercase = false;
  bool whitespace = false;     ///< spaces count as characters
  bool eps_smoothing = false;  ///< the mean of the F scores of all orders, as chrF++.py has it, instead of the F score
                               ///< of mean precision and recall over the orders that both texts have
};

/// 0 to 100. Equal to sacrebleu 2.6.0 (CHRF.corpus_score; with one case, sentence_score): each hypothesis counts with
/// the reference that gives it the best score. Throws InvalidArgument: as check_cases, an order outside 0 to 255
/// (kMaxOrder), or both orders 0.
double corpus_chrf(const TextCases& cases, const ChrfSettings& settings = {});

/// What each case adds to corpus_chrf(), n-grams by order, and that of the cases whose sums these are, added up. Throws
/// as that.
CaseSums chrf_sums(const TextCases& cases, const ChrfSettings& settings = {});
double chrf_of(std::span<const double> sums, const ChrfSettings& settings = {});

}  // namespace graft
