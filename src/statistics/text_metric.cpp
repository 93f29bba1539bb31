#include "statistics/text_metric.h"

#include <algorithm>

#include "base/error.h"
#include "base/suggest.h"
#include "statistics/bleu.h"
#include "statistics/chrf.h"
#include "statistics/cider.h"
#include "statistics/meteor.h"
#include "statistics/nist.h"
#include "statistics/ptb.h"
#include "statistics/rouge.h"
#include "statistics/ter.h"

namespace graft {
namespace {

// What `score` gives for the words that the E2E challenge's script makes of the texts.
double on_ptb_words(const TextCases& cases, double (*score)(const TextCases&)) {
  std::vector<std::string> hypotheses;
  std::vector<std::vector<std::string>> references;
  for (const std::string& text : cases.hypotheses) hypotheses.push_back(ptb_words(text));
  for (const auto& texts : cases.references) {
    auto& words = references.emplace_back();
    for (const std::string& text : texts) words.push_back(ptb_words(text));
  }
  return score({hypotheses, references});
}

double mean_rouge_l_coco(const TextCases& cases) {
  return rouge_l_coco(cases).mean;
}

double mean_cider(const TextCases& cases) {
  return cider(cases).mean;
}

double exact_matches(const TextCases& cases) {
  return mean_over_cases(
             "exact_match", cases,
             [&](std::size_t i) {
               const auto& references = cases.references[i];
               return std::find(references.begin(), references.end(), cases.hypotheses[i]) != references.end() ? 1.0
                                                                                                               : 0.0;
             })
      .mean;
}

}  // namespace

const std::vector<TextMetric>& text_metrics() {
  static const std::string kPercent = "0 to 100, higher is better";
  static const std::string kPart = "0 to 1, higher is better";
  static const std::string kTen = "0 to 10, higher is better";
  static const std::vector<TextMetric> metrics = {
      {"bleu", kPercent, true, [](const TextCases& cases) { return corpus_bleu(cases).score; }},
      {"bleu_e2e", kPercent, true, [](const TextCases& cases) { return corpus_bleu(cases, e2e_bleu()).score; }},
      {"nist", "from 0, higher is better", true, [](const TextCases& cases) { return corpus_nist(cases); }},
      {"ter", "from 0 (100: as many edits as words), lower is better", false,
       [](const TextCases& cases) { return corpus_ter(cases).score; }},
      {"chrf", kPercent, true, [](const TextCases& cases) { return corpus_chrf(cases); }},
      {"chrf++", kPercent, true, [](const TextCases& cases) { return corpus_chrf(cases, {.word_order = 2}); }},
      {"rouge1", kPart, true, [](const TextCases& cases) { return rouge_n(cases, 1).mean.f1; }},
      {"rouge2", kPart, true, [](const TextCases& cases) { return rouge_n(cases, 2).mean.f1; }},
      {"rougeL", kPart, true, [](const TextCases& cases) { return rouge_l(cases).mean.f1; }},
      {"rougeLsum", kPart, true, [](const TextCases& cases) { return rouge_l_sum(cases).mean.f1; }},
      {"rougeL_coco", kPart, true, mean_rouge_l_coco},
      {"rougeL_e2e", kPart, true, [](const TextCases& cases) { return on_ptb_words(cases, mean_rouge_l_coco); }},
      {"meteor", kPart, true, [](const TextCases& cases) { return meteor(cases).mean; }},
      {"cider", kTen, true, mean_cider},
      {"exact_match", kPart, true, exact_matches},
      {"cider_e2e", kTen, true, [](const TextCases& cases) { return on_ptb_words(cases, mean_cider); }},
  };
  return metrics;
}

const TextMetric& text_metric(const std::string& name) {
  std::vector<std::string> known;
  for (const TextMetric& metric : text_metrics()) {
    if (metric.name == name) return metric;
    known.push_back(metric.name);
  }
  fail(Category::InvalidArgument, "metrics", "unknown metric '{}'{}", name, did_you_mean(name, known));
}

}  // namespace graft
