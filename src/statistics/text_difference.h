// Whether a text is nearer to what is true than to what is false: the overlap metrics of TruthfulQA's generation task
// (Lin et al. 2022, section 3.2).
#pragma once

#include <vector>

#include "statistics/text_metric.h"

namespace graft {

/// By name "bleu_difference", "rouge1_difference", "rouge2_difference" and "rougeL_difference": the score against the
/// reference of a case that is nearest to its text, less that against the nearest of its false references, the mean
/// over the cases. "bleu_truer" and so on: the part of the cases in which that difference is above 0. BLEU is of one
/// text and one reference, in sacrebleu's international tokens, 0 to 100; ROUGE is rouge_n() and rouge_l(). Their sums
/// throw InvalidArgument as check_cases, and for a case without false references.
const std::vector<TextMetric>& difference_metrics();

}  // namespace graft
