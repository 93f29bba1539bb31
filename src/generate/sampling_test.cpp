#include "generate/sampling.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace graft {
namespace {

using ::testing::ElementsAre;

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> result;
  for (const double p : probabilities) result.push_back(static_cast<float>(std::log(p)));
  return result;
}

SamplingOptions warm(double temperature = 1.0) {
  SamplingOptions options;
  options.temperature = temperature;
  return options;
}

std::vector<std::int64_t> tokens(const std::vector<Candidate>& kept) {
  std::vector<std::int64_t> result;
  for (const auto& candidate : kept) result.push_back(candidate.token);
  return result;
}

TEST(Sampling, WithoutFiltersIsSoftmax) {
  const auto kept = candidates(logs({0.1, 0.4, 0.3, 0.2}), warm());
  EXPECT_THAT(tokens(kept), ElementsAre(0, 1, 2, 3));
  EXPECT_NEAR(kept[1].probability, 0.4, 1e-7);
  EXPECT_NEAR(kept[3].probability, 0.2, 1e-7);
}

TEST(Sampling, TemperatureHalfSquaresTheOdds) {
  const auto kept = candidates(logs({0.2, 0.8}), warm(0.5));
  EXPECT_NEAR(kept[1].probability, 0.64 / 0.68, 1e-7);  // 0.8² / (0.8² + 0.2²)
}

TEST(Sampling, TopKKeepsTheLowestIdAmongEquals) {
  auto options = warm();
  options.top_k = 2;
  const auto kept = candidates(logs({0.25, 0.3, 0.25, 0.2}), options);
  EXPECT_THAT(tokens(kept), ElementsAre(1, 0));
  EXPECT_NEAR(kept[0].probability, 0.3 / 0.55, 1e-7);
}

TEST(Sampling, TopPKeepsTheTokenThatCrossesTheLine) {
  auto options = warm();
  options.top_p = 0.6;
  const auto kept = candidates(logs({0.1, 0.4, 0.3, 0.2}), options);
  EXPECT_THAT(tokens(kept), ElementsAre(1, 2));
  EXPECT_NEAR(kept[0].probability, 0.4 / 0.7, 1e-7);
  options.top_p = 1e-9;
  EXPECT_THAT(tokens(candidates(logs({0.1, 0.4, 0.3, 0.2}), options)), ElementsAre(1));
}

TEST(Sampling, TopPCountsWhatTopKLeft) {
  auto options = warm();
  options.top_k = 3;
  options.top_p = 0.7;  // of 0.9: 0.4 < 0.63 <= 0.4 + 0.3
  EXPECT_THAT(tokens(candidates(logs({0.1, 0.4, 0.3, 0.2}), options)), ElementsAre(1, 2));
}

TEST(Sampling, MinPIsAFractionOfTheMostProbable) {
  auto options = warm();
  options.min_p = 0.6;  // 0.24 of 0.4
  EXPECT_THAT(tokens(candidates(logs({0.1, 0.4, 0.3, 0.2}), options)), ElementsAre(1, 2));
  options.min_p = 1.0;
  EXPECT_THAT(tokens(candidates(logs({0.1, 0.4, 0.3, 0.2}), options)), ElementsAre(1));
}

TEST(Sampling, FlatDistributionKeepsItsShareUnderTopP) {
  auto options = warm();
  options.top_p = 0.5;
  const auto kept = candidates(std::vector<float>(8, 0.0f), options);
  EXPECT_THAT(tokens(kept), ElementsAre(0, 1, 2, 3));
}

TEST(Sampling, RepetitionPenaltyActsOncePerToken) {
  std::vector<float> logits = {2.0f, -2.0f, 1.0f};
  const std::vector<std::int64_t> history = {0, 1, 0, 1, 99, -1};
  penalise_repetition(logits, history, 2.0);
  EXPECT_THAT(logits, ElementsAre(1.0f, -4.0f, 1.0f));
}

TEST(Sampling, GreedyTakesTheLowestIdAmongEqualsAndDrawsNothing) {
  std::vector<float> logits = {0.0f, 3.0f, 3.0f};
  Rng rng(1);
  const auto before = rng.state();
  EXPECT_EQ(next_token(logits, {}, SamplingOptions(), rng), 1);
  EXPECT_EQ(rng.state(), before);
}

TEST(Sampling, DrawsFollowTheDistributionAndTheSeed) {
  const auto logits = logs({0.1, 0.6, 0.3});
  std::vector<int> counts(3, 0);
  Rng rng(7), again(7);
  for (int i = 0; i < 20000; ++i) {
    auto copy = logits, other = logits;
    const auto token = next_token(copy, {}, warm(), rng);
    ASSERT_EQ(token, next_token(other, {}, warm(), again));
    ++counts[static_cast<std::size_t>(token)];
  }
  EXPECT_NEAR(counts[0] / 20000.0, 0.1, 0.015);
  EXPECT_NEAR(counts[1] / 20000.0, 0.6, 0.015);
}

TEST(Sampling, ForbiddenTokensAreNeverDrawn) {
  const float never = -std::numeric_limits<float>::infinity();
  Rng rng(3);
  for (int i = 0; i < 1000; ++i) {
    std::vector<float> logits = {never, 0.0f, never};
    ASSERT_EQ(next_token(logits, {}, warm(), rng), 1);
  }
}

TEST(Sampling, TheBestTokenIsTheFirstOfTheLargest) {
  for (const std::size_t size : {1u, 16u, 1024u, 1025u, 3000u}) {
    for (const std::size_t best : {std::size_t{0}, size / 2, size - 1}) {
      std::vector<float> logits(size, -1.0f);
      logits[best] = logits[size - 1] = -0.5f;
      EXPECT_EQ(best_token(logits), static_cast<std::int64_t>(best)) << size;
      if (best > 0) logits[0] = -std::numeric_limits<float>::infinity();
      EXPECT_EQ(best_token(logits), static_cast<std::int64_t>(best)) << size;
      logits[size / 3] = std::numeric_limits<float>::quiet_NaN();
      EXPECT_THROW(best_token(logits), Error) << size;
    }
  }
}

TEST(Sampling, BrokenLogitsAreAnError) {
  const std::vector<float> broken = {0.0f, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THROW(best_token(broken), Error);
  EXPECT_THROW(candidates(broken, warm()), Error);
  EXPECT_THROW(best_token(std::vector<float>(2, -std::numeric_limits<float>::infinity())), Error);
  EXPECT_THROW(best_token({}), Error);
}

TEST(Sampling, OptionsOutsideTheirRangeAreRefused) {
  auto options = warm();
  options.top_p = 0.0;
  EXPECT_THROW(check(options), Error);
  options = warm(-1.0);
  EXPECT_THROW(check(options), Error);
  options = warm();
  options.min_p = 1.5;
  EXPECT_THROW(check(options), Error);
  options = warm();
  options.repetition_penalty = 0.0;
  EXPECT_THROW(check(options), Error);
  EXPECT_NO_THROW(check(warm()));
}

}  // namespace
}  // namespace graft
