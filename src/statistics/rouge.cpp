#include "statistics/rouge.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>

#include "statistics/ngrams.h"
#include "statistics/porter.h"
#include "statistics/words.h"

namespace graft {
namespace {

using Words = std::vector<Vocabulary::Word>;

std::vector<std::string_view> pieces_of(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  for (std::size_t end = 0; (end = text.find(separator)) != std::string_view::npos; text.remove_prefix(end + 1))
    pieces.push_back(text.substr(0, end));
  pieces.push_back(text);
  return pieces;
}

class RougeReader {
 public:
  explicit RougeReader(const RougeSettings& settings) : settings_(settings) {}

  Words words(std::string_view text) {
    const std::string lower = readable(text, LetterCase::Lower);
    const auto in_word = [](char unit) { return (unit >= 'a' && unit <= 'z') || (unit >= '0' && unit <= '9'); };
    Words words;
    for (auto at = lower.begin(); (at = std::find_if(at, lower.end(), in_word)) != lower.end();) {
      const auto end = std::find_if_not(at, lower.end(), in_word);
      words.push_back(number({at, end}));
      at = end;
    }
    return words;
  }

  // Of each line that is not empty.
  std::vector<Words> lines(std::string_view text) {
    std::vector<Words> lines;
    for (const std::string_view line : pieces_of(text, '\n')) {
      if (!line.empty()) lines.push_back(words(line));
    }
    return lines;
  }

 private:
  Vocabulary::Word number(std::string_view word) {
    if (!settings_.stem || word.size() <= 3) return vocabulary_.number(word);
    const Vocabulary::Word whole = whole_.number(word);
    if (whole == stems_.size()) stems_.push_back(vocabulary_.number(porter_stem(word)));
    return stems_[whole];
  }

  const RougeSettings& settings_;
  Vocabulary vocabulary_;
  Vocabulary whole_;                     // words before they are cut
  std::vector<Vocabulary::Word> stems_;  // of each of those
};

RougeScore score_of(std::size_t hits, std::size_t hypothesis, std::size_t reference) {
  RougeScore score;
  score.precision = static_cast<double>(hits) / static_cast<double>(std::max<std::size_t>(hypothesis, 1));
  score.recall = static_cast<double>(hits) / static_cast<double>(std::max<std::size_t>(reference, 1));
  const double sum = score.precision + score.recall;
  score.f1 = sum > 0 ? 2 * score.precision * score.recall / sum : 0;
  return score;
}

// score_of(hypothesis, reference), each as `read` reads it; of several references the first with the best F1.
template <class Read, class Score>
Rouge over_cases(const TextCases& cases, Read read, Score score) {
  check_cases("ROUGE", cases);
  Rouge rouge;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto hypothesis = read(cases.hypotheses[i]);
    RougeScore best{0, 0, -1};
    for (const std::string& reference : cases.references[i]) {
      const RougeScore found = score(hypothesis, read(reference));
      if (found.f1 > best.f1) best = found;
    }
    rouge.each.push_back(best);
  }
  const auto count = static_cast<double>(cases.size());
  for (const RougeScore& found : rouge.each) {
    rouge.mean.precision += found.precision / count;
    rouge.mean.recall += found.recall / count;
    rouge.mean.f1 += found.f1 / count;
  }
  return rouge;
}

// Length of the longest common subsequence of the first i words of one and the first j of the other.
class Subsequences {
 public:
  Subsequences(const Words& first, const Words& second)
      : first_(first), second_(second), lengths_((first.size() + 1) * (second.size() + 1), 0) {
    for (std::size_t i = 1; i <= first.size(); ++i) {
      for (std::size_t j = 1; j <= second.size(); ++j) {
        at(i, j) = first[i - 1] == second[j - 1] ? at(i - 1, j - 1) + 1 : std::max(at(i - 1, j), at(i, j - 1));
      }
    }
  }

  std::size_t longest() { return at(first_.size(), second_.size()); }

