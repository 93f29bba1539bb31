#include "corpus/split_score.h"

#include <gmock/gmock.h>

#include <cmath>

#include "corpus/corpus_test_support.h"
#include "statistics/proportion.h"

namespace graft {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class SettingAnswersTest : public ::testing::Test {
 protected:
  std::vector<SettingAnswers> read(const std::string& lines, const std::string& task = "") const {
    return setting_answers(folder_.file("predictions.jsonl", lines), task);
  }
  std::string refused(const std::string& lines) const {
    return error_of([&] { read(lines, "rte"); });
  }

  Folder folder_;
};

TEST_F(SettingAnswersTest, OfTuneHaveTwoPhases) {
  const auto answers = read(
      R"({"phase": "before", "id": "rte/aa", "truth": 1, "prediction": 0}
{"phase": "before", "id": "rte/bb", "truth": -1, "prediction": 0}
{"phase": "after", "id": "rte/aa", "truth": 1, "prediction": 1}
)");
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].setting, "before");
  EXPECT_EQ(answers[0].right, (std::map<std::string, double>{{"aa", 0}}));
  EXPECT_EQ(answers[1].right, (std::map<std::string, double>{{"aa", 1}}));
}

TEST_F(SettingAnswersTest, OfEvalHaveRunsAndTasks) {
  const std::string lines =
      R"({"task": "rte", "setting": "8-shot", "seed": 0, "template": "t", "id": "aa", "truth": 1, "prediction": 0}
{"task": "rte", "setting": "8-shot", "seed": 1, "template": "t", "id": "aa", "truth": 1, "prediction": 1}
{"task": "cb", "setting": "8-shot", "seed": 0, "template": "t", "id": "cc", "truth": 1, "prediction": 1}
{"task": "rte", "setting": "0-shot", "seed": 0, "template": "t", "id": "aa", "right": true}
)";
  const auto answers = read(lines, "rte");
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].right, (std::map<std::string, double>{{"aa", 0.5}}));
  EXPECT_EQ(answers[1].right, (std::map<std::string, double>{{"aa", 1}}));
  EXPECT_EQ(read(lines).size(), 3u);
  EXPECT_EQ(setting_answers(folder_.path(), "rte").size(), 2u) << "the folder stands for its file";
}

TEST_F(SettingAnswersTest, WhatIsNoAnswerIsRefused) {
  EXPECT_THAT(refused("{\"phase\": \"before\"}\n"), HasSubstr("predictions.jsonl:1: not a line that graft wrote"));
  EXPECT_THAT(refused("{\"a\": \n{}\n"), HasSubstr("predictions.jsonl:1"));
  EXPECT_THAT(refused("{\"phase\": \"before\", \"id\": \"a\", \"log_probability\": -1}\n"),
              HasSubstr("holds no answer"));
  EXPECT_THAT(refused(""), HasSubstr("holds no answer to the task rte"));
  EXPECT_THAT(error_of([&] { setting_answers(folder_.path() / "none.jsonl"); }), StartsWith("NotFound"));
}

TEST_F(SettingAnswersTest, MayBeTexts) {
  const auto tuned = read(R"({"phase": "after", "id": "e2e/aa", "output": "y", "references": ["x"]})"
                          "\n");
  ASSERT_EQ(tuned.size(), 1u);
  EXPECT_TRUE(tuned[0].right.empty());
  ASSERT_EQ(tuned[0].texts.size(), 1u);
  EXPECT_EQ(tuned[0].texts[0].at("aa").output, "y");
  const auto asked = read(
      R"({"task": "t", "setting": "0-shot", "seed": 0, "template": "t", "id": "aa", "right": true, "output": "y", "references": ["y"]}
{"task": "t", "setting": "0-shot", "seed": 1, "template": "t", "id": "aa", "right": false, "output": "z", "references": ["y"]}
)");
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].right, (std::map<std::string, double>{{"aa", 0.5}}));
  ASSERT_EQ(asked[0].texts.size(), 2u);
  EXPECT_EQ(asked[0].texts[1].at("aa").output, "z");
}

