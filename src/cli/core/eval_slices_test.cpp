#include "cli/core/eval_slices.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace graft {
namespace {

std::vector<Example> questions_with(const std::vector<std::vector<std::string>>& values) {
  std::vector<Example> questions;
  for (const auto& of_question : values) {
    questions.emplace_back();
    questions.back().slices = of_question;
  }
  return questions;
}

TEST(EvalSlices, TheMostFrequentValueIsTheFirstOfItsField) {
  const auto slices = slices_of({"gender", "place"}, questions_with({{"b", "x"}, {"a", "x"}, {"a", ""}, {"c", "x"}}));
  ASSERT_EQ(slices.size(), 5u);
  EXPECT_EQ(slices[0].field, "gender");
  EXPECT_EQ(slices[0].value, "a");
  EXPECT_EQ(slices[0].questions, (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(slices[1].value, "b");
  EXPECT_EQ(slices[2].value, "c");
  EXPECT_EQ(slices[3].field, "place");
  EXPECT_EQ(slices[3].questions.size(), 3u);
  EXPECT_EQ(slices[4].value, "");
  EXPECT_TRUE(slices_of({}, questions_with({{}})).empty());
}

TEST(EvalSlices, BeyondTwentyValuesTheRareOnesAreOne) {
  std::vector<std::vector<std::string>> values;
  for (int v = 0; v < 23; ++v) {
    values.push_back({std::to_string(v)});
    if (v >= 3) values.push_back({std::to_string(v)});
  }
  const auto slices = slices_of({"f"}, questions_with(values));
  ASSERT_EQ(slices.size(), kToldValues + 1);
  EXPECT_EQ(slices.back().others, 3);
  EXPECT_EQ(slices.back().value, "");
  EXPECT_EQ(slices.back().questions, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(slices[0].others, 0);
  values.resize(3);
  EXPECT_EQ(slices_of({"f"}, questions_with(values)).back().others, 0);
}

TEST(EvalSlices, QuestionsThatShareAnNgramAreApartFromTheOthers) {
  EvalData data;
  data.task.templates = {{"first", "{text}", {" x"}, "", ""}};
  data.questions.emplace_back(4);
  data.overlaps = {
      {"the candidates", {13, 4, 0, {}}}, {"run (ia3)", {8, 4, 2, {1, 3}}}, {"all", {8, 4, 4, {0, 1, 2, 3}}}};
  const auto slices = slices_by_overlap(data);
  ASSERT_EQ(slices.size(), 2u) << "where all or none are, nothing is apart";
  EXPECT_EQ(slices[0].field, "8-gram shared with run (ia3)");
  EXPECT_EQ(slices[0].value, "no");
  EXPECT_EQ(slices[0].questions, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(slices[1].field, slices[0].field);
  EXPECT_EQ(slices[1].value, "yes");
  EXPECT_EQ(slices[1].questions, (std::vector<std::size_t>{1, 3}));
  data.task.templates[0].document = "{text}";
  EXPECT_TRUE(slices_by_overlap(data).empty()) << "running text is told as a whole";
}

TEST(EvalSlices, ComeBackFromJson) {
  EvaluatedTask task;
  task.text_metric = "bleu";
  task.rows.resize(2);
  task.rows[0].name = "0-shot";
  task.rows[1].name = "8-shot";
  task.slices = {{"gender", "female", 0, 12, {{{0.5, 0.25, 0.75}, ReportScore{31, 30, 33}}, {{1, 0.8, 1}, {}}}},
                 {"gender", "", 4, 5, {{{0, 0, 0.2}, {}}, {{0.2, 0.1, 0.5}, {}}}}};
  const nlohmann::json json = nlohmann::json::parse(slices_json(task, task.slices).dump());
  EXPECT_EQ(json[0].at("rows")[1].at("setting"), "8-shot");
  EXPECT_EQ(json[1].at("other_values"), 4);
  const auto slices = slices_from(json);
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[0].value, "female");
  EXPECT_EQ(slices[0].examples, 12);
  EXPECT_EQ(slices[0].rows[0].accuracy.high, 0.75);
  ASSERT_TRUE(slices[0].rows[0].metric.has_value());
  EXPECT_EQ(slices[0].rows[0].metric->low, 30);
  EXPECT_FALSE(slices[0].rows[1].metric.has_value());
  EXPECT_EQ(slices[1].others, 4);
}

}  // namespace
}  // namespace graft
