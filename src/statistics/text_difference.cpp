#include "statistics/text_difference.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "statistics/bleu.h"
#include "statistics/rouge.h"

namespace graft {
namespace {

void check_false_references(const TextCases& cases) {
  check_cases("difference", cases);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (cases.false_references.size() == cases.size() && !cases.false_references[i].empty()) continue;
    fail(Category::InvalidArgument, "difference",
         "text {} has nothing that is wrong to be compared with; a task names such texts with false_references", i);
  }
}

// Of each text against the nearest of its references.
std::vector<double> sentence_bleu(const TextCases& cases) {
  const BleuSettings settings{.tokens = Tokens::International};
  std::vector<double> best;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    double highest = 0;
    for (const std::string& reference : cases.references[i]) {
      const std::vector<std::vector<std::string>> one = {{reference}};
      highest = std::max(highest, corpus_bleu({cases.hypotheses.subspan(i, 1), one}, settings).score);
    }
    best.push_back(highest);
  }
  return best;
}

std::vector<double> f1_of_each(const Rouge& rouge) {
  std::vector<double> values;
  for (const RougeScore& score : rouge.each) values.push_back(score.f1);
  return values;
}

std::vector<double> sentence_rouge1(const TextCases& cases) {
  return f1_of_each(rouge_n(cases, 1));
}

std::vector<double> sentence_rouge2(const TextCases& cases) {
  return f1_of_each(rouge_n(cases, 2));
}

std::vector<double> sentence_rouge_l(const TextCases& cases) {
  return f1_of_each(rouge_l(cases));
}

template <std::vector<double> (*score)(const TextCases&)>
std::vector<double> differences(const TextCases& cases) {
  check_false_references(cases);
  std::vector<double> values = score({cases.hypotheses, cases.references});
  const std::vector<double> wrong = score({cases.hypotheses, cases.false_references});
  for (std::size_t i = 0; i < values.size(); ++i) values[i] -= wrong[i];
  return values;
}

template <std::vector<double> (*score)(const TextCases&)>
CaseSums difference_sums(const TextCases& cases) {
  CaseSums sums;
  for (const double value : differences<score>(cases)) sums.push_back({value, 1});
  return sums;
}

template <std::vector<double> (*score)(const TextCases&)>
CaseSums truer_sums(const TextCases& cases) {
  CaseSums sums;
  for (const double value : differences<score>(cases)) sums.push_back({value > 0 ? 1.0 : 0.0, 1});
  return sums;
}

double mean_of_differences(std::span<const double> sums) {
  return sums[0] / sums[1];
}

}  // namespace

const std::vector<TextMetric>& difference_metrics() {
  static const std::string kHundred = "-100 to 100, higher is better";
  static const std::string kOne = "-1 to 1, higher is better";
  static const std::string kPart = "0 to 1, higher is better";
  static const auto kMean = mean_of_differences;
  static const std::vector<TextMetric> metrics = {
      {"bleu_difference", kHundred, true, true, difference_sums<sentence_bleu>, kMean},
      {"rouge1_difference", kOne, true, true, difference_sums<sentence_rouge1>, kMean},
      {"rouge2_difference", kOne, true, true, difference_sums<sentence_rouge2>, kMean},
      {"rougeL_difference", kOne, true, true, difference_sums<sentence_rouge_l>, kMean},
      {"bleu_truer", kPart, true, true, truer_sums<sentence_bleu>, kMean},
      {"rouge1_truer", kPart, true, true, truer_sums<sentence_rouge1>, kMean},
      {"rouge2_truer", kPart, true, true, truer_sums<sentence_rouge2>, kMean},
      {"rougeL_truer", kPart, true, true, truer_sums<sentence_rouge_l>, kMean},
  };
  return metrics;
}

}  // namespace graft
