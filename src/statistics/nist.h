// NIST (Doddington 2002).
#pragma once

#include <span>

#include "statistics/text_cases.h"
#include "statistics/words.h"

namespace graft {

/// How long the references are, against which a text may be too short.
enum class NistLength {
  Mteval,    ///< words of all references by the mean number of references that are not empty
  Pymteval,  ///< the mean over each hypothesis's references, added up
};

struct NistSettings {
  Tokens tokens = Tokens::Mteval13a;
  LetterCase letters = LetterCase::LowerAscii;
  NistLength length = NistLength::Mteval;  ///< differs where hypotheses have different numbers of references
  std::size_t max_order = 5;
};

/// What the E2E challenge's measure_scores.py prints: the score of mteval-v13a.pl; with Pymteval and LetterCase::Lower
/// that of its --python. From 0, without an upper end; a perfect text of E2E has about 10. (mteval-v13a.pl takes the
/// word "0" for none as the beginning of an n-gram; this does not.) Throws InvalidArgument: as check_cases, all
/// references empty, or a max_order outside 1 to 255 (kMaxOrder).
double corpus_nist(const TextCases& cases, const NistSettings& settings = {});

/// What each case adds to corpus_nist(), and that of the cases whose sums these are, added up. What an n-gram tells is
/// counted in the references of all `cases`, whichever are added up. Throws as that.
CaseSums nist_sums(const TextCases& cases, const NistSettings& settings = {});
double nist_of(std::span<const double> sums, const NistSettings& settings = {});

}  // namespace graft
