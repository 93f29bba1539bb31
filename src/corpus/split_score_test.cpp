#include "corpus/split_score.h"

#include <gmock/gmock.h>

#include <cmath>

#include "corpus/corpus_test_support.h"
#include "statistics/proportion.h"

namespace graft {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

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
  EXPECT_THAT(refused("{\"phase\": \"before\", \"id\": \"a\", \"output\": \"y\", \"references\": [\"x\"]}\n"),
              HasSubstr("neither right nor wrong"));
  EXPECT_THAT(refused(""), HasSubstr("holds no answer to the task rte"));
  EXPECT_THAT(error_of([&] { setting_answers(folder_.path() / "none.jsonl"); }), StartsWith("NotFound"));
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
