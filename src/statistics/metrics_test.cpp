// The expected numbers come from scikit-learn 1.x and numpy on the same lists.
#include "statistics/metrics.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace graft {
namespace {

const std::vector<std::int64_t> kLabels = {0, 0, 0, 1, 1, 2, 2, 2, 2, 0};
const std::vector<std::int64_t> kPredicted = {0, 1, 0, 1, 3, 2, 2, 0, 2, 0};

// Class 3 is only predicted, class 4 is in neither list.
ConfusionMatrix example() {
  return confusion_matrix(kLabels, kPredicted, 5);
}

TEST(Metrics, AgreeWithScikitLearn) {
  EXPECT_NEAR(accuracy(example()), 0.7, 1e-15);
  EXPECT_NEAR(balanced_accuracy(example()), 0.6666666666666666, 1e-15);
  EXPECT_NEAR(macro_f1(example()), 0.5267857142857143, 1e-15);
}

TEST(Metrics, PerClassScoresAgreeWithScikitLearn) {
  const auto scores = per_class_scores(example());
  ASSERT_EQ(scores.size(), 5u);
  EXPECT_NEAR(scores[0].precision, 0.75, 1e-15);
  EXPECT_NEAR(scores[2].precision, 1.0, 1e-15);
  EXPECT_NEAR(scores[2].recall, 0.75, 1e-15);
  EXPECT_NEAR(scores[2].f1, 0.857142857142857, 1e-14);
  EXPECT_EQ(scores[3].f1, 0.0);
  EXPECT_EQ(scores[0].support, 4);
  EXPECT_EQ(scores[4].support, 0);
}

TEST(Metrics, ConfusionMatrixCountsTruthByRow) {
  const auto matrix = example();
  EXPECT_EQ(matrix.at(0, 1), 1);
  EXPECT_EQ(matrix.at(1, 0), 0);
  EXPECT_EQ(matrix.at(1, 3), 1);
  EXPECT_EQ(matrix.at(2, 2), 3);
  EXPECT_EQ(matrix.total(), 10);
}

TEST(Metrics, TheProbabilityOfAllRightChoices) {
  const std::vector<double> probabilities = {0.5, 0.25, 0.125, 0.125};
  const std::vector<std::int64_t> truths = {0, 3}, none, outside = {4};
  EXPECT_EQ(true_probability(probabilities, truths), 0.625);
  EXPECT_EQ(true_probability(probabilities, none), 0);
  EXPECT_THROW(true_probability(probabilities, outside), Error);
}

TEST(Metrics, ShareOfStereotypesIsAccuracy) {
  EXPECT_EQ(metric_value("stereotype_share", example()), accuracy(example()));
}

TEST(Metrics, EntropyOfChoicesIsInBits) {
  const std::vector<double> even = {0.5, 0.5}, sure = {0, 1}, four = {0.25, 0.25, 0.25, 0.25}, one = {0.125, 0.875};
  EXPECT_EQ(choice_entropy(even), 1);
  EXPECT_EQ(choice_entropy(sure), 0);
  EXPECT_EQ(choice_entropy(four), 2);
  EXPECT_NEAR(choice_entropy(one), 0.5435644431995964, 1e-15) << "scipy.stats.entropy(base=2)";
  EXPECT_FALSE(is_share("choice_entropy"));
  EXPECT_TRUE(is_share("accuracy"));
}

TEST(Metrics, F1OfTheSecondClass) {
  const std::vector<std::int64_t> truth = {1, 0, 1, 1, 0}, predicted = {1, 1, 0, 1, 0}, none = {0, 0, 0, 0, 0};
  EXPECT_DOUBLE_EQ(metric_value("positive_f1", confusion_matrix(truth, predicted, 2)), 2.0 / 3);
  EXPECT_EQ(positive_f1(confusion_matrix(none, none, 2)), 0);
}

TEST(Metrics, RefuseWhatHasNoScore) {
  const std::vector<std::int64_t> none, one = {0}, outside = {5}, negative = {-1};
  EXPECT_THROW(confusion_matrix(none, none, 2), Error);
  EXPECT_THROW(confusion_matrix(kLabels, one, 3), Error);
  EXPECT_THROW(confusion_matrix(one, outside, 5), Error);
  EXPECT_THROW(confusion_matrix(negative, one, 5), Error);
  EXPECT_THROW(metric_value("acuracy", example()), Error);
}

}  // namespace
}  // namespace graft
