// How answers to questions are compared (Rajpurkar et al. 2016, SQuAD): their words, without case, punctuation and
// articles.
#pragma once

#include <string>
#include <string_view>

#include "statistics/text_cases.h"

namespace graft {

/// The text in lower case, without ASCII punctuation and the words a, an and the, one space between words.
std::string squad_normalised(std::string_view text);

// Equal to compute_exact and compute_f1 of SQuAD's evaluate-v2.0.py, the best of the references, 0 to 1. Both throw
// InvalidArgument as check_cases.

/// Whether the normalised texts are equal.
CaseScores squad_exact_match(const TextCases& cases);

/// F1 of the words that both have. Where either text has none, 1 if both have none, else 0.
CaseScores squad_f1(const TextCases& cases);

}  // namespace graft
