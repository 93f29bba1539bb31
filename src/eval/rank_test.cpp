#include "eval/rank.h"

#include <gtest/gtest.h>

#include <cmath>

#include "generate/fake_tokenizer_test.h"

namespace graft {
namespace {

// Three letters of two bytes each, and four of one.
ChoiceTokens other_letters() {
  Example example;
  example.prompt = "a";
  example.choices = {"\u00e9\u00e9\u00e9", "abcd"};
  return tokenize(example, ByteTokenizer(), {});
}

// By hand: -6 / 3 = -2 and -5 / 4 = -1.25 a letter, -6 / 6 = -1 and -1.25 a byte.
TEST(Ranked, LettersAndBytesAreNotTheSame) {
  const ChoiceTokens tokens = other_letters();
  ASSERT_EQ(tokens.choices.size(), 2u);
  const RankedExample by_chars = ranked(tokens, {-6, -5}, normalisation_of("chars")),
                      by_bytes = ranked(tokens, {-6, -5}, normalisation_of("bytes"));
  EXPECT_EQ(by_chars.prediction, 1);
  EXPECT_DOUBLE_EQ(by_chars.scores[0], -2);
  EXPECT_DOUBLE_EQ(by_chars.scores[1], -1.25);
  EXPECT_EQ(by_bytes.prediction, 0);
  EXPECT_DOUBLE_EQ(by_bytes.scores[0], -1);
  EXPECT_DOUBLE_EQ(by_bytes.scores[1], -1.25);
}

TEST(Ranked, EachNormalisationDividesByItsOwnLength) {
  ChoiceTokens tokens;
  tokens.choices = {{{1, 2, 3, 4, 5}, 3, 6, 1}, {{6, 7}, 4, 4}};  // one token of the first is read only
  const auto scores = [&](const char* name) { return ranked(tokens, {-6, -8}, normalisation_of(name)).scores; };
  EXPECT_EQ(scores("none"), (std::vector<double>{-6, -8}));
  EXPECT_EQ(scores("tokens"), (std::vector<double>{-1.5, -4}));
  EXPECT_EQ(scores("chars"), (std::vector<double>{-2, -2}));
  EXPECT_EQ(scores("bytes"), (std::vector<double>{-1, -2}));
  EXPECT_EQ(scores("pmi"), (std::vector<double>{-6, -8})) << "the neutral prompt's are off already";
}

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