  // Marks the words of `first` in one longest common subsequence: of several, that with the earliest words of `first`.
  void mark(std::vector<bool>& marks) {
    std::size_t i = first_.size();
    std::size_t j = second_.size();
    while (i > 0 && j > 0) {
      if (first_[i - 1] == second_[j - 1]) {
        marks[i - 1] = true;
        --i;
        --j;
      } else if (at(i, j - 1) > at(i - 1, j)) {
        --j;
      } else {
        --i;
      }
    }
  }

 private:
  std::uint32_t& at(std::size_t i, std::size_t j) { return lengths_[i * (second_.size() + 1) + j]; }

  const Words& first_;
  const Words& second_;
  std::vector<std::uint32_t> lengths_;
};

std::size_t longest_common(const Words& first, const Words& second) {
  return Subsequences(first, second).longest();
}

using WordCounts = std::unordered_map<Vocabulary::Word, int>;

std::size_t count_words(const std::vector<Words>& lines, WordCounts& counts) {
  std::size_t total = 0;
  for (const Words& line : lines) {
    for (const Vocabulary::Word word : line) ++counts[word];
    total += line.size();
  }
  return total;
}

RougeScore score_lines(const std::vector<Words>& hypothesis, const std::vector<Words>& reference) {
  WordCounts in_hypothesis;
  WordCounts in_reference;
  const std::size_t hypothesis_words = count_words(hypothesis, in_hypothesis);
  const std::size_t reference_words = count_words(reference, in_reference);
  std::size_t hits = 0;
  for (const Words& line : reference) {
    std::vector<bool> marks(line.size(), false);
    for (const Words& other : hypothesis) Subsequences(line, other).mark(marks);
    for (std::size_t i = 0; i < line.size(); ++i) {
      // A word that the hypothesis has once is a hit once, in however many lines of the reference it is.
      if (!marks[i] || in_hypothesis[line[i]] == 0 || in_reference[line[i]] == 0) continue;
      ++hits;
      --in_hypothesis[line[i]];
      --in_reference[line[i]];
    }
  }
  return score_of(hits, hypothesis_words, reference_words);
}

}  // namespace

Rouge rouge_n(const TextCases& cases, std::size_t order, const RougeSettings& settings) {
  check_order("ROUGE", order);
  RougeReader reader(settings);
  const auto read = [&](const std::string& text) { return reader.words(text); };
  return over_cases(cases, read, [&](const Words& hypothesis, const Words& reference) {
    const NgramProfile profile(hypothesis, order);
    const auto hits = static_cast<std::size_t>(profile.matches(profile.occurrences(reference)).back());
    return score_of(hits, ngrams_in(hypothesis.size(), order), ngrams_in(reference.size(), order));
  });
}

Rouge rouge_l(const TextCases& cases, const RougeSettings& settings) {
  RougeReader reader(settings);
  const auto read = [&](const std::string& text) { return reader.words(text); };
  return over_cases(cases, read, [](const Words& hypothesis, const Words& reference) {
    return score_of(longest_common(reference, hypothesis), hypothesis.size(), reference.size());
  });
}

Rouge rouge_l_sum(const TextCases& cases, const RougeSettings& settings) {
  RougeReader reader(settings);
  return over_cases(
      cases, [&](const std::string& text) { return reader.lines(text); }, score_lines);
}

CaseScores rouge_l_coco(const TextCases& cases, double beta) {
  Vocabulary vocabulary;
  const auto words = [&](const std::string& text) {
    return vocabulary.numbers(pieces_of(readable(text, LetterCase::AsWritten), ' '));
  };
  return mean_over_cases("ROUGE-L", cases, [&](std::size_t index) {
    const Words hypothesis = words(cases.hypotheses[index]);
    double precision = 0;
    double recall = 0;
    for (const std::string& text : cases.references[index]) {
      const Words reference = words(text);
      const auto common = static_cast<double>(longest_common(reference, hypothesis));
      precision = std::max(precision, common / static_cast<double>(hypothesis.size()));
      recall = std::max(recall, common / static_cast<double>(reference.size()));
    }
    if (precision == 0 || recall == 0) return 0.0;
    return (1 + beta * beta) * precision * recall / (recall + beta * beta * precision);
  });
}

}  // namespace graft
