#include "statistics/text_metric.h"

#include <gmock/gmock.h>

#include <set>

#include "statistics/metric_test_support.h"

namespace graft {
namespace {

TEST(TextMetric, EveryNameGivesItsMetric) {
  std::set<std::string> names;
  for (const TextMetric& metric : text_metrics()) {
    EXPECT_EQ(&text_metric(metric.name), &metric);
    EXPECT_FALSE(metric.unit.empty());
    names.insert(metric.name);
    expect_refusals(metric.score);
  }
  EXPECT_EQ(names.size(), text_metrics().size());
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

TEST(TextMetric, AMisspeltNameIsNamed) {
  try {
    text_metric("rougel_coco");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::InvalidArgument);
    EXPECT_THAT(error.message(), testing::HasSubstr("did you mean 'rougeL_coco'?"));
  }
}

}  // namespace
}  // namespace graft
