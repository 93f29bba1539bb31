#include "statistics/nist.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "statistics/ngrams.h"

namespace graft {
namespace {

using Words = std::vector<Vocabulary::Word>;

struct NistCorpus {
  std::vector<Words> hypotheses;
  std::vector<std::vector<Words>> references;
  Ngrams ngrams;                        // of the references
  std::vector<std::int64_t> frequency;  // of each n-gram; of the one without words, the words of all references
};

NistCorpus read(const TextCases& cases, const NistSettings& settings) {
  NistCorpus corpus;
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

// Of one case, or of cases added up.
struct Lengths {
  double words = 0;      // of all references
  double mean = 0;       // of the references of a case
  double not_empty = 0;  // references
  double cases = 0;
};

Lengths lengths_of(const std::vector<Words>& references) {
  Lengths lengths;
  lengths.cases = 1;
  for (const Words& reference : references) {
    lengths.words += static_cast<double>(reference.size());
    lengths.mean += static_cast<double>(reference.size()) / static_cast<double>(references.size());
    lengths.not_empty += reference.empty() ? 0 : 1;
  }
  return lengths;
}

double reference_length(const Lengths& lengths, NistLength length) {
  if (length == NistLength::Pymteval) return lengths.mean;
  return lengths.not_empty > 0 ? lengths.words / (lengths.not_empty / lengths.cases) : 0;
}

// 1/2 for a text of two thirds of the length (equation 3).
double brevity_penalty(double ratio) {
  if (ratio >= 1) return 1;
  if (ratio <= 0) return 0;
  return std::exp(std::log(0.5) * std::pow(std::log(ratio) / std::log(1.5), 2));
}

// Bits that the last word of an n-gram adds to those before it.
double information(const NistCorpus& corpus, Ngrams::Number ngram) {
  return std::log2(static_cast<double>(corpus.frequency[corpus.ngrams.prefix(ngram)]) /
                   static_cast<double>(corpus.frequency[ngram]));
}

// Adds the information of the n-grams of one case that match, each at most as often as one reference has it. `most` is
// zero for every n-gram before and after.
void add_information(const NistCorpus& corpus, std::size_t index, std::size_t max_order,
                     std::vector<std::uint32_t>& most, std::vector<double>& by_order) {
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

CaseSums nist_sums(const TextCases& cases, const NistSettings& settings) {
  check_cases("NIST", cases);
  check_order("NIST", settings.max_order);
  const NistCorpus corpus = read(cases, settings);
  if (corpus.frequency[0] == 0)
    fail(Category::InvalidArgument, "NIST", "all references are empty; give at least one word");
  CaseSums sums;
  std::vector<std::uint32_t> most(corpus.ngrams.size(), 0);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    auto& one = sums.emplace_back(settings.max_order, 0.0);
    add_information(corpus, i, settings.max_order, most, one);
    for (std::size_t order = 1; order <= settings.max_order; ++order)
      one.push_back(static_cast<double>(ngrams_in(corpus.hypotheses[i].size(), order)));
    const Lengths lengths = lengths_of(corpus.references[i]);
    one.insert(one.end(), {lengths.words, lengths.mean, lengths.not_empty, lengths.cases});
  }
  return sums;
}

double nist_of(std::span<const double> sums, const NistSettings& settings) {
  const std::size_t orders = settings.max_order;
  double score = 0;
  for (std::size_t i = 0; i < orders; ++i) score += sums[i] / std::max(sums[orders + i], 1.0);
  const auto rest = sums.subspan(2 * orders);
  const double length = reference_length({rest[0], rest[1], rest[2], rest[3]}, settings.length);
  return length > 0 ? score * brevity_penalty(sums[orders] / length) : 0;
}

double corpus_nist(const TextCases& cases, const NistSettings& settings) {
  return nist_of(total_of(nist_sums(cases, settings)), settings);
}

}  // namespace graft
