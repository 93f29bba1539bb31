#include "cli/core/evaluation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "generate/fake_tokenizer_test.h"
#include "generate/tiny_llama_test.h"

namespace graft {
namespace {

// Four examples of two choices: three of class 0 (two right), one of class 1 (wrong); the last carries no label.
Evaluation evaluation() {
  Evaluation made;
  const std::vector<std::pair<std::int64_t, std::int64_t>> answers = {{0, 0}, {0, 0}, {0, 1}, {1, 0}, {-1, 0}};
  for (std::size_t i = 0; i < answers.size(); ++i) {
    RankedExample example;
    example.label = answers[i].first;
    example.prediction = answers[i].second;
    example.scores = {-1.0 - static_cast<double>(i), -2.0};
    example.probabilities = {0.6, 0.4};
    made.ranked.push_back(example);
  }
  made.scores.examples = 4;
  made.scores.accuracy = {0.5, 0, 1};
  made.scores.balanced_accuracy = {{1.0 / 3, 0, 1}};
  made.scores.macro_f1 = {{0.25, 0, 1}};
  return made;
}

TEST(EvaluationMetric, EveryBestMetricIsTheNumberItNames) {
  const Evaluation made = evaluation();
  EXPECT_EQ(made.metric("accuracy"), 0.5);
  EXPECT_EQ(made.metric("balanced_accuracy"), 1.0 / 3);
  EXPECT_EQ(made.metric("macro_f1"), 0.25);
  EXPECT_DOUBLE_EQ(made.metric("loss"), (-1 - 2 - 3 - 2) / 4.0) << "of the right choices, larger is better";
}

TEST(EvaluationMetric, ChanceCountsTheChoicesOfEach) {
  Evaluation made = evaluation();
  EXPECT_EQ(made.chance(), 0.5);
  made.ranked[0].scores = {-1, -2, -3, -4};
  made.ranked[0].probabilities = {0.4, 0.3, 0.2, 0.1};
  EXPECT_EQ(made.chance(), (0.25 + 3 * 0.5) / 4);
}

TEST(EvaluationMetric, CalibrationIsOfTheLabelled) {
  const auto calibration = calibration_of(evaluation().ranked);
  ASSERT_TRUE(calibration.has_value());
  // Confidences 0.6, 0.6, 0.4 (wrong: the second choice was predicted) and 0.6 (wrong), two of four right: in the bin
  // of 0.4 |0 - 0.4| / 4, in that of 0.6 |2/3 - 0.6| * 3/4.
  EXPECT_NEAR(calibration->error, 0.1 + 0.05, 1e-12);
  // 2 * 0.4^2 where class 0 is the truth, 2 * 0.6^2 where class 1 is.
  EXPECT_NEAR(calibration->brier, (3 * 0.32 + 0.72) / 4, 1e-12);
  EXPECT_EQ(calibration->bins.size(), 15u);
  EXPECT_FALSE(calibration_of({}).has_value());
  EXPECT_FALSE(calibration_of({{1, 1, {-3}, {}}}).has_value()) << "a text to write";
}

// Before, the first of two right choices was the answer, and after it the other one: neither is a mistake.
TEST(EvaluationMetric, AnyRightChoiceIsARightAnswer) {
  Evaluation before, after;
  before.ranked = {{0, 0, {}, {0.5, 0.25, 0.25}, {0, 2}}, {0, 1, {}, {0.25, 0.5, 0.25}, {}}};
  after.ranked = {{2, 2, {}, {0.25, 0.25, 0.5}, {0, 2}}, {0, 0, {}, {0.5, 0.25, 0.25}, {}}};
  EXPECT_EQ(before.right_answers(), (std::vector<std::int64_t>{1, 0}));
  EXPECT_EQ(after.right_answers(), (std::vector<std::int64_t>{1, 1}));
  after.scores.examples = 2;
  EXPECT_DOUBLE_EQ(after.chance(), (2.0 / 3 + 1.0 / 3) / 2) << "two of three, and one of three";
}

// Two of three choices are right: whichever of them is the answer, it is right, and Brier's truth is a half each.
TEST(EvaluationMetric, CalibrationKnowsSeveralRightChoices) {
  RankedExample first{-1, 0, {}, {0.5, 0.25, 0.25}, {0, 2}}, last{-1, 2, {}, {0.25, 0.25, 0.5}, {0, 2}};
  settle_label(first);
  settle_label(last);
  const auto calibration = calibration_of({first, last});
  ASSERT_TRUE(calibration.has_value());
  EXPECT_DOUBLE_EQ(calibration->error, 0.5) << "both right, at a confidence of a half";
  EXPECT_DOUBLE_EQ(calibration->brier, 0.125);
}

// Two of three choices are right; the first example is answered with the second of them, the other one wrongly.
TEST(EvaluationMetric, SeveralRightChoicesAreOneClassAsInGraftEval) {
  Job job;
  job.task = parse_task(
      "name: mine\nformat: jsonl\nsplits: {pool: a.jsonl}\ntruths_from: marks\n"
      "templates:\n  - {prompt: \"{text}\", choices_from: names}\nmetrics: [macro_f1, choice_entropy]\n",
      "mine.yaml");
  std::vector<Prediction> then(2);
  for (std::size_t i = 0; i < 2; ++i) {
    Example example;
    example.id = std::to_string(i);
    example.choices = {" a", " b", " c"};
    example.truths = {0, 2};
    example.label = 0;
    job.held_out.push_back(example);
    then[i].id = example.id;
    then[i].probabilities = {0.25, 0.25, 0.5};
    then[i].prediction = i == 0 ? 2 : 1;
  }
  const auto evaluation = evaluation_of(job, then);
  ASSERT_TRUE(evaluation.has_value());
  EXPECT_DOUBLE_EQ(evaluation->metric("macro_f1"), 1.0 / 3) << "of the class 0 two thirds, of 1 nothing";
  EXPECT_DOUBLE_EQ(evaluation->scores.macro_f1->value, 1.0 / 3);
  EXPECT_DOUBLE_EQ(evaluation->accuracy(), 0.5);
  EXPECT_DOUBLE_EQ(evaluation->metric("choice_entropy"), 1.5);
  EXPECT_EQ(told(job, *evaluation, "choice_entropy"), "1.50 (1.50–1.50) bits");
}

class NamedTokenizer : public ByteTokenizer {
 public:
  explicit NamedTokenizer(std::string name) : name_(std::move(name)) {}
  std::string hash() const override { return name_; }

