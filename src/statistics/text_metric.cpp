#include "statistics/text_metric.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/suggest.h"
#include "statistics/bleu.h"
#include "statistics/chrf.h"
#include "statistics/cider.h"
#include "statistics/meteor.h"
#include "statistics/nist.h"
#include "statistics/ptb.h"
#include "statistics/rouge.h"
#include "statistics/squad.h"
#include "statistics/ter.h"
#include "statistics/text_difference.h"

namespace graft {
namespace {

// Of a mean over cases.
CaseSums with_count(const std::vector<double>& each) {
  CaseSums sums;
  for (const double value : each) sums.push_back({value, 1});
  return sums;
}

double mean_of(std::span<const double> sums) {
  return sums[0] / sums[1];
}

CaseSums f1_of(const Rouge& rouge) {
  CaseSums sums;
  for (const RougeScore& score : rouge.each) sums.push_back({score.f1, 1});
  return sums;
}

// What `sums` gives for the words that the E2E challenge's script makes of the texts.
CaseSums on_ptb_words(const TextCases& cases, CaseSums (*sums)(const TextCases&)) {
  std::vector<std::string> hypotheses;
  std::vector<std::vector<std::string>> references;
  for (const std::string& text : cases.hypotheses) hypotheses.push_back(ptb_words(text));
  for (const auto& texts : cases.references) {
    auto& words = references.emplace_back();
    for (const std::string& text : texts) words.push_back(ptb_words(text));
  }
  return sums({hypotheses, references});
}

CaseSums rouge_l_coco_sums(const TextCases& cases) {
  return with_count(rouge_l_coco(cases).each);
}

CaseSums cider_sums(const TextCases& cases) {
  return with_count(cider(cases).each);
}

CaseSums exact_matches(const TextCases& cases) {
  return with_count(mean_over_cases("exact_match", cases, [&](std::size_t i) {
                      const auto& references = cases.references[i];
                      const auto end = references.end();
                      return std::find(references.begin(), end, cases.hypotheses[i]) != end ? 1.0 : 0.0;
                    }).each);
}

}  // namespace

const std::vector<TextMetric>& text_metrics() {
  static const std::string kPercent = "0 to 100, higher is better";
  static const std::string kPart = "0 to 1, higher is better";
  static const std::string kTen = "0 to 10, higher is better";
  static const ChrfSettings kWithWords{.word_order = 2};
  using Cases = const TextCases&;
  using Sums = std::span<const double>;
  static const std::vector<TextMetric> metrics = {
      {"bleu", kPercent, true, false, [](Cases cases) { return bleu_sums(cases); },
       [](Sums sums) { return bleu_of(sums).score; }},
      {"bleu_e2e", kPercent, true, false, [](Cases cases) { return bleu_sums(cases, e2e_bleu()); },
       [](Sums sums) { return bleu_of(sums, e2e_bleu()).score; }},
      {"nist", "from 0, higher is better", true, false, [](Cases cases) { return nist_sums(cases); },
       [](Sums sums) { return nist_of(sums); }},
      {"ter", "from 0 (100: as many edits as words), lower is better", false, false,
       [](Cases cases) { return ter_sums(cases); }, [](Sums sums) { return ter_of(sums).score; }},
      {"chrf", kPercent, true, false, [](Cases cases) { return chrf_sums(cases); },
       [](Sums sums) { return chrf_of(sums); }},
      {"chrf++", kPercent, true, false, [](Cases cases) { return chrf_sums(cases, kWithWords); },
       [](Sums sums) { return chrf_of(sums, kWithWords); }},
      {"rouge1", kPart, true, true, [](Cases cases) { return f1_of(rouge_n(cases, 1)); }, mean_of},
      {"rouge2", kPart, true, true, [](Cases cases) { return f1_of(rouge_n(cases, 2)); }, mean_of},
      {"rougeL", kPart, true, true, [](Cases cases) { return f1_of(rouge_l(cases)); }, mean_of},
      {"rougeLsum", kPart, true, true, [](Cases cases) { return f1_of(rouge_l_sum(cases)); }, mean_of},
      {"rougeL_coco", kPart, true, true, rouge_l_coco_sums, mean_of},
      {"rougeL_e2e", kPart, true, true, [](Cases cases) { return on_ptb_words(cases, rouge_l_coco_sums); }, mean_of},
      {"meteor", kPart, true, true, [](Cases cases) { return with_count(meteor(cases).each); }, mean_of},
      {"cider", kTen, true, true, cider_sums, mean_of},
      {"cider_e2e", kTen, true, true, [](Cases cases) { return on_ptb_words(cases, cider_sums); }, mean_of},
      {"exact_match", kPart, true, true, exact_matches, mean_of},
      {"squad_exact_match", kPart, true, true, [](Cases cases) { return with_count(squad_exact_match(cases).each); },
       mean_of},
      {"squad_f1", kPart, true, true, [](Cases cases) { return with_count(squad_f1(cases).each); }, mean_of},
  };
  return metrics;
}

std::vector<std::string> text_metric_names() {
  std::vector<std::string> names;
  for (const auto* metrics : {&text_metrics(), &difference_metrics()})
    for (const TextMetric& metric : *metrics) names.push_back(metric.name);
  return names;
}

const TextMetric& text_metric(const std::string& name) {
  for (const auto* metrics : {&text_metrics(), &difference_metrics()}) {
    for (const TextMetric& metric : *metrics) {
      if (metric.name == name) return metric;
    }
  }
  fail(Category::InvalidArgument, "metrics", "unknown metric '{}'{}", name, did_you_mean(name, text_metric_names()));
}

std::function<double(std::span<const std::size_t>)> mean_over_runs(const TextMetric& metric,
                                                                   std::vector<CaseSums> runs) {
  return [&metric, runs = std::move(runs)](std::span<const std::size_t> places) {
    double mean = 0;
    for (const CaseSums& sums : runs) {
      std::vector<double> total(sums.front().size(), 0);
      for (const auto place : places) {
        for (std::size_t i = 0; i < total.size(); ++i) total[i] += sums[place][i];
      }
      mean += metric.of_sums(total) / static_cast<double>(runs.size());
    }
    return mean;
  };
}

bool is_text_metric(const std::string& name) {
  const auto names = text_metric_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace graft
