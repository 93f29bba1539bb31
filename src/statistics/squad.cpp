#include "statistics/squad.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "statistics/words.h"
#include "text/unicode.h"

namespace graft {
namespace {

// What \w matches in Python, the underscore aside, which is punctuation and gone: letters and numbers, no marks.
bool is_word_character(char32_t point) {
  return text::is_letter(point) || text::is_numeric(point);
}

// Articles as one space.
std::string without_articles(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    std::size_t next = at;
    while (next < text.size() && is_word_character(text::next_code_point(text, next))) at = next;
    const std::string_view word = text.substr(begin, at - begin);
    result += word == "a" || word == "an" || word == "the" ? std::string_view(" ") : word;
    if (at >= text.size()) break;
    next = at;
    text::next_code_point(text, next);  // what ended the word
    result += text.substr(at, next - at);
    at = next;
  }
  return result;
}

double f1_of(std::string_view text, std::string_view reference) {
  const auto words = split_words(text), wanted = split_words(reference);
  if (words.empty() || wanted.empty()) return words.empty() && wanted.empty() ? 1 : 0;
  std::map<std::string_view, std::int64_t> left;
  for (const auto word : wanted) ++left[word];
  std::int64_t same = 0;
  for (const auto word : words) {
    const auto found = left.find(word);
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++same;
  }
  if (same == 0) return 0;
  const double precision = static_cast<double>(same) / static_cast<double>(words.size());
  const double recall = static_cast<double>(same) / static_cast<double>(wanted.size());
  return 2 * precision * recall / (precision + recall);
}

double exact(std::string_view text, std::string_view reference) {
  return text == reference ? 1 : 0;
}

// The best over the references of each case.
CaseScores best_of_references(const char* name, const TextCases& cases,
                              double (*score)(std::string_view, std::string_view)) {
  return mean_over_cases(name, cases, [&](std::size_t i) {
    const std::string text = squad_normalised(cases.hypotheses[i]);
    double best = 0;
    for (const auto& reference : cases.references[i]) best = std::max(best, score(text, squad_normalised(reference)));
    return best;
  });
}

}  // namespace

std::string squad_normalised(std::string_view text) {
  std::string plain = readable(text, LetterCase::Lower);
  plain.erase(std::remove_if(plain.begin(), plain.end(), text::is_ascii_punctuation), plain.end());
  const std::string open = without_articles(plain);
  std::string joined;
  for (const auto word : split_words(open)) {
    if (!joined.empty()) joined += ' ';
    joined += word;
  }
  return joined;
}

CaseScores squad_exact_match(const TextCases& cases) {
  return best_of_references("squad_exact_match", cases, exact);
}

CaseScores squad_f1(const TextCases& cases) {
  return best_of_references("squad_f1", cases, f1_of);
}

}  // namespace graft
