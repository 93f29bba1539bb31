#include "eval/choice_metrics.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error_test_support.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

// Two questions with three and two answers to be told right (1) or wrong (0).
std::vector<Example> grouped_questions() {
  std::vector<Example> questions(5);
  for (std::size_t q = 0; q < questions.size(); ++q) questions[q].group = {"p", q < 3 ? "who" : "why"};
  return questions;
}

std::vector<RankedExample> answers_to(const std::vector<std::int64_t>& truth,
                                      const std::vector<std::int64_t>& predicted) {
  std::vector<RankedExample> answers;
  for (std::size_t q = 0; q < truth.size(); ++q) answers.push_back({truth[q], predicted[q], {}, {0.25, 0.75}});
  return answers;
}

// One of three right answers is missed and one wrong one is taken for right: precision and recall are 2/3.
TEST(ChoiceMetrics, AnswersOfAQuestionAreOneGroup) {
  const auto questions = grouped_questions();
  const auto first = answers_to({1, 0, 1, 1, 0}, {1, 0, 1, 0, 1});
  const auto all = answers_to({1, 0, 1, 1, 0}, {1, 0, 1, 1, 0});
  EXPECT_DOUBLE_EQ(choice_score("positive_f1", questions, {first}).value, 2.0 / 3);
  EXPECT_DOUBLE_EQ(choice_score("group_exact_match", questions, {first}).value, 0.5);
  EXPECT_DOUBLE_EQ(choice_score("group_exact_match", questions, {first, all}).value, 0.75) << "the mean of the runs";
  EXPECT_DOUBLE_EQ(choice_score("accuracy", questions, {first}).value, 0.6);
}

// A resample has the second question twice, in which nothing is right, or the first twice, in which everything is.
TEST(ChoiceMetrics, IntervalsAreOverGroups) {
  const auto questions = grouped_questions();
  const auto first = answers_to({1, 0, 1, 1, 0}, {1, 0, 1, 0, 1});
  const Interval grouped = choice_score("positive_f1", questions, {first}).interval;
  EXPECT_EQ(grouped.low, 0);
  EXPECT_EQ(grouped.high, 1);
  const std::vector<std::int64_t> truth = {1, 0, 1, 1, 0}, predicted = {1, 0, 1, 0, 1};
  const Interval alone = bootstrap_metric("accuracy", truth, predicted, 2);
  EXPECT_EQ(choice_score("accuracy", questions, {first}).interval.low, alone.low) << "by question";
}

TEST(ChoiceMetrics, WhatIsResampledIsTheMetricOfThatPart) {
  const auto questions = grouped_questions();
  const auto first = answers_to({1, 0, 1, 1, 0}, {1, 0, 1, 0, 1}), all = answers_to({1, 0, 1, 1, 0}, {1, 0, 1, 1, 0});
  const auto by_question = choice_statistic("accuracy", questions, {first});
  EXPECT_EQ(by_question.count, 5u);
  const std::vector<std::size_t> some = {0, 3, 3}, both = {0, 1}, second = {1};
  EXPECT_DOUBLE_EQ(by_question.value(some), 1.0 / 3);
  for (const char* metric : {"positive_f1", "macro_f1", "group_exact_match"}) {
    const auto by_group = choice_statistic(metric, questions, {first, all});
    EXPECT_EQ(by_group.count, 2u) << metric;
    EXPECT_DOUBLE_EQ(by_group.value(both), choice_score(metric, questions, {first, all}).value) << metric;
    EXPECT_DOUBLE_EQ(by_group.value(second), 0.5) << metric << ": nothing right in one run, everything in the other";
  }
  const std::vector<Example> alone(5);
  const auto macro = choice_statistic("macro_f1", alone, {first});
  const std::vector<std::size_t> every = {0, 1, 2, 3, 4};
  EXPECT_EQ(macro.count, 5u);
  EXPECT_DOUBLE_EQ(macro.value(every), choice_score("macro_f1", alone, {first}).value);
  const auto entropy = choice_statistic("choice_entropy", alone, {first});
  EXPECT_DOUBLE_EQ(entropy.value(second), choice_score("choice_entropy", alone, {first}).value) << "all have one";
}

