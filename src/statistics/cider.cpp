#include "statistics/cider.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "statistics/ngrams.h"
#include "statistics/words.h"

namespace graft {
namespace {

struct Weight {
  Ngrams::Number ngram = 0;
  double value = 0;
};

// One text as a vector of TF-IDF weights, by n-gram in ascending order.
struct Vector {
  std::vector<Weight> weights;
  std::vector<double> norms;  // by order from 1
  double bigrams = 0;
};

struct Case {
  std::vector<NgramCount> hypothesis;
  std::vector<std::vector<NgramCount>> references;
};

class CiderCorpus {
 public:
  CiderCorpus(const TextCases& cases, const CiderSettings& settings) : settings_(settings) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      Case& one = cases_.emplace_back();
      one.hypothesis = read(cases.hypotheses[i]);
      std::vector<Ngrams::Number> present;
      for (const std::string& text : cases.references[i]) {
        one.references.push_back(read(text));
        for (const NgramCount& found : one.references.back()) present.push_back(found.ngram);
      }
      any_ = any_ || !present.empty();
      frequency_.resize(ngrams_.size(), 0);
      for (const NgramCount& found : counted(std::move(present))) ++frequency_[found.ngram];
    }
  }

  // Whether any reference has a word.
  bool any() const { return any_; }

  double score(std::size_t index) const {
    const Vector hypothesis = weigh(cases_[index].hypothesis);
    double sum = 0;
    for (const auto& reference : cases_[index].references) sum += similarity(hypothesis, weigh(reference));
    return 10 * sum / static_cast<double>(cases_[index].references.size());
  }

 private:
  std::vector<NgramCount> read(const std::string& text) {
    const std::string line = readable(text, LetterCase::AsWritten);
    return counted(ngrams_.add_all(vocabulary_.numbers(split_words(line)), settings_.max_order));
  }

  Vector weigh(const std::vector<NgramCount>& counts) const {
    Vector vector;
    vector.norms.assign(settings_.max_order, 0);
    const double cases = std::log(static_cast<double>(cases_.size()));
    for (const NgramCount& found : counts) {
      const double rarity = cases - std::log(std::max(1.0, frequency_[found.ngram]));
      vector.weights.push_back({found.ngram, found.count * rarity});
      const std::size_t order = ngrams_.order(found.ngram);
      vector.norms[order - 1] += std::pow(vector.weights.back().value, 2);
      if (order == 2) vector.bigrams += found.count;
    }
    for (double& norm : vector.norms) norm = std::sqrt(norm);
    return vector;
  }

  // Mean over the orders of the cosine, with what the settings add.
  double similarity(const Vector& hypothesis, const Vector& reference) const {
    std::vector<double> products(settings_.max_order, 0);
    auto other = reference.weights.begin();
    for (const Weight& weight : hypothesis.weights) {
      while (other != reference.weights.end() && other->ngram < weight.ngram) ++other;
      if (other == reference.weights.end()) break;
      if (other->ngram != weight.ngram) continue;
      const double kept = settings_.clipped ? std::min(weight.value, other->value) : weight.value;
      products[ngrams_.order(weight.ngram) - 1] += kept * other->value;
    }
    double sum = 0;
    for (std::size_t i = 0; i < products.size(); ++i) {
      const double norms = hypothesis.norms[i] * reference.norms[i];
      if (norms != 0) sum += products[i] / norms;
    }
    const double difference = hypothesis.bigrams - reference.bigrams;
    const double penalty =
        settings_.sigma > 0 ? std::exp(-difference * difference / (2 * settings_.sigma * settings_.sigma)) : 1;
    return sum * penalty / static_cast<double>(settings_.max_order);
  }

  const CiderSettings& settings_;
  Vocabulary vocabulary_;
  Ngrams ngrams_;
  std::vector<Case> cases_;
  std::vector<double> frequency_;  // cases whose references have the n-gram
  bool any_ = false;
};

}  // namespace

CaseScores cider(const TextCases& cases, const CiderSettings& settings) {
  check_cases("CIDEr", cases);
  check_order("CIDEr", settings.max_order);
  const CiderCorpus corpus(cases, settings);
  if (!corpus.any()) fail(Category::InvalidArgument, "CIDEr", "all references are empty; give at least one word");
  return mean_over_cases("CIDEr", cases, [&](std::size_t index) { return corpus.score(index); });
}

CiderSettings plain_cider() {
  CiderSettings settings;
  settings.clipped = false;
  settings.sigma = 0;
  return settings;
}

}  // namespace graft
