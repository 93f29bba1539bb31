#include "statistics/bootstrap.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace graft {
namespace {

std::vector<std::int64_t> right_then_wrong(std::size_t right, std::size_t count) {
  std::vector<std::int64_t> predicted(count, 1);
  std::fill(predicted.begin(), predicted.begin() + static_cast<std::ptrdiff_t>(right), 0);
  return predicted;
}

const std::vector<std::int64_t> kTruth(200, 0);

TEST(Quantile, IsInterpolatedAsNumpyDoes) {
  EXPECT_DOUBLE_EQ(quantile({1, 2, 4, 8}, 0.25), 1.75);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 4, 8}, 0.5), 3);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 4, 8}, 1), 8);
  EXPECT_DOUBLE_EQ(quantile({3}, 0.75), 3);
  const double most = std::numeric_limits<double>::infinity();
  EXPECT_EQ(quantile({1, most, most}, 0.75), most);
  EXPECT_EQ(quantile({1, 2, most}, 0.75), most);
  EXPECT_EQ(quantile({1, 2, most}, 0.5), 2);
  EXPECT_EQ(quantile({-most, 2}, 0.25), -most);
}

TEST(Quantile, RefusesNonsense) {
  EXPECT_THROW(quantile({}, 0.5), Error);
  EXPECT_THROW(quantile({1, 2}, 1.01), Error);
  EXPECT_THROW(quantile({1, 2}, -0.01), Error);
  EXPECT_THROW(quantile({1, 2}, std::numeric_limits<double>::quiet_NaN()), Error);
}

TEST(Bootstrap, IntervalOfAccuracyAgreesWithNumpy) {
  // numpy's percentile bootstrap of 173 right in 200 with 200,000 resamples: [0.815, 0.910].
  const auto interval = bootstrap_metric("accuracy", kTruth, right_then_wrong(173, 200), 2);
  EXPECT_NEAR(interval.low, 0.815, 0.0051);
  EXPECT_NEAR(interval.high, 0.910, 0.0051);
}

TEST(Bootstrap, SameSeedSameInterval) {
  const auto predicted = right_then_wrong(120, 200);
  const auto a = bootstrap_metric("accuracy", kTruth, predicted, 2, {500, 0.9, 3});
  const auto b = bootstrap_metric("accuracy", kTruth, predicted, 2, {500, 0.9, 3});
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
}

TEST(Bootstrap, WiderLevelWiderInterval) {
  const auto predicted = right_then_wrong(120, 200);
  const auto narrow = bootstrap_metric("accuracy", kTruth, predicted, 2, {2000, 0.5, 0});
  const auto wide = bootstrap_metric("accuracy", kTruth, predicted, 2, {2000, 0.99, 0});
  EXPECT_LT(wide.low, narrow.low);
  EXPECT_GT(wide.high, narrow.high);
}

TEST(Bootstrap, PerfectPredictionsHaveNoWidth) {
  const auto interval = bootstrap_metric("macro_f1", kTruth, kTruth, 2);
  EXPECT_EQ(interval.low, 1.0);
  EXPECT_EQ(interval.high, 1.0);
}

TEST(Bootstrap, QuantilesAreInterpolated) {
  // Two resamples whose values are 0 and 1 in some order: the 95% interval is [0.025, 0.975].
  int call = 0;
  const auto interval = bootstrap(3, [&](auto) { return static_cast<double>(call++); }, {2, 0.95, 0});
  EXPECT_NEAR(interval.low, 0.025, 1e-12);
  EXPECT_NEAR(interval.high, 0.975, 1e-12);
}

TEST(PairedBootstrap, EqualPredictionsDoNotDiffer) {
  const auto predicted = right_then_wrong(120, 200);
  const auto result = paired_bootstrap("accuracy", kTruth, predicted, predicted, 2);
  EXPECT_EQ(result.difference, 0.0);
  EXPECT_EQ(result.p_value, 1.0);
}

