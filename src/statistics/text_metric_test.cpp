#include "statistics/text_metric.h"

#include <gmock/gmock.h>

#include <set>

#include "statistics/metric_test_support.h"
#include "statistics/text_difference.h"

namespace graft {
namespace {

TEST(TextMetric, EveryNameGivesItsMetric) {
  std::set<std::string> names;
  for (const TextMetric& metric : text_metrics()) {
    EXPECT_EQ(&text_metric(metric.name), &metric);
    EXPECT_FALSE(metric.unit.empty());
    names.insert(metric.name);
    expect_refusals([&](const TextCases& cases) { metric.score(cases); });
  }
  EXPECT_EQ(names.size(), text_metrics().size());
  const auto told = text_metric_names();
  for (const TextMetric& metric : difference_metrics()) names.insert(metric.name);
  EXPECT_EQ(told.size(), names.size());
  EXPECT_EQ(std::set<std::string>(told.begin(), told.end()), names);
}

TEST(TextMetric, RunsOfTheSameCasesHaveTheirMean) {
  const OwnedCases good = {{"a b c d e", "f g h i j"}, {{"a b c d e"}, {"f g h i j"}}};
  const OwnedCases half = {{"a b c d e", "x"}, {{"a b c d e"}, {"f g h i j"}}};
  const TextMetric& metric = text_metric("exact_match");
  const auto mean = mean_over_runs(metric, {metric.sums(good.view()), metric.sums(half.view())});
  const std::vector<std::size_t> both = {0, 1}, second = {1}, twice = {1, 1, 0};
  EXPECT_DOUBLE_EQ(mean(both), 0.75);
  EXPECT_DOUBLE_EQ(mean(second), 0.5);
  EXPECT_DOUBLE_EQ(mean(twice), (1 + 1.0 / 3) / 2);
}

TEST(TextMetric, ABetterTextHasABetterScore) {
  const OwnedCases good = {{"a b c d e", "f g h i j"}, {{"a b c d e"}, {"f g h i j"}}};
  const OwnedCases bad = {{"a b x y z", "f g h i j"}, {{"a b c d e"}, {"f g h i j"}}};
  for (const TextMetric& metric : text_metrics()) {
    const double difference = metric.score(good.view()) - metric.score(bad.view());
    EXPECT_GT(metric.higher_is_better ? difference : -difference, 0) << metric.name;
  }
}

TEST(TextMetric, AnExactMatchEqualsOneOfItsReferences) {
  const OwnedCases cases = {{"143", "14", ""}, {{"143"}, {"143", "14"}, {"a"}}};
  EXPECT_NEAR(text_metric("exact_match").score(cases.view()), 2.0 / 3, 1e-12);
}

// Each case drawn twice adds twice what it adds once.
TEST(TextMetric, SumsOfResampledCasesAreScoredWithoutTheTexts) {
  const OwnedCases cases = {{"the cat sat on the mat here", "a dog ran off into the wood", "no"},
                            {{"the cat sat on a mat here"}, {"the dog ran into the wood", "a dog ran"}, {"no", "yes"}}};
  for (const TextMetric& metric : text_metrics()) {
    const CaseSums sums = metric.sums(cases.view());
    ASSERT_EQ(sums.size(), 3u) << metric.name;
    EXPECT_NEAR(metric.of_sums(total_of(sums)), metric.score(cases.view()), 1e-12) << metric.name;
    CaseSums twice = sums;
    twice.insert(twice.end(), sums.begin(), sums.end());
    EXPECT_NEAR(metric.of_sums(total_of(twice)), metric.score(cases.view()), 1e-9) << metric.name;
    if (!metric.mean_of_cases) continue;
    const double mean = (sums[0][0] + sums[1][0] + sums[2][0]) / 3;
    EXPECT_NEAR(metric.score(cases.view()), mean, 1e-12) << metric.name;
  }
}

TEST(TextMetric, AMisspeltNameIsNamed) {
  try {
    text_metric("rougel_coco");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::InvalidArgument);
    EXPECT_THAT(error.message(), ::testing::HasSubstr("did you mean 'rougeL_coco'?"));
  }
}

}  // namespace
}  // namespace graft
