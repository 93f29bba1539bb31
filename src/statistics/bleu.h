// BLEU (Papineni et al. 2002).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "statistics/text_cases.h"
#include "statistics/words.h"

namespace graft {

/// What stands for an n-gram precision of 0. The first four are sacrebleu's (Chen and Cherry 2014).
enum class BleuSmoothing {
  None,
  Floor,   ///< the value (standard 0.1) as the number of matches
  AddK,    ///< the value (standard 1) added to matches and n-grams of orders above 1
  Exp,     ///< 1/2, 1/4, … matches, one halving for each order without any
  Mteval,  ///< mteval-v13a.pl's: as Exp, also where no order has a match; an order without n-grams counts as perfect
};

struct BleuSettings {
  Tokens tokens = Tokens::Mteval13a;
  LetterCase letters = LetterCase::AsWritten;
  BleuSmoothing smoothing = BleuSmoothing::Exp;
  std::optional<double> smoothing_value = std::nullopt;
  std::size_t max_order = 4;
  bool effective_order = false;  ///< only orders that the hypothesis has; for single sentences
};

struct Bleu {
  double score = 0;                ///< 0 to 100
  std::vector<double> precisions;  ///< 0 to 100, smoothed, by order from 1
  double brevity_penalty = 0;      ///< 0 to 1
  std::int64_t hypothesis_words = 0;
  std::int64_t reference_words = 0;  ///< of the reference nearest in length to each hypothesis, the shorter of two
  std::vector<std::int64_t> matches;
  std::vector<std::int64_t> totals;
};

/// Equal to sacrebleu 2.6.0 (BLEU.corpus_score; with one case, sentence_score). Throws InvalidArgument: as check_cases,
/// or a max_order outside 1 to 255 (kMaxOrder).
Bleu corpus_bleu(const TextCases& cases, const BleuSettings& settings = {});

/// What each case adds to corpus_bleu(): words, reference words, matches and n-grams by order. Throws as that.
CaseSums bleu_sums(const TextCases& cases, const BleuSettings& settings = {});
/// corpus_bleu() of the cases whose sums these are, added up.
Bleu bleu_of(std::span<const double> sums, const BleuSettings& settings = {});

/// The settings under which corpus_bleu is what the E2E challenge's measure_scores.py prints (times 100), and with it
/// the tables of the papers on prefix tuning and LoRA: mteval-v13a.pl without case.
BleuSettings e2e_bleu();

}  // namespace graft