TEST(PairedBootstrap, RoundingIsNoDifference) {
  const auto sum = [](auto) { return 0.1 + 0.2; };
  const auto same = [](auto) { return 0.3; };
  ASSERT_NE(sum(0), same(0));
  for (const auto& result : {paired_bootstrap(5, sum, same), paired_bootstrap(5, same, sum)}) {
    EXPECT_EQ(result.difference, 0.0);
    EXPECT_EQ(result.p_value, 1.0);
  }
}

TEST(PairedBootstrap, InfiniteValuesAreCompared) {
  const auto most = [](auto) { return std::numeric_limits<double>::infinity(); };
  const auto one = [](auto) { return 1.0; };
  EXPECT_EQ(paired_bootstrap(5, most, most).difference, 0.0);
  EXPECT_EQ(paired_bootstrap(5, most, most).p_value, 1.0);
  EXPECT_EQ(paired_bootstrap(5, one, most).interval.low, std::numeric_limits<double>::infinity());
  EXPECT_EQ(paired_bootstrap(5, most, one).interval.high, -std::numeric_limits<double>::infinity());
}

TEST(PairedBootstrap, SeesAConsistentImprovement) {
  const auto result = paired_bootstrap("accuracy", kTruth, right_then_wrong(120, 200), right_then_wrong(170, 200), 2);
  EXPECT_NEAR(result.difference, 0.25, 1e-12);
  EXPECT_GT(result.interval.low, 0.15);
  EXPECT_LT(result.interval.high, 0.35);
  EXPECT_LT(result.p_value, 0.001);
}

// 0 where it is right, as kTruth: `right` of them from `first` on.
std::vector<std::int64_t> right_from(std::size_t first, std::size_t right) {
  std::vector<std::int64_t> predicted(200, 1);
  std::fill_n(predicted.begin() + static_cast<std::ptrdiff_t>(first), right, 0);
  return predicted;
}

// numpy 2.4.6, 200,000 resamples of the examples' means over runs: [0.550, 0.650] around 0.6 (scipy 1.17.1, bootstrap,
// gives [0.548, 0.650]); of the paired difference [0.0733, 0.1267] around 0.1.
TEST(BootstrapRuns, IntervalOfTheMeanAgreesWithNumpy) {
  const auto a = right_from(0, 120), b = right_from(20, 140), c = right_from(60, 100);
  const auto interval = bootstrap_runs("accuracy", kTruth, {a, b, c}, 2, {20000, 0.95, 0});
  EXPECT_NEAR(interval.low, 0.550, 0.0035);
  EXPECT_NEAR(interval.high, 0.650, 0.0035);
  const auto d = right_from(0, 150), e = right_from(40, 130);
  const auto paired = paired_bootstrap_runs("accuracy", kTruth, {a, b, c}, {d, e}, 2, {20000, 0.95, 0});
  EXPECT_NEAR(paired.difference, 0.1, 1e-12);
  EXPECT_NEAR(paired.interval.low, 0.0733, 0.0035);
  EXPECT_NEAR(paired.interval.high, 0.1267, 0.0035);
  EXPECT_LT(paired.p_value, 0.001);
}

TEST(BootstrapRuns, OneRunIsThePlainBootstrap) {
  const auto predicted = right_then_wrong(120, 200);
  const auto plain = bootstrap_metric("macro_f1", kTruth, predicted, 2),
             one = bootstrap_runs("macro_f1", kTruth, {predicted}, 2);
  EXPECT_EQ(plain.low, one.low);
  EXPECT_EQ(plain.high, one.high);
  EXPECT_THROW(bootstrap_runs("accuracy", kTruth, {}, 2), Error);
}

TEST(Bootstrap, RefusesNonsense) {
  const auto constant = [](auto) { return 0.0; };
  EXPECT_THROW(bootstrap(0, constant), Error);
  EXPECT_THROW(bootstrap(5, constant, {1, 0.95, 0}), Error);
  EXPECT_THROW(bootstrap(5, constant, {100, 1.0, 0}), Error);
  EXPECT_THROW(bootstrap(5, [](auto) { return std::numeric_limits<double>::quiet_NaN(); }), Error);
  const std::vector<std::int64_t> shorter = {0};
  EXPECT_THROW(paired_bootstrap("accuracy", kTruth, shorter, kTruth, 2), Error);
}

}  // namespace
}  // namespace graft
