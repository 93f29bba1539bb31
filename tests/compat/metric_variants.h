// The metrics of texts in all settings that are held to reference programs, by the names that metrics_reference.py and
// metrics_parity.py have for them.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "statistics/bleu.h"
#include "statistics/chrf.h"
#include "statistics/cider.h"
#include "statistics/meteor.h"
#include "statistics/nist.h"
#include "statistics/rouge.h"
#include "statistics/ter.h"
#include "statistics/text_metric.h"

namespace graft {

using MetricScore = std::function<double(const TextCases&)>;
/// "corpus", the value of all cases, and where the reference has them "each", those of the cases (of ROUGE three each:
/// precision, recall and F1).
using MetricVariant = std::function<nlohmann::json(const TextCases&)>;

inline MetricVariant of_corpus(MetricScore whole) {
  return [whole = std::move(whole)](const TextCases& cases) {
    nlohmann::json found;
    found["corpus"] = whole(cases);
    return found;
  };
}

/// `sentence` is asked for each case alone.
inline MetricVariant of_corpus_and_each(MetricScore whole, MetricScore sentence) {
  return [whole = std::move(whole), sentence = std::move(sentence)](const TextCases& cases) {
    nlohmann::json found;
    found["corpus"] = whole(cases);
    found["each"] = nlohmann::json::array();
    for (std::size_t i = 0; i < cases.size(); ++i) found["each"].push_back(sentence(cases.only(i)));
    return found;
  };
}

inline MetricVariant of_mean(std::function<CaseScores(const TextCases&)> score) {
  return [score = std::move(score)](const TextCases& cases) {
    const CaseScores scores = score(cases);
    nlohmann::json found;
    found["corpus"] = scores.mean;
    found["each"] = scores.each;
    return found;
  };
}

inline MetricVariant bleu_variant(const BleuSettings& settings) {
  const auto score = [](const BleuSettings& used) {
    return [used](const TextCases& cases) { return corpus_bleu(cases, used).score; };
  };
  BleuSettings sentence = settings;
  sentence.effective_order = true;
  return of_corpus_and_each(score(settings), score(sentence));
}

inline MetricVariant chrf_variant(const ChrfSettings& settings) {
  const auto score = [settings](const TextCases& cases) { return corpus_chrf(cases, settings); };
  return of_corpus_and_each(score, score);
}

inline MetricVariant ter_variant(const TerSettings& settings) {
  const auto score = [settings](const TextCases& cases) { return corpus_ter(cases, settings).score; };
  return of_corpus_and_each(score, score);
}

inline MetricVariant rouge_variant(std::function<Rouge(const TextCases&)> score) {
  return [score = std::move(score)](const TextCases& cases) {
    const Rouge rouge = score(cases);
    nlohmann::json found;
    found["corpus"] = rouge.mean.f1;
    found["each"] = nlohmann::json::array();
    for (const RougeScore& one : rouge.each) {
      for (const double value : {one.precision, one.recall, one.f1}) found["each"].push_back(value);
    }
    return found;
  };
}

inline MetricVariant nist_variant(const NistSettings& settings) {
  return of_corpus([settings](const TextCases& cases) { return corpus_nist(cases, settings); });
}

inline std::map<std::string, MetricVariant> bleu_variants() {
  return {{"bleu none", bleu_variant({.tokens = Tokens::None})},
          {"bleu 13a", bleu_variant({.tokens = Tokens::Mteval13a})},
          {"bleu intl", bleu_variant({.tokens = Tokens::International})},
          {"bleu lower", bleu_variant({.letters = LetterCase::Lower})},
          {"bleu smooth none", bleu_variant({.smoothing = BleuSmoothing::None})},
          {"bleu smooth floor", bleu_variant({.smoothing = BleuSmoothing::Floor})},
          {"bleu smooth floor 0.5", bleu_variant({.smoothing = BleuSmoothing::Floor, .smoothing_value = 0.5})},
          {"bleu smooth add-k", bleu_variant({.smoothing = BleuSmoothing::AddK})},
          {"bleu order 2", bleu_variant({.max_order = 2})},
          {"bleu_e2e", of_corpus([](const TextCases& cases) { return corpus_bleu(cases, e2e_bleu()).score; })}};
}

inline std::map<std::string, MetricVariant> rouge_variants() {
  std::map<std::string, MetricVariant> variants;
  for (const bool stem : {false, true}) {
    const std::string suffix = stem ? " stem" : "";
    const RougeSettings settings{stem};
    variants["rouge1" + suffix] = rouge_variant([=](const TextCases& cases) { return rouge_n(cases, 1, settings); });
    variants["rouge2" + suffix] = rouge_variant([=](const TextCases& cases) { return rouge_n(cases, 2, settings); });
    variants["rougeL" + suffix] = rouge_variant([=](const TextCases& cases) { return rouge_l(cases, settings); });
    variants["rougeLsum" + suffix] =
        rouge_variant([=](const TextCases& cases) { return rouge_l_sum(cases, settings); });
  }
  variants["rougeL_coco"] = of_mean([](const TextCases& cases) { return rouge_l_coco(cases); });
  return variants;
}

inline std::map<std::string, MetricVariant> other_variants() {
  std::map<std::string, MetricVariant> variants = {
      {"nist", nist_variant({})},
      {"nist pymteval", nist_variant({.letters = LetterCase::Lower, .length = NistLength::Pymteval})},
      {"chrf", chrf_variant({})},
      {"chrf++", chrf_variant({.word_order = 2})},
      {"chrf lower whitespace beta 3", chrf_variant({.beta = 3, .lowercase = true, .whitespace = true})},
      {"chrf eps", chrf_variant({.word_order = 1, .eps_smoothing = true})},
      {"ter", ter_variant({})},
      {"ter case", ter_variant({.case_sensitive = true})},
      {"ter normalised", ter_variant({.tokens = {.normalised = true}})},
      {"ter no punctuation", ter_variant({.tokens = {.no_punctuation = true}})},
      {"meteor", of_mean([](const TextCases& cases) { return meteor(cases); })},
      {"meteor 0.8 1.5 0.3",
       of_mean([](const TextCases& cases) { return meteor(cases, {.alpha = 0.8, .beta = 1.5, .gamma = 0.3}); })},
      {"cider", of_mean([](const TextCases& cases) { return cider(cases); })},
      {"cider plain", of_mean([](const TextCases& cases) { return cider(cases, plain_cider()); })}};
  for (const char* name : {"rougeL_e2e", "cider_e2e"})
    variants[name] = of_corpus([name](const TextCases& cases) { return text_metric(name).score(cases); });
  return variants;
}

inline std::map<std::string, MetricVariant> metric_variants() {
  auto variants = bleu_variants();
  variants.merge(rouge_variants());
  variants.merge(other_variants());
  return variants;
}

}  // namespace graft
