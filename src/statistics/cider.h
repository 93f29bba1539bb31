// CIDEr (Vedantam et al. 2015): how near a text is to its references in the frequencies of n-grams, each weighted by
// how few of the cases have it.
#pragma once

#include "statistics/text_cases.h"

namespace graft {

struct CiderSettings {
  std::size_t max_order = 4;
  bool clipped = true;  ///< a text gains nothing by repeating what a reference has less often
  double sigma = 6;     ///< of the Gaussian penalty on a difference in length, which is counted in bigrams; 0: none
};

/// CIDEr-D, 0 to 10 a case, times 10 of a mean cosine; of one case alone it is 0, as every n-gram is in every case.
/// Equal to pycocoevalcap 1.2 (Cider), which E2E and the captions of COCO call CIDEr. Document frequencies are those of
/// the references given; words are what white space separates, as they are written. Throws InvalidArgument: as
/// check_cases, all references empty, or a max_order outside 1 to 255 (kMaxOrder).
CaseScores cider(const TextCases& cases, const CiderSettings& settings = {});

/// The settings of CIDEr itself (section 4 of the paper; pyciderevalcap's Cider): neither clipped nor with a penalty.
CiderSettings plain_cider();

}  // namespace graft
