#include "statistics/nist.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "statistics/ngrams.h"

namespace graft {
namespace {

using Words = std::vector<Vocabulary::Word>;

struct Corpus {
  std::vector<Words> hypotheses;
  std::vector<std::vector<Words>> references;
  Ngrams ngrams;                        // of the references
  std::vector<std::int64_t> frequency;  // of each n-gram; of the one without words, the words of all references
};

Corpus read(const TextCases& cases, const NistSettings& settings) {
  Corpus corpus;
  Vocabulary vocabulary;
  const auto words = [&](const std::string& text) {
    return vocabulary.numbers(split_words(tokenise(readable(text, settings.letters), settings.tokens)));
  };
  corpus.frequency.assign(1, 0);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    corpus.hypotheses.push_back(words(cases.hypotheses[i]));
    auto& references = corpus.references.emplace_back();
    for (const std::string& text : cases.references[i]) {
      references.push_back(words(text));
      const auto all = corpus.ngrams.add_all(references.back(), settings.max_order);
      corpus.frequency.resize(corpus.ngrams.size(), 0);
      for (const Ngrams::Number ngram : all) ++corpus.frequency[ngram];
      corpus.frequency[0] += static_cast<std::int64_t>(references.back().size());
    }
  }
  return corpus;
}

double reference_length(const Corpus& corpus, NistLength length) {
  double mean_references = 0;
  double sum_of_means = 0;
  const auto cases = static_cast<double>(corpus.references.size());
  for (const auto& references : corpus.references) {
    for (const Words& reference : references) {
      sum_of_means += static_cast<double>(reference.size()) / static_cast<double>(references.size());
      mean_references += reference.empty() ? 0 : 1 / cases;
    }
  }
  return length == NistLength::Pymteval ? sum_of_means : static_cast<double>(corpus.frequency[0]) / mean_references;
}

// 1/2 for a text of two thirds of the length (equation 3).
double brevity_penalty(double ratio) {
  if (ratio >= 1) return 1;
  if (ratio <= 0) return 0;
  return std::exp(std::log(0.5) * std::pow(std::log(ratio) / std::log(1.5), 2));
}

// Bits that the last word of an n-gram adds to those before it.
double information(const Corpus& corpus, Ngrams::Number ngram) {
  return std::log2(static_cast<double>(corpus.frequency[corpus.ngrams.prefix(ngram)]) /
                   static_cast<double>(corpus.frequency[ngram]));
}

// Adds the information of the n-grams of one case that match, each at most as often as one reference has it. `most` is
// zero for every n-gram before and after.
void add_information(const Corpus& corpus, std::size_t index, std::size_t max_order, std::vector<std::uint32_t>& most,
                     std::vector<double>& by_order) {
  std::vector<std::vector<NgramCount>> references;
  for (const Words& reference : corpus.references[index]) {
    references.push_back(counted(corpus.ngrams.find_all(reference, max_order)));
    for (const NgramCount& found : references.back()) most[found.ngram] = std::max(most[found.ngram], found.count);
  }
  for (const NgramCount& found : counted(corpus.ngrams.find_all(corpus.hypotheses[index], max_order))) {
    const std::uint32_t matches = std::min(found.count, most[found.ngram]);
    if (matches > 0) by_order[corpus.ngrams.order(found.ngram) - 1] += matches * information(corpus, found.ngram);
  }
  for (const auto& counts : references) {
    for (const NgramCount& found : counts) most[found.ngram] = 0;
  }
}

}  // namespace

double corpus_nist(const TextCases& cases, const NistSettings& settings) {
  check_cases("NIST", cases);
  check_order("NIST", settings.max_order);
  const Corpus corpus = read(cases, settings);
  if (corpus.frequency[0] == 0)
    fail(Category::InvalidArgument, "NIST", "all references are empty; give at least one word");
  std::vector<double> information(settings.max_order, 0);
  std::vector<std::uint32_t> most(corpus.ngrams.size(), 0);
  for (std::size_t i = 0; i < cases.size(); ++i) add_information(corpus, i, settings.max_order, most, information);
  double score = 0;
  std::size_t words = 0;
  for (std::size_t order = 1; order <= settings.max_order; ++order) {
    std::size_t total = 0;
    for (const Words& hypothesis : corpus.hypotheses) total += ngrams_in(hypothesis.size(), order);
    score += information[order - 1] / static_cast<double>(std::max<std::size_t>(total, 1));
    if (order == 1) words = total;
  }
  return score * brevity_penalty(static_cast<double>(words) / reference_length(corpus, settings.length));
}

}  // namespace graft
