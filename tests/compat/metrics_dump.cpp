// graft_metrics_dump scores|time [REPEATS] < cases, graft_metrics_dump stems < words
// One case a line: a JSON list of two, the hypothesis and the list of its references. A string of the form "hex:…"
// stands for those bytes. scores: one JSON object, of each variant the corpus value and those of the cases. time: of
// each metric the seconds of every run.
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "statistics/bleu.h"
#include "statistics/chrf.h"
#include "statistics/cider.h"
#include "statistics/meteor.h"
#include "statistics/nist.h"
#include "statistics/porter.h"
#include "statistics/rouge.h"
#include "statistics/ter.h"
#include "statistics/text_metric.h"

namespace {

using graft::BleuSettings;
using graft::BleuSmoothing;
using graft::TextCases;
using graft::Tokens;
using nlohmann::json;

std::string bytes_of(const std::string& text) {
  if (!text.starts_with("hex:")) return text;
  std::string bytes;
  for (std::size_t at = 4; at + 1 < text.size(); at += 2)
    bytes.push_back(static_cast<char>(std::stoi(text.substr(at, 2), nullptr, 16)));
  return bytes;
}

struct Cases {
  std::vector<std::string> hypotheses;
  std::vector<std::vector<std::string>> references;
};

Cases read() {
  Cases cases;
  for (std::string line; std::getline(std::cin, line);) {
    const json row = json::parse(line);
    cases.hypotheses.push_back(bytes_of(row[0]));
    auto& references = cases.references.emplace_back();
    for (const auto& reference : row[1]) references.push_back(bytes_of(reference));
  }
  return cases;
}

// The value of all cases, and by the same function those of each alone.
json by_corpus(const TextCases& cases, const std::function<double(const TextCases&)>& whole,
               const std::function<double(const TextCases&)>& sentence) {
  json each = json::array();
  for (std::size_t i = 0; i < cases.size(); ++i) each.push_back(sentence(cases.only(i)));
  return {{"corpus", whole(cases)}, {"each", each}};
}

json bleu(const TextCases& cases, BleuSettings settings) {
  const auto score = [](const BleuSettings& used) {
    return [used](const TextCases& of) { return graft::corpus_bleu(of, used).score; };
  };
  BleuSettings sentence = settings;
  sentence.effective_order = true;
  return by_corpus(cases, score(settings), score(sentence));
}

json chrf(const TextCases& cases, const graft::ChrfSettings& settings) {
  const auto score = [&](const TextCases& of) { return graft::corpus_chrf(of, settings); };
  return by_corpus(cases, score, score);
}

json ter(const TextCases& cases, const graft::TerSettings& settings) {
  const auto score = [&](const TextCases& of) { return graft::corpus_ter(of, settings).score; };
  return by_corpus(cases, score, score);
}

json rouge(const graft::Rouge& rouge) {
  json each = json::array();
  for (const auto& score : rouge.each) {
    for (const double value : {score.precision, score.recall, score.f1}) each.push_back(value);
  }
  return {{"corpus", rouge.mean.f1}, {"each", each}};
}

json mean(const graft::CaseScores& scores) {
  return {{"corpus", scores.mean}, {"each", scores.each}};
}

void scores(const TextCases& cases) {
  json all;
  for (const auto tokens : {Tokens::None, Tokens::Mteval13a, Tokens::International}) {
    const std::string name = std::map<Tokens, std::string>{
        {Tokens::None, "none"}, {Tokens::Mteval13a, "13a"}, {Tokens::International, "intl"}}[tokens];
    all["bleu " + name] = bleu(cases, {.tokens = tokens});
  }
  all["bleu lower"] = bleu(cases, {.letters = graft::LetterCase::Lower});
  all["bleu smooth none"] = bleu(cases, {.smoothing = BleuSmoothing::None});
  all["bleu smooth floor"] = bleu(cases, {.smoothing = BleuSmoothing::Floor});
  all["bleu smooth floor 0.5"] = bleu(cases, {.smoothing = BleuSmoothing::Floor, .smoothing_value = 0.5});
  all["bleu smooth add-k"] = bleu(cases, {.smoothing = BleuSmoothing::AddK});
  all["bleu order 2"] = bleu(cases, {.max_order = 2});
  all["bleu_e2e"] = {{"corpus", graft::corpus_bleu(cases, graft::e2e_bleu()).score}};
  all["nist"] = {{"corpus", graft::corpus_nist(cases)}};
  all["nist pymteval"] = {{"corpus", graft::corpus_nist(cases, {.letters = graft::LetterCase::Lower,
                                                                .length = graft::NistLength::Pymteval})}};
  for (const auto* name : {"rougeL_e2e", "cider_e2e"}) all[name] = {{"corpus", graft::text_metric(name).score(cases)}};
  all["chrf"] = chrf(cases, {});
  all["chrf++"] = chrf(cases, {.word_order = 2});
  all["chrf lower whitespace beta 3"] = chrf(cases, {.beta = 3, .lowercase = true, .whitespace = true});
  all["chrf eps"] = chrf(cases, {.word_order = 1, .eps_smoothing = true});
  all["ter"] = ter(cases, {});
  all["ter case"] = ter(cases, {.case_sensitive = true});
  all["ter normalised"] = ter(cases, {.tokens = {.normalised = true}});
  all["ter no punctuation"] = ter(cases, {.tokens = {.no_punctuation = true}});
  for (const bool stem : {false, true}) {
    const std::string suffix = stem ? " stem" : "";
    const graft::RougeSettings settings{stem};
    all["rouge1" + suffix] = rouge(graft::rouge_n(cases, 1, settings));
    all["rouge2" + suffix] = rouge(graft::rouge_n(cases, 2, settings));
    all["rougeL" + suffix] = rouge(graft::rouge_l(cases, settings));
    all["rougeLsum" + suffix] = rouge(graft::rouge_l_sum(cases, settings));
  }
  all["rougeL_coco"] = mean(graft::rouge_l_coco(cases));
  all["meteor"] = mean(graft::meteor(cases));
  all["meteor 0.8 1.5 0.3"] = mean(graft::meteor(cases, {.alpha = 0.8, .beta = 1.5, .gamma = 0.3}));
  all["cider"] = mean(graft::cider(cases));
  all["cider plain"] = mean(graft::cider(cases, graft::plain_cider()));
  std::cout << all.dump() << '\n';
}

void time(const TextCases& cases, int repeats) {
  json all;
  for (const graft::TextMetric& metric : graft::text_metrics()) {
    std::vector<double> seconds;
    for (int repeat = 0; repeat < repeats; ++repeat) {
      const auto start = graft::Clock::now();
      metric.score(cases);
      seconds.push_back(graft::seconds_since(start));
    }
    all[metric.name] = seconds;
  }
  std::cout << all.dump() << '\n';
}

void stems() {
  for (std::string word; std::getline(std::cin, word);) std::cout << graft::porter_stem(word) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::string mode = argv[1];
  try {
    if (mode == "stems") return stems(), 0;
    const Cases cases = read();
    if (mode == "scores") scores({cases.hypotheses, cases.references});
    if (mode == "time") time({cases.hypotheses, cases.references}, argc > 2 ? std::stoi(argv[2]) : 3);
  } catch (const graft::Error& error) {
    std::cerr << error.what() << '\n';
    return graft::exit_code(error.category());
  }
}
