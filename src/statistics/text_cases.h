// What the generation metrics score: generated texts, each with its references.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace graft {

/// Views; the texts must outlive them. A reference or a hypothesis may be empty, a list of references may not. Bytes
/// that are not UTF-8 are read as U+FFFD.
struct TextCases {
  std::span<const std::string> hypotheses;
  std::span<const std::vector<std::string>> references;  ///< of each hypothesis, in the order of the hypotheses
  /// Texts that are wrong, likewise; empty, or a list without texts, where they are not told.
  std::span<const std::vector<std::string>> false_references = {};

  std::size_t size() const { return hypotheses.size(); }
  /// One case alone; a score of it is the score of a sentence.
  TextCases only(std::size_t index) const {
    return {hypotheses.subspan(index, 1), references.subspan(index, 1),
            false_references.empty() ? false_references : false_references.subspan(index, 1)};
  }
};

/// Throws InvalidArgument, which names the metric: no cases, lists of different lengths, a case without references.
void check_cases(const std::string& metric, const TextCases& cases);

/// What each case adds to a metric of all cases: lists of one length, which are added up. Cases that are drawn again
/// and again (the bootstrap) are so read once.
using CaseSums = std::vector<std::vector<double>>;

/// The sum over all cases, at least one.
std::vector<double> total_of(const CaseSums& sums);

/// A metric that is a mean over cases.
struct CaseScores {
  double mean = 0;
  std::vector<double> each;
};

/// Throws InvalidArgument as check_cases. `score` gives the value of the case at an index.
template <class Score>
CaseScores mean_over_cases(const std::string& metric, const TextCases& cases, Score score) {
  check_cases(metric, cases);
  CaseScores scores;
  for (std::size_t i = 0; i < cases.size(); ++i) scores.each.push_back(score(i));
  for (const double value : scores.each) scores.mean += value / static_cast<double>(cases.size());
  return scores;
}

}  // namespace graft