TEST(ChoiceMetrics, EntropyIsInBits) {
  const std::vector<Example> questions(2);
  const std::vector<RankedExample> answers = {{0, 0, {}, {0.5, 0.5}}, {0, 1, {}, {0.25, 0.75}}};
  const double second = 0.25 * 2 - 0.75 * std::log2(0.75);
  const ChoiceScore score = choice_score("choice_entropy", questions, {answers});
  EXPECT_NEAR(score.value, (1 + second) / 2, 1e-12);
  EXPECT_NEAR(score.interval.low, second, 1e-12);
  EXPECT_NEAR(score.interval.high, 1, 1e-12);
}

TEST(ChoiceMetrics, AChosenTextIsComparedWithAllThatAreRight) {
  std::vector<Example> questions(2);
  for (auto& question : questions) {
    question.options = {"The White House", "House", "Ann"};
    question.answers = {"White House", "Ann Lee"};
  }
  const std::vector<RankedExample> answers = {{0, 0, {}, {1, 0, 0}, {0}}, {0, 2, {}, {0, 0, 1}, {0}}};
  EXPECT_DOUBLE_EQ(choice_score("answer_exact_match", questions, {answers}).value, 0.5) << "articles do not count";
  EXPECT_DOUBLE_EQ(choice_score("answer_f1", questions, {answers}).value, (1 + 2.0 / 3) / 2);
}

// graft tune took the class of the answer for the truth, graft eval the first right choice.
TEST(ChoiceMetrics, WhatIsTrueDoesNotFollowFromTheAnswer) {
  const RankedExample right{2, 2, {}, {0, 0, 1}, {0, 2}}, wrong{0, 1, {}, {0, 1, 0}, {0, 2}}, unknown{-1, 1, {}, {}};
  EXPECT_EQ(class_answer(right).truth, 0);
  EXPECT_EQ(class_answer(right).predicted, 0);
  EXPECT_EQ(class_answer(wrong).truth, 0);
  EXPECT_EQ(class_answer(wrong).predicted, 1);
  EXPECT_EQ(class_answer(unknown).truth, -1);
  const std::vector<Example> questions(2);
  const std::vector<RankedExample> answers = {right, wrong};
  EXPECT_DOUBLE_EQ(choice_score("balanced_accuracy", questions, {answers}).value, 0.5);
  EXPECT_DOUBLE_EQ(choice_score("macro_f1", questions, {answers}).value, (2.0 / 3 + 0) / 2);
}

TEST(ChoiceMetrics, QuestionsWithoutLabelDoNotCount) {
  const std::vector<Example> questions(2);
  const std::vector<RankedExample> one = {{1, 1, {}, {0, 1}}, {-1, 0, {}, {0.5, 0.5}}};
  EXPECT_EQ(choice_score("choice_entropy", questions, {one}).value, 0);
  EXPECT_EQ(choice_score("accuracy", questions, {one}).value, 1);
}

TEST(ChoiceMetrics, RefuseWhatCannotBeMeasured) {
  const std::vector<Example> questions(1);
  const std::vector<RankedExample> answer = {{0, 0, {}, {1, 0}}}, none = {{-1, 0, {}, {1, 0}}},
                                   two = {answer[0], answer[0]};
  EXPECT_THAT(error_of([&] { choice_score("group_exact_match", questions, {answer}); }), HasSubstr("is of groups"));
  EXPECT_THAT(error_of([&] { choice_score("answer_f1", questions, {answer}); }),
              HasSubstr("has no texts that are right"));
  EXPECT_THAT(error_of([&] { choice_score("accuracy", questions, {none}); }), HasSubstr("no question has a label"));
  EXPECT_THAT(error_of([&] { choice_score("accuracy", questions, {two}); }), HasSubstr("2 answers to 1 questions"));
  EXPECT_THAT(error_of([&] { choice_score("acuracy", questions, {answer}); }), HasSubstr("did you mean 'accuracy'?"));
}

}  // namespace
}  // namespace graft
