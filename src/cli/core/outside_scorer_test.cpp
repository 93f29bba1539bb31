#include "cli/core/outside_scorer.h"

#include <gmock/gmock.h>

#include "base/error_test_support.h"
#include "cli/core/eval_statistics.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

// Two questions, and two settings, the second of two seeds.
EvalData written_questions() {
  EvalData data;
  data.task.name = "sums";
  data.task.templates = {{"first", "{q}", {}, "", "{a}"}};
  data.templates = {0};
  data.metrics = {"accuracy", "exact_match"};
  data.writes = true;
  data.questions.emplace_back();
  for (const char* id : {"a", "b"}) {
    Example example;
    example.id = id;
    example.prompt = std::string("prompt ") + id;
    example.choices = {" yes"};
    example.references = {"yes"};
    data.questions[0].push_back(example);
  }
  return data;
}

EvalPass pass_of(const std::vector<std::string>& texts) {
  EvalPass pass;
  pass.template_name = "first";
  pass.texts = texts;
  for (std::size_t q = 0; q < texts.size(); ++q) {
    pass.ranked.push_back({1, 0, {-1}, {}});
    pass.dropped.push_back(0);
    pass.cut.push_back(0);
    pass.reference_tokens.push_back(1);
  }
  score_texts(written_questions(), pass);
  return pass;
}

std::vector<EvalRow> rows() {
  return {{"0-shot", 0, nullptr, {pass_of({"yes", "no\n"})}},
          {"1-shot", 1, nullptr, {pass_of({"yes", "yes"}), pass_of({"no", "bad"})}}};
}

std::vector<EvalRow> judged_by(const std::string& command, double patience = 60) {
  EvalSettings settings;
  settings.scorer = command;
  settings.scorer_patience = patience;
  auto all = rows();
  judge_texts(settings, written_questions(), all);
  return all;
}

std::string scorer_refused(const std::string& command, double patience = 60) {
  return error_of([&] { judged_by(command, patience); });
}

TEST(OutsideScorer, ItsNumbersAreThoseOfTheirTexts) {
  const std::string yes = R"(s/.*"output":"yes".*/{"good": 1, "bad": 0.5}/)";
  const std::string other = R"(s/.*"output".*/{"good": 0, "bad": 2}/)";
  const auto all = judged_by("sed -e '" + yes + "' -e '" + other + "'");
  EXPECT_EQ(all[0].passes[0].judged.at("good"), (std::vector<double>{1, 0}));
  EXPECT_EQ(all[1].passes[0].judged.at("good"), (std::vector<double>{1, 1}));
  EXPECT_EQ(all[1].passes[1].judged.at("bad"), (std::vector<double>{2, 2}));
  const EvaluatedTask task = evaluated(written_questions(), all);
  EXPECT_EQ(task.metrics, (std::vector<std::string>{"exact_match", "bad", "good"}));
  ASSERT_EQ(task.rows[1].metrics.size(), 3u);
  EXPECT_DOUBLE_EQ(task.rows[0].metrics[2].value, 0.5);
  EXPECT_DOUBLE_EQ(task.rows[1].metrics[2].value, 0.5) << "the mean of both seeds";
  EXPECT_DOUBLE_EQ(task.rows[0].metrics[1].value, 1.25);
  EXPECT_LT(task.rows[0].metrics[1].low, 1.25);
  EXPECT_GT(task.rows[0].metrics[1].high, 1.25);
}

TEST(OutsideScorer, IsToldAllOfAText) {
  const std::string told =
      R"({"task":"sums","setting":"0-shot","seed":0,"template":"first","order":0,"id":"b","prompt":"prompt b",)"
      R"("output":"no","references":["yes"]})";
  EXPECT_EQ(
      scorer_refused("grep -q -F '" + told + "' && exit 7"),
      "Io --scorer: the command ended with exit status 7 (lines answered: 0): grep -q -F '" + told + "' && exit 7");
}

TEST(OutsideScorer, WhatIsNoAnswerIsToldInALine) {
  EXPECT_THAT(scorer_refused("head -n 2 | sed 's/.*/{\"score\": 1}/'"),
              HasSubstr("the 6 texts of task sums with 2 lines"));
  EXPECT_THAT(scorer_refused("sed 'p; s/.*/{\"score\": 1}/'"), HasSubstr("with more lines than that"));
  EXPECT_THAT(scorer_refused("sed 's/.*/{\"score\": \"high\"}/'"), HasSubstr("answer 1: 'score' is no number"));
  EXPECT_THAT(scorer_refused("sed 's/.*/{\"score\": null}/'"), HasSubstr("answer 1: 'score' is no number"));
  EXPECT_THAT(scorer_refused("sed 's/.*/0.5/'"),
              HasSubstr("answer 1 is '0.5', not a JSON object like {\"score\": 0.5}"));
  EXPECT_THAT(scorer_refused("sed 's/.*/{}/'"), HasSubstr("answer 1 is '{}'"));
  EXPECT_THAT(scorer_refused("sed 's/.*/{\"exact_match\": 1}/'"), HasSubstr("as a metric of the table is"));
  EXPECT_THAT(scorer_refused("sed 's/.*/{\"\": 1}/'"),
              HasSubstr("answer 1 names a number \"\"; a name has 1 to 64 bytes"));
  EXPECT_THAT(scorer_refused("sed 's/.*/{\"a\\\\nb\": 1}/'"), HasSubstr("names a number \"a\\nb\"; a name"));
  EXPECT_THAT(scorer_refused("sed -e '1 s/.*/{\"a\": 1}/' -e '2,$ s/.*/{\"b\": 1}/'"),
              HasSubstr("answer 2 has other names of numbers than answer 1"));
  EXPECT_THAT(scorer_refused("no-such-scorer 2> /dev/null"), HasSubstr("exit status 127"));
  EXPECT_THAT(scorer_refused("sleep 50", 0.2), HasSubstr("neither reads nor answers for 0.2 seconds"));
}

}  // namespace
}  // namespace graft
