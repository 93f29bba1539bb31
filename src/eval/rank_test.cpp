#include "eval/rank.h"

#include <gtest/gtest.h>

#include <cmath>

namespace graft {
namespace {

RankedExample with_probabilities(const std::vector<double>& probabilities, double shift) {
  ChoiceTokens tokens;
  std::vector<double> sums;
  for (const double p : probabilities) {
    tokens.choices.push_back({{7}, 1, 1});
    sums.push_back(std::log(p) + shift);
  }
  tokens.label = 1;
  return ranked(tokens, sums, Normalisation::None);
}

// By hand: W p = (0.7 / 0.8, 0.3 / 0.2) = (0.875, 1.5), which normalised is (7 / 19, 12 / 19).
TEST(ContextualCalibration, DividesByWhatTheContextAloneSays) {
  const RankedExample example = with_probabilities({0.7, 0.3}, -5), empty = with_probabilities({0.8, 0.2}, 3);
  EXPECT_EQ(example.prediction, 0);
  const RankedExample result = calibrated(example, {empty});
  EXPECT_EQ(result.prediction, 1);
  EXPECT_EQ(result.label, 1);
  ASSERT_EQ(result.probabilities.size(), 2u);
  EXPECT_NEAR(result.probabilities[0], 7.0 / 19, 1e-12);
  EXPECT_NEAR(result.probabilities[1], 12.0 / 19, 1e-12);
}

TEST(Ranked, AnyOfSeveralRightChoicesIsRight) {
  ChoiceTokens tokens;
  tokens.choices.resize(3);
  tokens.label = 0;
  tokens.truths = {0, 2};
  EXPECT_EQ(ranked(tokens, {-3, -2, -1}, Normalisation::None).label, 2) << "the answer is one of them";
  const RankedExample wrong = ranked(tokens, {-3, -1, -2}, Normalisation::None);
  EXPECT_EQ(wrong.label, 0) << "the first of them";
  EXPECT_EQ(wrong.prediction, 1);
  EXPECT_EQ(wrong.truths, tokens.truths);
  const RankedExample after = calibrated(wrong, {ranked(tokens, {-3, 0, -2}, Normalisation::None)});
  EXPECT_EQ(after.label, after.prediction) << "settled anew";
}

TEST(ContextualCalibration, ProbabilitiesOfSeveralInputsAreAveraged) {
  const RankedExample example = with_probabilities({0.7, 0.3}, -5);
  // Their mean is 0.6 and 0.4; that of their scores is another.
  const RankedExample result = calibrated(
      example,
      {with_probabilities({0.8, 0.2}, 3), with_probabilities({0.4, 0.6}, -2000), with_probabilities({0.6, 0.4}, 0)});
  EXPECT_EQ(result.prediction, 0);
  EXPECT_NEAR(result.probabilities[0], 14.0 / 23, 1e-12);
  EXPECT_NEAR(result.probabilities[1], 9.0 / 23, 1e-12);
}

TEST(ContextualCalibration, AnEvenContextChangesNothing) {
  const RankedExample example = with_probabilities({0.1, 0.6, 0.3}, 0), empty = with_probabilities({0.2, 0.2, 0.2}, 0);
  const RankedExample result = calibrated(example, {empty});
  EXPECT_EQ(result.prediction, 1);
  for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(result.probabilities[c], example.probabilities[c], 1e-12);
}

}  // namespace
}  // namespace graft
