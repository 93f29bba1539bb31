#include "statistics/bleu.h"

#include <algorithm>
#include <cmath>

#include "statistics/ngrams.h"

namespace graft {
namespace {

using Words = std::vector<Vocabulary::Word>;

// The reference length that is nearest, the shorter of two.
std::size_t nearest_length(std::size_t words, const std::vector<Words>& references) {
  const auto distance = [&](std::size_t length) { return length > words ? length - words : words - length; };
  std::size_t nearest = references.front().size();
  for (const Words& reference : references) {
    const std::size_t length = reference.size();
    if (distance(length) < distance(nearest) || (distance(length) == distance(nearest) && length < nearest))
      nearest = length;
  }
  return nearest;
}

void add_case(Bleu& bleu, const Words& hypothesis, const std::vector<Words>& references, std::size_t max_order) {
  const NgramProfile profile(hypothesis, max_order);
  std::vector<std::uint32_t> most;
  for (const Words& reference : references) {
    const auto found = profile.occurrences(reference);
    most.resize(found.size(), 0);
    std::transform(found.begin(), found.end(), most.begin(), most.begin(),
                   [](std::uint32_t a, std::uint32_t b) { return std::max(a, b); });
  }
  const auto matches = profile.matches(most);
  for (std::size_t order = 1; order <= max_order; ++order) {
    bleu.matches[order - 1] += matches[order - 1];
    bleu.totals[order - 1] += static_cast<std::int64_t>(ngrams_in(hypothesis.size(), order));
  }
  bleu.hypothesis_words += static_cast<std::int64_t>(hypothesis.size());
  bleu.reference_words += static_cast<std::int64_t>(nearest_length(hypothesis.size(), references));
}

double brevity_penalty(const Bleu& bleu) {
  if (bleu.hypothesis_words >= bleu.reference_words) return 1;
  if (bleu.hypothesis_words == 0) return 0;
  return std::exp(1 - static_cast<double>(bleu.reference_words) / static_cast<double>(bleu.hypothesis_words));
}

// Fills in the precisions; returns how many orders count.
std::size_t smooth(Bleu& bleu, const BleuSettings& settings) {
  const bool mteval = settings.smoothing == BleuSmoothing::Mteval;
  double halvings = 1;
  std::size_t orders = settings.effective_order ? 0 : settings.max_order;
  for (std::size_t i = 0; i < settings.max_order; ++i) {
    const double added = settings.smoothing == BleuSmoothing::AddK && i > 0 ? settings.smoothing_value.value_or(1) : 0;
    double matches = static_cast<double>(bleu.matches[i]) + added;
    const double total = static_cast<double>(bleu.totals[i]) + added;
    if (total == 0 && mteval) bleu.precisions[i] = 100;
    if (total == 0 && !mteval) break;
    if (total == 0) continue;
    if (settings.effective_order) orders = i + 1;
    if (matches == 0 && settings.smoothing == BleuSmoothing::Floor) matches = settings.smoothing_value.value_or(0.1);
    if (matches == 0 && (settings.smoothing == BleuSmoothing::Exp || mteval)) matches = 1 / (halvings *= 2);
    bleu.precisions[i] = 100 * matches / total;
  }
  return orders;
}

void score(Bleu& bleu, const BleuSettings& settings) {
  bleu.brevity_penalty = brevity_penalty(bleu);
  bleu.precisions.assign(settings.max_order, 0);
  const bool none = std::all_of(bleu.matches.begin(), bleu.matches.end(), [](std::int64_t n) { return n == 0; });
  if (none && (settings.smoothing != BleuSmoothing::Mteval || bleu.hypothesis_words == 0)) return;
  const std::size_t orders = smooth(bleu, settings);
  double sum = 0;
  for (std::size_t i = 0; i < orders; ++i) sum += std::log(bleu.precisions[i]);  // of 0: the score is 0
  bleu.score = bleu.brevity_penalty * std::exp(sum / static_cast<double>(orders));
}

}  // namespace

CaseSums bleu_sums(const TextCases& cases, const BleuSettings& settings) {
  check_cases("BLEU", cases);
  check_order("BLEU", settings.max_order);
  Vocabulary vocabulary;
  const auto words = [&](const std::string& text) {
    const std::string line = tokenise(without_space_at_end(readable(text, settings.letters)), settings.tokens);
    return vocabulary.numbers(split_words(line));
  };
  CaseSums sums;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    Bleu one;
    one.matches.assign(settings.max_order, 0);
    one.totals.assign(settings.max_order, 0);
    std::vector<Words> references;
    for (const std::string& reference : cases.references[i]) references.push_back(words(reference));
    add_case(one, words(cases.hypotheses[i]), references, settings.max_order);
    auto& counts = sums.emplace_back();
    counts.push_back(static_cast<double>(one.hypothesis_words));
    counts.push_back(static_cast<double>(one.reference_words));
    for (const std::int64_t count : one.matches) counts.push_back(static_cast<double>(count));
    for (const std::int64_t count : one.totals) counts.push_back(static_cast<double>(count));
  }
  return sums;
}

Bleu bleu_of(std::span<const double> sums, const BleuSettings& settings) {
  Bleu bleu;
  bleu.hypothesis_words = static_cast<std::int64_t>(sums[0]);
  bleu.reference_words = static_cast<std::int64_t>(sums[1]);
  for (std::size_t i = 0; i < settings.max_order; ++i) {
    bleu.matches.push_back(static_cast<std::int64_t>(sums[2 + i]));
    bleu.totals.push_back(static_cast<std::int64_t>(sums[2 + settings.max_order + i]));
  }
  score(bleu, settings);
  return bleu;
}

Bleu corpus_bleu(const TextCases& cases, const BleuSettings& settings) {
  return bleu_of(total_of(bleu_sums(cases, settings)), settings);
}

BleuSettings e2e_bleu() {
  BleuSettings settings;
  settings.letters = LetterCase::LowerAscii;
  settings.smoothing = BleuSmoothing::Mteval;
  return settings;
}

}  // namespace graft
