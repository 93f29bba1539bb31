// METEOR (Banerjee and Lavie 2005; Lavie and Agarwal 2007) without outside resources.
#pragma once

#include "statistics/text_cases.h"
#include "statistics/words.h"

namespace graft {

struct MeteorSettings {
  Tokens tokens = Tokens::None;  ///< then words are what white space separates
  double alpha = 0.9;            ///< weight of precision against recall
  double beta = 3;               ///< exponent of the penalty
  double gamma = 0.5;            ///< largest penalty
};

/// 0 to 1; the best of the references counts. Words match in lower case: first the same word, then the same Porter
/// stem. LEFT OUT are synonyms (WordNet), paraphrase tables and function words, which need outside resources: figures
/// of meteor-1.5.jar, the E2E challenge's METEOR among them, are other figures and not comparable. Equal to nltk 3.10.4
/// (meteor_score of the words) with a WordNet without synonyms. Like nltk, and unlike the paper, it does not search for
/// the alignment with the fewest chunks: words are taken from the end, each with the last free place in the reference.
/// Throws InvalidArgument as check_cases.
CaseScores meteor(const TextCases& cases, const MeteorSettings& settings = {});

}  // namespace graft
