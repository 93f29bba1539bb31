// ROUGE (Lin 2004): how much of a reference's n-grams and subsequences a text has.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "statistics/text_cases.h"

namespace graft {

struct RougeScore {
  double precision = 0;  ///< all 0 to 1
  double recall = 0;
  double f1 = 0;
};

struct Rouge {
  RougeScore mean;  ///< over the cases
  std::vector<RougeScore> each;
};

struct RougeSettings {
  bool stem = false;  ///< words of more than 3 letters are cut to their Porter stem (ROUGE-1.5.5's -m)
};

// Equal to rouge_score 0.1.2 (RougeScorer.score_multi, with means where its BootstrapAggregator resamples): words are
// runs of a to z and 0 to 9 of the text in lower case; a case counts with the reference of the best F1. All throw
// InvalidArgument as check_cases.

/// N-grams of `order` words ("rouge1", "rouge2", …). Throws InvalidArgument: an order outside 1 to 255 (kMaxOrder).
Rouge rouge_n(const TextCases& cases, std::size_t order, const RougeSettings& settings = {});

/// Longest common subsequence of the whole texts ("rougeL").
Rouge rouge_l(const TextCases& cases, const RougeSettings& settings = {});

/// Lines against lines ("rougeLsum"): of each line of the reference, the words that any line of the text has in a
/// longest common subsequence.
Rouge rouge_l_sum(const TextCases& cases, const RougeSettings& settings = {});

/// ROUGE-L as the captions of COCO are scored, and E2E: F with beta 1.2 of the best precision and the best recall of
/// any reference, 0 to 1. Equal to pycocoevalcap 1.2 (Rouge), for which words are what single spaces separate, as they
/// are written; an empty text is one empty word.
CaseScores rouge_l_coco(const TextCases& cases, double beta = 1.2);

}  // namespace graft