 private:
  std::string name_;
};

// Kept texts are found by it.
TEST(DecodingText, DiffersWithWhatATextFollowsFrom) {
  const NamedTokenizer one("one"), other("other");
  ModelConfig model, forced, ending;
  forced.forced_bos = 3;
  ending.eos = {3};
  GenerateOptions options;
  options.tokenizer = &one;
  std::set<std::string> texts = {decoding_text(options, model), decoding_text(options, forced),
                                 decoding_text(options, ending)};
  GenerateOptions changed = options;
  changed.tokenizer = &other;
  texts.insert(decoding_text(changed, model));
  changed = options;
  changed.stop = {"a", "b"};
  texts.insert(decoding_text(changed, model));
  changed.stop = {"a 1:b"};
  texts.insert(decoding_text(changed, model));
  changed = options;
  changed.max_new_tokens = 7;
  texts.insert(decoding_text(changed, model));
  changed = options;
  changed.beam.early_stopping = EarlyStopping::Never;
  texts.insert(decoding_text(changed, model));
  changed = options;
  changed.kv_cache = KvFormat::EightBit;
  texts.insert(decoding_text(changed, model));
  for (const char* setting : {"2", "3", "auto"}) {
    changed = options;
    changed.speculation = speculation_of(setting);
    texts.insert(decoding_text(changed, model));
  }
  EXPECT_EQ(texts.size(), 12u);
}

// The same weights under other settings, or kept otherwise, answer otherwise. (127 is a value that blocks keep
// exactly.)
TEST(EvaluationKey, DiffersWithTheModelsSettingsAndHowItsWeightsAreKept) {
  const auto key_of = [](const std::string& config, WeightFormat weights) {
    const auto even = [](const std::string&, const std::vector<std::int64_t>& shape) { return at::full(shape, 127.0); };
    ModelOptions options;
    options.weights = weights;
    Job job;
    job.model = llama_of(even, true, config, options);
    return evaluation_key(job);
  };
  const std::string config = R"("rope_theta":10000.0)";
  const std::string key = key_of(config, WeightFormat::Dense);
  EXPECT_EQ(key_of(config, WeightFormat::Dense), key);
  EXPECT_NE(key_of(R"("rope_theta":500.0)", WeightFormat::Dense), key);
  EXPECT_NE(key_of(config, WeightFormat::Q8_0), key);
}

// Of two prompts, whose first text begins with a space: the filter of the task finds no digit at its beginning.
TEST(EvaluationOfTexts, FiltersSeeWhatWasWrittenAlsoWhenARunIsTakenUpAgain) {
  Job job;
  job.task = parse_task(
      "task: sums\ntest_split: test\noutput_type: generate_until\ndoc_to_text: q\ndoc_to_target: a\n"
      "filter_list:\n  - filter: [{function: regex, regex_pattern: '^([0-9])'}, {function: take_first}]\n"
      "metric_list: [{metric: exact_match}]\n",
      "sums.yaml");
  std::vector<Prediction> then(2);
  for (std::size_t i = 0; i < 2; ++i) {
    Example example;
    example.id = std::to_string(i);
    example.references = {"1"};
    job.held_out.push_back(example);
    then[i].id = example.id;
    then[i].references = example.references;
    then[i].written = i == 0 ? " 1\n" : "1 ";
    then[i].output = i == 0 ? "[invalid]" : "1";
  }
  const auto evaluation = evaluation_of(job, then);
  ASSERT_TRUE(evaluation.has_value());
  EXPECT_EQ(evaluation->outputs, (std::vector<std::string>{"[invalid]", "1"}));
  EXPECT_EQ(evaluation->metric("exact_match"), 0.5);
  const auto now = predictions_of(job, *evaluation);
  ASSERT_EQ(now.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(now[i].written, then[i].written);
    EXPECT_EQ(now[i].output, then[i].output);
  }
}

TEST(PredictionsOfTuning, SayTheGroupAndTheSlicesThatSomeRowHas) {
  Job job;
  job.task.slices = {"gender", "colour", "age"};
  Evaluation evaluation;
  for (const char* age : {"", "old"}) {
    Example example;
    example.choices = {" a", " b"};
    example.slices = {"female", "", age};
    example.group = {"q1"};
    job.held_out.push_back(example);
    evaluation.ranked.push_back({0, 1, {-2, -1}, {0.25, 0.75}});
  }
  const auto told = predictions_of(job, evaluation);
  ASSERT_EQ(told.size(), 2u);
  using Slices = std::map<std::string, std::string>;
  EXPECT_EQ(told[0].slices, (Slices{{"age", ""}, {"gender", "female"}})) << "no row has a colour";
  EXPECT_EQ(told[1].slices, (Slices{{"age", "old"}, {"gender", "female"}}));
  EXPECT_EQ(told[1].group, std::vector<std::string>{"q1"});
  job.parts = {{"one", 0, 2}};
  EXPECT_TRUE(predictions_of(job, evaluation)[0].slices.empty())
      << "of a mixture, whose tasks have fields of their own";
}

TEST(EvaluationMetric, SpreadIsMedianAndQuartiles) {
  Evaluation made;
  made.by_template = {{"a", 0.9}, {"b", 0.5}, {"c", 0.7}, {"d", 0.1}, {"e", 0.3}};
  const ReportScore spread = made.spread();
  EXPECT_DOUBLE_EQ(spread.value, 0.5);
  EXPECT_DOUBLE_EQ(spread.low, 0.3);
  EXPECT_DOUBLE_EQ(spread.high, 0.7);
}

}  // namespace
}  // namespace graft
