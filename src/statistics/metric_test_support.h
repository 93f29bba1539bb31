// Cases of the metrics' tests. The expected numbers beside them come from the reference implementations in the versions
// that the headers name, run on the same texts (tests/compat/metrics_parity.py compares a thousand more).
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "statistics/text_cases.h"

namespace graft {

/// Texts of cases, which TextCases only views.
struct OwnedCases {
  std::vector<std::string> hypotheses;
  std::vector<std::vector<std::string>> references;

  TextCases view() const { return {hypotheses, references}; }
};

inline OwnedCases one_case(const std::string& hypothesis, const std::vector<std::string>& references) {
  return {{hypothesis}, {references}};
}

inline const OwnedCases& golden_cases() {
  static const OwnedCases cases = {
      {"The Cricketers is a cheap, family-friendly pub near All Bar One.",
       "It serves food for less than £20.50 in the city centre", "", "Rated rating rates the the the",
       "one five two four three six seven eight nine ten eleven"},
      {{"The Cricketers is a family friendly pub near All Bar One .",
        "Near All Bar One is a cheap pub, The Cricketers, which is family friendly."},
       {"Its prices are less than £20.50; it serves Chinese food in the city centre.",
        "In the city centre it serves food (Chinese) for less than £20.50 ."},
       {"Café Sicilia is rated 5 out of 5."},
       {"The rating is high; customers rated it 5 out of 5", "It has the highest rating"},
       {"one two three four five six seven eight nine ten eleven twelve"}}};
  return cases;
}

/// `score` of the golden cases, each alone.
template <class Score>
std::vector<double> each_alone(Score score) {
  std::vector<double> values;
  for (std::size_t i = 0; i < golden_cases().hypotheses.size(); ++i)
    values.push_back(score(golden_cases().view().only(i)));
  return values;
}

inline void expect_near(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-10) << "case " << i;
}

/// `score` throws InvalidArgument for what no metric can score.
template <class Score>
void expect_refusals(Score score) {
  const auto refused = [&](const OwnedCases& cases) {
    try {
      score(cases.view());
    } catch (const Error& error) {
      return error.category() == Category::InvalidArgument;
    }
    return false;
  };
  EXPECT_TRUE(refused({})) << "no cases";
  EXPECT_TRUE(refused({{"a", "b"}, {{"a"}}})) << "different numbers of hypotheses and references";
  EXPECT_TRUE(refused({{"a", "b"}, {{"a"}, {}}})) << "a case without references";
}

}  // namespace graft
