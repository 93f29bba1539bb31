// Every statistic against reference libraries: the cases of tests/compat/statistics.json, which
// tests/compat/statistics_reference.py makes. docs/eval.md tells them by library.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "statistics/bootstrap.h"
#include "statistics/calibration.h"
#include "statistics/metrics.h"
#include "statistics/proportion.h"

namespace graft {
namespace {

using Json = nlohmann::json;
using Labels = std::vector<std::int64_t>;
using Values = std::vector<double>;

// The file must hold them all: without cases nothing would be compared.
const Json& cases_of(const std::string& statistic, std::size_t count) {
  static const Json all = Json::parse(read_file(GRAFT_SOURCE_DIR "/tests/compat/statistics.json"));
  const Json& cases = all.at(statistic);
  EXPECT_EQ(cases.size(), count) << statistic << ": make the file again with tests/compat/statistics_reference.py";
  std::printf("%s: %zu cases\n", statistic.c_str(), cases.size());
  return cases;
}

double number(const Json& one, const char* name) {
  return one.at(name).get<double>();
}

Labels labels(const Json& one, const char* name) {
  return one.at(name).get<Labels>();
}

Values values(const Json& one, const char* name) {
  return one.at(name).get<Values>();
}

// Both sides compute in double, in another order. The largest gaps are near 1e-14, McNemar's (sums of logarithms of
// factorials) 1e-11.
void expect_equal(double found, double expected) {
  EXPECT_NEAR(found, expected, 1e-12 + 1e-9 * std::abs(expected));
}

// Also where it is tiny.
void expect_equal_part(double found, double expected) {
  EXPECT_NEAR(found, expected, 1e-9 * std::abs(expected));
}

void expect_interval(const Interval& found, const Json& expected) {
  expect_equal(found.low, expected.at(0).get<double>());
  expect_equal(found.high, expected.at(1).get<double>());
}

// Bounds of 5 standard deviations of the resamples' own noise; the script works them out.
void expect_within(double found, const Json& bounds) {
  EXPECT_GE(found, bounds.at(0).get<double>() - 1e-9);
  EXPECT_LE(found, bounds.at(1).get<double>() + 1e-9);
}

void expect_within(const Interval& found, const Json& one) {
  expect_within(found.low, one.at("low"));
  expect_within(found.high, one.at("high"));
}

BootstrapOptions options_of(const Json& one) {
  return {one.at("resamples").get<std::int64_t>(), number(one, "level"), one.at("seed").get<std::uint64_t>()};
}

Runs views_of(const std::vector<Labels>& lists) {
  Runs runs;
  for (const Labels& list : lists) runs.emplace_back(list);
  return runs;
}

TEST(StatisticsReference, Quantiles) {
  for (const Json& one : cases_of("quantile", 120)) {
    SCOPED_TRACE(one.dump());
    const Values sorted = values(one, "values"), parts = values(one, "parts"), expected = values(one, "quantiles");
    ASSERT_EQ(parts.size(), expected.size());
    for (std::size_t i = 0; i < parts.size(); ++i) expect_equal(quantile(sorted, parts[i]), expected[i]);
    expect_equal(quantile(sorted, 0.75) - quantile(sorted, 0.25), number(one, "iqr"));
  }
}

// scipy is given graft's draws, so that the same resamples are compared, and nothing of chance.
TEST(StatisticsReference, BootstrapOfAMean) {
  for (const Json& one : cases_of("bootstrap_mean", 60)) {
    SCOPED_TRACE(one.dump());
    expect_interval(bootstrap_mean(values(one, "values"), options_of(one)), one.at("interval"));
  }
}

TEST(StatisticsReference, BootstrapOfAMetric) {
  for (const Json& one : cases_of("bootstrap_metric", 60)) {
    SCOPED_TRACE(one.dump());
    const auto lists = one.at("runs").get<std::vector<Labels>>();
    const auto metric = one.at("metric").get<std::string>();
    const auto classes = one.at("classes").get<std::size_t>();
    const Labels truth = labels(one, "truth");
    expect_interval(bootstrap_runs(metric, truth, views_of(lists), classes, options_of(one)), one.at("interval"));
    if (lists.size() > 1) continue;
    expect_interval(bootstrap_metric(metric, truth, lists.front(), classes, options_of(one)), one.at("interval"));
  }
}

TEST(StatisticsReference, PairedBootstrap) {
  for (const Json& one : cases_of("paired_bootstrap", 60)) {
    SCOPED_TRACE(one.dump());
    const auto first = one.at("first").get<std::vector<Labels>>(), second = one.at("second").get<std::vector<Labels>>();
    const auto result =
        paired_bootstrap_runs(one.at("metric").get<std::string>(), labels(one, "truth"), views_of(first),
                              views_of(second), one.at("classes").get<std::size_t>(), options_of(one));
    expect_equal(result.difference, number(one, "difference"));
    expect_interval(result.interval, one.at("interval"));
    expect_equal_part(result.p_value, number(one, "p"));
  }
}

TEST(StatisticsReference, BootstrapOfAccuracyFollowsTheBinomialDistribution) {
  for (const Json& one : cases_of("exact_accuracy", 12)) {
    SCOPED_TRACE(one.dump());
    const auto right = one.at("right").get<std::size_t>(), count = one.at("count").get<std::size_t>();
    const Labels truth(count, 0);
    Labels predicted(count, 0);
    for (std::size_t i = right; i < count; ++i) predicted[i] = 1;
    expect_within(bootstrap_metric("accuracy", truth, predicted, 2, options_of(one)), one);
  }
}

TEST(StatisticsReference, BootstrapOfAMeanFollowsItsExactDistribution) {
  for (const Json& one : cases_of("exact_mean", 10)) {
    SCOPED_TRACE(one.dump());
    expect_within(bootstrap_mean(values(one, "values"), options_of(one)), one);
  }
}

TEST(StatisticsReference, PairedBootstrapFollowsItsExactDistribution) {
  for (const Json& one : cases_of("exact_paired", 15)) {
    SCOPED_TRACE(one.dump());
    const auto result = paired_bootstrap(one.at("metric").get<std::string>(), labels(one, "truth"),
                                         labels(one, "first"), labels(one, "second"), 2, options_of(one));
    expect_within(result.interval, one);
    expect_within(result.p_value, one.at("p"));
  }
}

TEST(StatisticsReference, WilsonsInterval) {
  for (const Json& one : cases_of("wilson", 87)) {
    SCOPED_TRACE(one.dump());
    const Interval found = wilson(number(one, "right") / number(one, "count"), one.at("count").get<std::int64_t>());
    expect_equal(found.low, number(one, "low"));
    expect_equal(found.high, number(one, "high"));
  }
}

TEST(StatisticsReference, McNemarsTest) {
  for (const Json& one : cases_of("mcnemar", 109)) {
    SCOPED_TRACE(one.dump());
    const auto only_first = one.at("only_first").get<std::size_t>();
    const auto only_second = one.at("only_second").get<std::size_t>();
    std::vector<std::uint8_t> first(only_first, 1), second(only_first, 0);
    first.resize(only_first + only_second, 0);
    second.resize(only_first + only_second, 1);
    first.push_back(1);
    second.push_back(1);
    expect_equal_part(mcnemar(first, second).p_value, number(one, "p"));
  }
}

// The bins that hold anything, which are all that scikit-learn tells.
void expect_bins(const std::vector<CalibrationBin>& bins, const Json& one) {
  const Values accuracy = values(one, "accuracy"), mean = values(one, "mean");
  const Json& filled = one.at("filled");
  std::size_t next = 0;
  for (std::size_t b = 0; b < bins.size(); ++b) {
    if (bins[b].count == 0) continue;
    ASSERT_LT(next, filled.size());
    EXPECT_EQ(filled.at(next).at("bin").get<std::size_t>(), b);
    EXPECT_EQ(filled.at(next).at("count").get<std::int64_t>(), bins[b].count);
    expect_equal(bins[b].accuracy, accuracy.at(next));
    expect_equal(bins[b].confidence, mean.at(next));
    ++next;
  }
  EXPECT_EQ(next, filled.size());
}

TEST(StatisticsReference, CalibrationError) {
  for (const Json& one : cases_of("calibration", 90)) {
    SCOPED_TRACE(one.dump());
    const auto bins = calibration_bins(values(one, "confidence"), one.at("correct").get<std::vector<std::uint8_t>>(),
                                       one.at("bins").get<std::size_t>());
    expect_equal(expected_calibration_error(bins), number(one, "error"));
    expect_bins(bins, one);
  }
}

TEST(StatisticsReference, BriersScore) {
  for (const Json& one : cases_of("brier", 60)) {
    SCOPED_TRACE(one.dump());
    const auto probabilities = one.at("probabilities").get<std::vector<Values>>();
    std::vector<Labels> truths;
    for (const std::int64_t truth : labels(one, "truth")) truths.push_back({truth});
    expect_equal(brier_score(probabilities, truths), number(one, "score"));
  }
}

void expect_class_scores(const std::vector<ClassScores>& scores, const Json& one) {
  const Values precision = values(one, "precision"), recall = values(one, "recall"), f1 = values(one, "f1");
  const Labels support = labels(one, "support");
  ASSERT_EQ(scores.size(), support.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    expect_equal(scores[i].precision, precision.at(i));
    expect_equal(scores[i].recall, recall.at(i));
    expect_equal(scores[i].f1, f1.at(i));
    EXPECT_EQ(scores[i].support, support[i]);
  }
}

TEST(StatisticsReference, ScoresOfAClassifier) {
  for (const Json& one : cases_of("classification", 90)) {
    SCOPED_TRACE(one.dump());
    const auto classes = one.at("classes").get<std::size_t>();
    const ConfusionMatrix matrix = confusion_matrix(labels(one, "truth"), labels(one, "predicted"), classes);
    const auto counts = one.at("confusion").get<std::vector<Labels>>();
    for (std::size_t t = 0; t < classes; ++t)
      for (std::size_t p = 0; p < classes; ++p) EXPECT_EQ(matrix.at(t, p), counts.at(t).at(p));
    expect_class_scores(per_class_scores(matrix), one);
    for (const char* metric : {"accuracy", "balanced_accuracy", "macro_f1"})
      expect_equal(metric_value(metric, matrix), number(one, metric));
  }
}

TEST(StatisticsReference, ProbabilityOfAllRightChoices) {
  for (const Json& one : cases_of("true_probability", 20)) {
    SCOPED_TRACE(one.dump());
    expect_equal(true_probability(values(one, "probabilities"), labels(one, "truths")), number(one, "sum"));
  }
}

}  // namespace
}  // namespace graft
