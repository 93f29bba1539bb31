#include "cli/core/eval_statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "statistics/proportion.h"

namespace graft {
namespace {

// Eight questions with two choices, labels 0 and 1 in turn.
EvalData questions() {
  EvalData data;
  data.task.name = "mine";
  data.task.labels = {"a", "b"};
  data.task.templates = {{"first", "{text}", {}, "", ""}};
  data.templates = {0};
  data.metrics = {"accuracy", "macro_f1"};
  data.questions.emplace_back();
  for (std::int64_t q = 0; q < 8; ++q) {
    Example example;
    example.choices = {" a", " b"};
    example.label = q % 2;
    data.questions[0].push_back(example);
  }
  return data;
}

// The first `right` questions answered rightly.
EvalPass pass_with(std::int64_t right, std::int64_t seed = 0) {
  EvalPass pass;
  pass.seed = seed;
  pass.template_name = "first";
  pass.seconds = 4;
  for (std::int64_t q = 0; q < 8; ++q) {
    pass.ranked.push_back({q % 2, q < right ? q % 2 : 1 - q % 2, {-1, -2}, {0.5, 0.5}});
    pass.dropped.push_back(q == 0 ? 2 : 0);
    pass.cut.push_back(q == 1 ? 5 : 0);
    pass.reference_tokens.push_back(2);
  }
  return pass;
}

TEST(EvalStatistics, OneRunHasIntervalsAndSeveralHaveASpread) {
  const EvalRow base{"0-shot", 0, nullptr, {pass_with(4)}};
  const EvalRow shown{"2-shot", 2, nullptr, {pass_with(6, 0), pass_with(8, 1), pass_with(4, 2)}};
  const EvaluatedTask task = evaluated(questions(), {base, shown});
  EXPECT_EQ(task.examples, 8);
  EXPECT_DOUBLE_EQ(task.chance, 0.5);
  EXPECT_EQ(task.runs, "3 seeds");
  EXPECT_EQ(task.metrics, std::vector<std::string>{"macro_f1"});
  ASSERT_EQ(task.rows.size(), 2u);
  EXPECT_DOUBLE_EQ(task.rows[0].accuracy.value, 0.5);
  EXPECT_EQ(task.rows[0].wilson_low, wilson(0.5, 8).low);
  EXPECT_FALSE(task.rows[0].spread.has_value());
  EXPECT_FALSE(task.rows[0].difference.has_value());
  EXPECT_DOUBLE_EQ(task.rows[1].accuracy.value, 0.75) << "the mean of the runs";
  ASSERT_TRUE(task.rows[1].spread.has_value());
  EXPECT_DOUBLE_EQ(task.rows[1].spread->value, 0.75);
  EXPECT_DOUBLE_EQ(task.rows[1].spread->low, 0.625);
  EXPECT_DOUBLE_EQ(task.rows[1].spread->high, 0.875);
  EXPECT_DOUBLE_EQ(task.rows[1].seconds, 0.5);
  EXPECT_EQ(task.rows[1].dropped, 6);
  EXPECT_EQ(task.rows[1].cut, 3);
}

TEST(EvalStatistics, EveryMetricIsComparedAndHasASpread) {
  const EvalRow base{"0-shot", 0, nullptr, {pass_with(4)}};
  const EvalRow shown{"2-shot", 2, nullptr, {pass_with(6, 0), pass_with(8, 1), pass_with(4, 2)}};
  EvalData data = questions();
  data.metrics.emplace_back("choice_entropy");
  const EvaluatedTask task = evaluated(data, {base, shown});
  ASSERT_EQ(task.rows[0].further.size(), 2u);
  EXPECT_FALSE(task.rows[0].further[0].difference.has_value());
  EXPECT_FALSE(task.rows[0].further[0].spread.has_value()) << "one run";
  const EvaluatedMetric& macro = task.rows[1].further[0];
  ASSERT_TRUE(macro.spread.has_value());
  EXPECT_DOUBLE_EQ(macro.spread->value, 0.75);
  EXPECT_DOUBLE_EQ(macro.spread->low, 0.625);
  EXPECT_DOUBLE_EQ(macro.spread->high, 0.875);
  EXPECT_FALSE(macro.orders.has_value());
  ASSERT_TRUE(macro.difference.has_value());
  EXPECT_NEAR(macro.difference->score.value, 0.25, 1e-12);
  EXPECT_LE(macro.difference->score.low, 0.25);
  EXPECT_GE(macro.difference->score.high, 0.25);
  ASSERT_TRUE(task.rows[1].further[1].difference.has_value());
  EXPECT_NEAR(task.rows[1].further[1].difference->score.value, 0, 1e-12) << "the same probabilities";
  EXPECT_DOUBLE_EQ(task.rows[1].further[1].difference->bootstrap_p, 1);
}

TEST(EvalStatistics, ComparesWithTheFirstRowOnTheSameQuestions) {
  const EvaluatedTask task = evaluated(
      questions(), {{"0-shot", 0, nullptr, {pass_with(4)}}, {"2-shot", 2, nullptr, {pass_with(7), pass_with(3)}}});
  ASSERT_TRUE(task.rows[1].difference.has_value());
  const EvaluatedDifference& difference = *task.rows[1].difference;
  EXPECT_NEAR(difference.accuracy.value, 0.125, 1e-12);
  EXPECT_EQ(difference.only_this, 3) << "of the first run";
  EXPECT_EQ(difference.only_base, 0);
  EXPECT_NEAR(difference.mcnemar_p, 0.25, 1e-12) << "2 / 2^3";
}

EvalPass in_second(EvalPass pass) {
  pass.place = 1;
  pass.template_name = "second";
  return pass;
}

TEST(EvalStatistics, SeedsAndTemplatesAreBothTold) {
  EvalData data = questions();
  data.task.templates.push_back({"second", "{text}?", {}, "", ""});
  data.templates = {0, 1};
  data.questions.push_back(data.questions[0]);
  const EvalRow base{"0-shot", 0, nullptr, {pass_with(4), in_second(pass_with(5))}};
  const EvalRow shown{
      "2-shot", 2, nullptr, {pass_with(4), pass_with(6, 1), in_second(pass_with(6)), in_second(pass_with(8, 1))}};
  const EvaluatedTask task = evaluated(data, {base, shown});
  EXPECT_EQ(task.runs, "2 seeds × 2 templates");
  EXPECT_EQ(evaluated(data, {base}).runs, "2 templates");
  ASSERT_EQ(task.parts.size(), 2u) << "how much hangs on the prompt";
  EXPECT_EQ(task.parts[1].field, "prompt template");
  EXPECT_EQ(task.parts[1].value, "second");
  EXPECT_EQ(task.parts[1].examples, 8);
  EXPECT_DOUBLE_EQ(task.parts[0].rows[0].accuracy.value, 4.0 / 8);
  EXPECT_DOUBLE_EQ(task.parts[1].rows[0].accuracy.value, 5.0 / 8);
  EXPECT_DOUBLE_EQ(task.parts[0].rows[1].accuracy.value, 5.0 / 8) << "over both seeds";
  EXPECT_DOUBLE_EQ(task.parts[1].rows[1].accuracy.value, 7.0 / 8);
  EXPECT_EQ(task.parts[1].rows[1].accuracy.low, wilson(7.0 / 8, 8).low) << "there are eight questions";
  EXPECT_TRUE(evaluated(questions(), {{"0-shot", 0, nullptr, {pass_with(4)}}}).parts.empty());
}

// The first three questions stand in what trained an adapter.
TEST(EvalStatistics, QuestionsThatTrainingTextHoldsAreToldApart) {
  EvalData data = questions();
  data.overlaps = {{"run (ia3)", {13, 8, 3, {0, 1, 2}}}};
  const EvaluatedTask task =
      evaluated(data, {{"0-shot", 0, nullptr, {pass_with(1)}}, {"run (ia3)", 0, nullptr, {pass_with(4)}}});
  ASSERT_EQ(task.parts.size(), 2u);
  EXPECT_EQ(task.parts[0].field, "13-gram shared with run (ia3)");
  EXPECT_EQ(task.parts[0].value, "no");
  EXPECT_EQ(task.parts[0].examples, 5);
  EXPECT_DOUBLE_EQ(task.parts[0].rows[1].accuracy.value, 0.2);
  EXPECT_EQ(task.parts[1].value, "yes");
  EXPECT_DOUBLE_EQ(task.parts[1].rows[0].accuracy.value, 1.0 / 3);
  EXPECT_DOUBLE_EQ(task.parts[1].rows[1].accuracy.value, 1);
}

TEST(EvalStatistics, OrdersOfOneDrawAreToldByTheirRange) {
  std::vector<EvalPass> passes = {pass_with(4, 0), pass_with(6, 0), pass_with(8, 0),
                                  pass_with(2, 1), pass_with(4, 1), pass_with(3, 1)};
  for (std::size_t p = 0; p < passes.size(); ++p) passes[p].order = static_cast<std::int64_t>(p % 3);
  const EvaluatedTask task =
      evaluated(questions(), {{"0-shot", 0, nullptr, {pass_with(4)}}, {"2-shot", 2, nullptr, passes}});
  EXPECT_EQ(task.runs, "2 seeds × 3 orders");
  EXPECT_FALSE(task.rows[0].orders.has_value());
  ASSERT_TRUE(task.rows[1].orders.has_value());
  EXPECT_DOUBLE_EQ(task.rows[1].orders->value, (6.0 / 8 + 3.0 / 8) / 2) << "the mean of the medians";
  EXPECT_DOUBLE_EQ(task.rows[1].orders->low, (4.0 / 8 + 2.0 / 8) / 2);
  EXPECT_DOUBLE_EQ(task.rows[1].orders->high, (8.0 / 8 + 4.0 / 8) / 2);
  ASSERT_TRUE(task.rows[1].further[0].orders.has_value()) << "macro-F1";
  EXPECT_DOUBLE_EQ(task.rows[1].further[0].orders->high, (8.0 / 8 + 4.0 / 8) / 2);
}

TEST(EvalStatistics, CalibrationIsOverAllRuns) {
  const EvaluatedTask task = evaluated(questions(), {{"0-shot", 0, nullptr, {pass_with(8)}},
                                                     {"2-shot", 2, nullptr, {pass_with(6, 0), pass_with(2, 1)}}});
  ASSERT_TRUE(task.rows[0].calibration.has_value());
  EXPECT_DOUBLE_EQ(task.rows[0].calibration->error, 0.5) << "all right at a confidence of a half";
  EXPECT_DOUBLE_EQ(task.rows[0].calibration->brier, 0.5);
  EXPECT_DOUBLE_EQ(task.rows[1].calibration->error, 0) << "8 of 16 answers";
}

TEST(EvalStatistics, TextsThatWereWrittenHaveMetricsAndAPairedTest) {
  EvalData data = questions();
  data.task.labels.clear();
  data.task.templates[0].target = "{text}";
  data.metrics = {"accuracy", "exact_match", "bleu"};
  data.task.slices = {"topic"};
  data.writes = true;
  EvalPass base = pass_with(8), better = base;
  for (std::size_t q = 0; q < 8; ++q) {
    data.questions[0][q].choices = {" one two three four", " five"};
    data.questions[0][q].references = {"one two three four", "five"};
    data.questions[0][q].slices = {q < 4 ? "first" : "last"};
    base.ranked[q] = better.ranked[q] = {1, 0, {-3}, {}};
    base.texts.push_back(q < 2 ? "one two three four\n" : "no");
    better.texts.push_back(q < 6 ? " five" : "no");
  }
  score_texts(data, base);
  score_texts(data, better);
  const EvaluatedTask task = evaluated(data, {{"0-shot", 0, nullptr, {base}}, {"2-shot", 2, nullptr, {better, base}}});
  EXPECT_EQ(task.text_metric, "exact_match");
  EXPECT_DOUBLE_EQ(task.rows[0].metrics[0].value, 0.25) << "white space around does not count";
  EXPECT_DOUBLE_EQ(task.rows[1].metrics[0].value, 0.5) << "the mean of both runs";
  EXPECT_LT(task.rows[0].metrics[0].low, 0.25);
  EXPECT_GT(task.rows[0].metrics[0].high, 0.25);
  EXPECT_GT(task.rows[0].metrics[1].value, 0);
  EXPECT_FALSE(task.rows[0].text_spread.has_value());
  ASSERT_TRUE(task.rows[1].text_spread.has_value());
  EXPECT_DOUBLE_EQ(task.rows[1].text_spread->value, 0.5) << "of 0.75 and 0.25";
  EXPECT_DOUBLE_EQ(task.rows[1].text_spread->low, 0.375);
  EXPECT_DOUBLE_EQ(task.rows[1].text_spread->high, 0.625);
  EXPECT_FALSE(task.rows[0].text_difference.has_value());
  ASSERT_TRUE(task.rows[1].text_difference.has_value());
  EXPECT_DOUBLE_EQ(task.rows[1].text_difference->score.value, 0.25);
  EXPECT_GT(task.rows[1].text_difference->bootstrap_p, 0);
  ASSERT_EQ(task.slices.size(), 2u);
  ASSERT_TRUE(task.slices[0].rows[1].metric.has_value());
  EXPECT_DOUBLE_EQ(task.slices[0].rows[0].metric->value, 0.5);
  EXPECT_DOUBLE_EQ(task.slices[0].rows[1].metric->value, 0.75) << "four of four, and two of four";
  EXPECT_DOUBLE_EQ(task.slices[1].rows[1].metric->value, 0.25);
  EXPECT_LE(task.slices[1].rows[1].metric->low, 0.25);
  EXPECT_GT(task.slices[1].rows[1].metric->high, 0.25);
  ASSERT_EQ(task.texts.size(), 8u);
  EXPECT_EQ(task.texts[0].outputs, (std::vector<std::string>{"one two three four", "five"}));
  EXPECT_EQ(task.texts[0].references, (std::vector<std::string>{"one two three four", "five"}));
}

// What a text adds to a metric is taken from the pass wherever it is told, and not worked out again.
TEST(EvalStatistics, TextsAreScoredOnce) {
  EvalData data = questions();
  data.task.labels.clear();
  data.task.templates[0].target = "{text}";
  data.metrics = {"accuracy", "exact_match"};
  data.task.slices = {"topic"};
  data.writes = true;
  EvalPass base = pass_with(8);
  for (std::size_t q = 0; q < 8; ++q) {
    data.questions[0][q].references = {"one"};
    data.questions[0][q].slices = {"all"};
    base.ranked[q] = {1, 0, {-3}, {}};
    base.texts.push_back("one");
  }
  score_texts(data, base);
  EXPECT_EQ(base.outputs, base.texts);
  ASSERT_EQ(base.text_sums.size(), 1u) << "accuracy is no metric of texts";
  EXPECT_EQ(base.text_sums.at("exact_match").size(), 8u);
  EvalPass kept = base;
  for (auto& sums : kept.text_sums.at("exact_match")) sums = {0, 1};
  const EvaluatedTask task = evaluated(data, {{"0-shot", 0, nullptr, {base}}, {"2-shot", 2, nullptr, {kept, kept}}});
  EXPECT_EQ(task.rows[0].metrics[0].value, 1);
  EXPECT_EQ(task.rows[1].metrics[0].value, 0);
  EXPECT_EQ(task.rows[1].text_spread->value, 0);
  EXPECT_EQ(task.rows[1].text_difference->score.value, -1);
  EXPECT_EQ(task.slices[0].rows[1].metric->value, 0);
}

TEST(EvalStatistics, SlicesHaveTheAccuracyOfTheirQuestionsOverAllRuns) {
  EvalData data = questions();
  data.task.slices = {"gender"};
  for (std::size_t q = 0; q < 8; ++q) data.questions[0][q].slices = {q < 3 ? "female" : "male"};
  const EvaluatedTask task =
      evaluated(data, {{"0-shot", 0, nullptr, {pass_with(2)}}, {"2-shot", 2, nullptr, {pass_with(4), pass_with(8)}}});
  ASSERT_EQ(task.slices.size(), 2u);
  EXPECT_EQ(task.slices[0].value, "male");
  EXPECT_EQ(task.slices[0].examples, 5);
  EXPECT_EQ(task.slices[1].value, "female");
  EXPECT_DOUBLE_EQ(task.slices[0].rows[0].accuracy.value, 0);
  EXPECT_DOUBLE_EQ(task.slices[0].rows[1].accuracy.value, 0.6) << "one of five, and all";
  EXPECT_EQ(task.slices[0].rows[1].accuracy.low, wilson(0.6, 5).low);
  EXPECT_DOUBLE_EQ(task.slices[1].rows[0].accuracy.value, 2.0 / 3);
  EXPECT_DOUBLE_EQ(task.slices[1].rows[1].accuracy.value, 1);
  EXPECT_FALSE(task.slices[0].rows[0].metric.has_value());
}

// Seven of eight questions have two right choices of three.
TEST(EvalStatistics, SeveralRightChoicesHaveAProbability) {
  EvalData data = questions();
  data.task.labels.clear();
  data.metrics = {"accuracy", "true_probability"};
  EvalPass pass = pass_with(0);
  for (std::size_t q = 0; q < 8; ++q) {
    data.questions[0][q].choices = {" a", " b", " c"};
    data.questions[0][q].label = 0;
    data.questions[0][q].truths = q == 0 ? std::vector<std::int64_t>{0} : std::vector<std::int64_t>{0, 2};
    pass.ranked[q] = {q == 0 ? 0 : 2, 2, {-3, -2, -1}, {0.25, 0.25, 0.5}, data.questions[0][q].truths};
  }
  const EvaluatedTask task = evaluated(data, {{"0-shot", 0, nullptr, {pass}}});
  EXPECT_NEAR(task.chance, (1.0 / 3 + 7 * 2.0 / 3) / 8, 1e-12);
  EXPECT_DOUBLE_EQ(task.rows[0].accuracy.value, 7.0 / 8) << "the last choice is right where it is one of two";
  ASSERT_EQ(task.rows[0].metrics.size(), 1u);
  EXPECT_NEAR(task.rows[0].metrics[0].value, (0.25 + 7 * 0.75) / 8, 1e-12);
  EXPECT_LE(task.rows[0].metrics[0].low, task.rows[0].metrics[0].value);
}

TEST(EvalStatistics, RunningTextHasNoAccuracy) {
  EvalData data = questions();
  data.task.labels.clear();
  data.task.templates[0].document = "{text}";
  data.metrics = {"accuracy", "word_perplexity", "byte_perplexity", "bits_per_byte", "token_perplexity"};
  EvalPass pass = pass_with(8);
  for (std::size_t q = 0; q < 8; ++q) {
    data.questions[0][q].choices = {" two words"};
    pass.ranked[q] = {1, 0, {-3}, {}};
  }
  const EvaluatedTask task = evaluated(data, {{"0-shot", 0, nullptr, {pass}}, {"a", 0, nullptr, {pass}}});
  EXPECT_FALSE(task.graded);
  EXPECT_FALSE(task.rows[1].difference.has_value());
  ASSERT_EQ(task.rows[0].metrics.size(), 4u);
  EXPECT_NEAR(task.rows[0].metrics[0].value, std::exp(1), 1e-9) << "three pieces: the harness counts the one in front";
  EXPECT_NEAR(task.rows[0].metrics[1].value, std::exp(0.3), 1e-9) << "ten bytes";
  EXPECT_NEAR(task.rows[0].metrics[2].value, 0.3 / std::log(2), 1e-9);
  EXPECT_NEAR(task.rows[0].metrics[3].value, std::exp(1.5), 1e-9) << "two tokens";
}

TEST(EvalStatistics, TextsHavePerplexities) {
  EvalData data = questions();
  data.task.labels.clear();
  data.task.templates[0].target = "{text}";
  data.metrics = {"accuracy", "token_perplexity", "word_perplexity", "byte_perplexity"};
  EvalPass pass = pass_with(8);
  for (std::size_t q = 0; q < 8; ++q) {
    data.questions[0][q].choices = {" two words"};
    pass.ranked[q] = {1, q < 2 ? 1 : 0, {-3}, {}};
  }
  const EvaluatedTask task = evaluated(data, {{"0-shot", 0, nullptr, {pass}}});
  EXPECT_EQ(task.chance, 0);
  EXPECT_FALSE(task.rows[0].calibration.has_value());
  EXPECT_FALSE(task.percent);
  EXPECT_DOUBLE_EQ(task.rows[0].accuracy.value, 0.25);
  ASSERT_EQ(task.rows[0].metrics.size(), 3u);
  EXPECT_NEAR(task.rows[0].metrics[0].value, std::exp(1.5), 1e-9) << "two tokens each";
  EXPECT_NEAR(task.rows[0].metrics[1].value, std::exp(1.5), 1e-9) << "two words each";
  EXPECT_NEAR(task.rows[0].metrics[2].value, std::exp(0.3), 1e-9) << "ten bytes each";
  EXPECT_NEAR(task.rows[0].metrics[0].low, std::exp(1.5), 1e-9) << "all alike";
}

}  // namespace
}  // namespace graft
