#include "statistics/chrf.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "statistics/ngrams.h"
#include "statistics/words.h"
#include "text/unicode.h"

namespace graft {
namespace {

struct Counts {
  std::int64_t hypothesis = 0;
  std::int64_t reference = 0;
  std::int64_t matches = 0;
};

using Orders = std::vector<Counts>;  // of characters from 1, then of words from 1

struct Units {
  std::vector<std::uint32_t> characters;
  std::vector<std::uint32_t> words;
};

void append_points(std::vector<std::uint32_t>& points, std::string_view text) {
  for (std::size_t at = 0; at < text.size();) points.push_back(text::next_code_point(text, at));
}

// A sign at the end of a word, or else at its beginning, is a word of its own.
void append_word(std::vector<std::string_view>& words, std::string_view word) {
  const bool single = word.size() == text::utf8_length(static_cast<unsigned char>(word.front()));
  std::size_t cut = 0;
  if (!single && text::is_ascii_punctuation(word.back())) {
    cut = word.size() - 1;
  } else if (!single && text::is_ascii_punctuation(word.front())) {
    cut = 1;
  }
  if (cut > 0) words.push_back(word.substr(0, cut));
  words.push_back(word.substr(cut));
}

Units units_of(const std::string& raw, const ChrfSettings& settings, Vocabulary& vocabulary) {
  const std::string text = readable(raw, settings.lowercase ? LetterCase::Lower : LetterCase::AsWritten);
  const auto pieces = split_words(text);
  Units units;
  if (settings.whitespace) append_points(units.characters, text);
  std::vector<std::string_view> words;
  for (const std::string_view piece : pieces) {
    if (!settings.whitespace) append_points(units.characters, piece);
    if (settings.word_order > 0) append_word(words, piece);
  }
  units.words = vocabulary.numbers(words);
  return units;
}

double f_score(const Orders& orders, const ChrfSettings& settings) {
  constexpr double kTiny = 1e-16;
  const double factor = settings.beta * settings.beta;
  double sum = 0;
  double precision_sum = 0;
  double recall_sum = 0;
  double present = 0;
  for (const Counts& n : orders) {
    const auto part = [&](std::int64_t of) {
      return of > 0 ? static_cast<double>(n.matches) / static_cast<double>(of) : kTiny;
    };
    const double precision = part(n.hypothesis);
    const double recall = part(n.reference);
    const double denominator = factor * precision + recall;
    sum += denominator > 0 ? (1 + factor) * precision * recall / denominator : kTiny;
    if (n.hypothesis == 0 || n.reference == 0) continue;
    precision_sum += precision;
    recall_sum += recall;
    ++present;
  }
  if (settings.eps_smoothing) return 100 * sum / static_cast<double>(orders.size());
  if (precision_sum + recall_sum == 0) return 0;
  return 100 * (1 + factor) * precision_sum * recall_sum / (factor * precision_sum + recall_sum) / present;
}

void append_counts(Orders& orders, const NgramProfile& profile, std::size_t max_order, std::size_t hypothesis_units,
                   const std::vector<std::uint32_t>& reference) {
  const auto matches = profile.matches(profile.occurrences(reference));
  for (std::size_t order = 1; order <= max_order; ++order) {
    const auto in_reference = static_cast<std::int64_t>(ngrams_in(reference.size(), order));
    const auto in_hypothesis = static_cast<std::int64_t>(ngrams_in(hypothesis_units, order));
    orders.push_back({in_reference > 0 ? in_hypothesis : 0, in_reference, matches[order - 1]});
  }
}

// Counts against the reference with the best score, the first of equals.
Orders best_counts(const std::string& hypothesis, const std::vector<std::string>& references,
                   const ChrfSettings& settings) {
  Vocabulary vocabulary;
  const Units units = units_of(hypothesis, settings, vocabulary);
  const NgramProfile characters(units.characters, settings.char_order);
  const NgramProfile words(units.words, settings.word_order);
  Orders best;
  double best_score = -1;
  for (const std::string& text : references) {
    const Units reference = units_of(text, settings, vocabulary);
    Orders orders;
    append_counts(orders, characters, settings.char_order, units.characters.size(), reference.characters);
    append_counts(orders, words, settings.word_order, units.words.size(), reference.words);
    const double score = f_score(orders, settings);
    if (score <= best_score) continue;
    best_score = score;
    best = std::move(orders);
  }
  return best;
}

}  // namespace

CaseSums chrf_sums(const TextCases& cases, const ChrfSettings& settings) {
  check_cases("chrF", cases);
  if (settings.char_order > 0 || settings.word_order == 0) check_order("chrF", settings.char_order);
  if (settings.word_order > 0) check_order("chrF", settings.word_order);
  CaseSums sums;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    auto& counts = sums.emplace_back();
    for (const Counts& order : best_counts(cases.hypotheses[i], cases.references[i], settings)) {
      for (const std::int64_t count : {order.hypothesis, order.reference, order.matches})
        counts.push_back(static_cast<double>(count));
    }
  }
  return sums;
}

double chrf_of(std::span<const double> sums, const ChrfSettings& settings) {
  Orders orders;
  for (std::size_t i = 0; i + 2 < sums.size(); i += 3)
    orders.push_back({static_cast<std::int64_t>(sums[i]), static_cast<std::int64_t>(sums[i + 1]),
                      static_cast<std::int64_t>(sums[i + 2])});
  return f_score(orders, settings);
}

double corpus_chrf(const TextCases& cases, const ChrfSettings& settings) {
  return chrf_of(total_of(chrf_sums(cases, settings)), settings);
}

}  // namespace graft