TEST(SplitTexts, AreOfAllCleanAndDirtyByAMetric) {
  const auto wrote = [](const std::string& output) { return WrittenAnswer{output, {"red cow"}}; };
  const SettingAnswers answers{"8-shot",
                               {},
                               {{{"a", wrote("red cow")}, {"b", wrote("red")}, {"c", wrote("blue")}, {"d", wrote("x")}},
                                {{"a", wrote("red cow")}, {"b", wrote("red cow")}, {"c", wrote("blue")}}}};
  const std::vector<std::string> ids = {"a", "b", "c", "d", "e"};
  const TextMetric& f1 = text_metric("squad_f1");
  const SplitTexts score = split_texts(answers, f1, ids, {true, false, false, false, true});
  EXPECT_EQ(score.setting, "8-shot");
  EXPECT_EQ(score.metric, "squad_f1");
  EXPECT_EQ(score.unanswered, 2) << "one run lacks d, both lack e";
  EXPECT_EQ(score.all.examples, 3);
  const std::vector<std::string> red = {"red"};
  const std::vector<std::vector<std::string>> cow = {{"red cow"}};
  const double once = f1.score({red, cow});
  EXPECT_GT(once, 0);
  EXPECT_LT(once, 1);
  EXPECT_NEAR(score.clean.score, (once + 1) / 4, 1e-12);
  EXPECT_EQ(score.clean.examples, 2);
  EXPECT_EQ(score.dirty.examples, 1);
  EXPECT_DOUBLE_EQ(score.dirty.score, 1);
  EXPECT_DOUBLE_EQ(score.dirty.bootstrap_95.low, 1);
  EXPECT_NEAR(score.all.score, (1 + (once + 1) / 2) / 3, 1e-12);
  EXPECT_DOUBLE_EQ(score.clean.bootstrap_95.low, 0) << "c alone, drawn twice";
  EXPECT_NEAR(score.clean.bootstrap_95.high, (once + 1) / 2, 1e-12) << "b alone";
  EXPECT_TRUE(std::isnan(split_texts(answers, f1, ids, std::vector<bool>(5, false)).dirty.score));
  const std::vector<std::string> others = {"x"};
  EXPECT_THAT(error_of([&] { split_texts(answers, f1, others, {false}); }), HasSubstr("none of the 4 examples"));
}

TEST(SplitScores, AreOfAllCleanAndDirty) {
  const SettingAnswers answers{"after", {{"a", 1}, {"b", 0}, {"c", 1}, {"d", 0.5}}};
  const std::vector<std::string> ids = {"a", "b", "c", "d", "e"};
  const SplitScore score = split_score(answers, ids, {true, false, false, false, true});
  EXPECT_EQ(score.all.examples, 4);
  EXPECT_DOUBLE_EQ(score.all.right, 2.5 / 4);
  EXPECT_EQ(score.clean.examples, 3);
  EXPECT_DOUBLE_EQ(score.clean.right, 0.5);
  EXPECT_DOUBLE_EQ(score.clean.wilson_95.low, wilson(0.5, 3).low);
  EXPECT_EQ(score.dirty.examples, 1);
  EXPECT_DOUBLE_EQ(score.dirty.right, 1);
  EXPECT_EQ(score.unanswered, 1);
  const SplitScore clean = split_score(answers, ids, std::vector<bool>(5, false));
  EXPECT_EQ(clean.dirty.examples, 0);
  EXPECT_TRUE(std::isnan(clean.dirty.right));
  const std::vector<std::string> others = {"x"};
  EXPECT_THAT(error_of([&] { split_score(answers, others, {false}); }), HasSubstr("none of the 4 examples"));
}

}  // namespace
}  // namespace graft
