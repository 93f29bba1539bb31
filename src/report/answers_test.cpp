#include "report/answers.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_test_support.h"
#include "base/file.h"
#include "report/test_folder.h"

namespace graft {
namespace {

using Run = std::map<std::string, bool>;

class AnswersTest : public TestFolder {
 protected:
  std::vector<Answers> read(const std::string& lines) const {
    write_file(folder() / "predictions.jsonl", lines);
    return read_answers(folder());
  }
  std::string refused(const std::string& lines) const {
    return error_of([&] { read(lines); });
  }
};

TEST_F(AnswersTest, OfATuningRunAreItsPhases) {
  const auto answers = read(R"({"phase": "before", "id": "a", "where": "x:1", "truth": 0, "prediction": 1})"
                            "\n"
                            R"({"phase": "before", "id": "b", "where": "x:2", "truth": -1, "prediction": 1})"
                            "\n"
                            R"({"phase": "after", "id": "a", "where": "x:1", "truth": 0, "prediction": 0})"
                            "\n"
                            R"({"phase": "after", "id": "a", "where": "x:3", "truth": 1, "prediction": 0})"
                            "\n");
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].task, "");
  EXPECT_EQ(answers[0].setting, "before");
  EXPECT_EQ(answers[0].runs, (std::vector<graft::Run>{graft::Run{{"a", false}}})) << "a row without label is left out";
  EXPECT_EQ(answers[1].runs, (std::vector<graft::Run>{graft::Run{{"a", true}, {"a #2", false}}}))
      << "a repeated row counts";
}

TEST_F(AnswersTest, OfAnEvaluationAreItsSettingsWithSeedsAndTemplates) {
  const std::string shared = R"("where": "x:1", "id": "a", "template": "t", "task": ")";
  const auto line = [&](const std::string& task, const std::string& setting, int seed, const std::string& answer) {
    return "{" + shared + task + R"(", "setting": ")" + setting + R"(", "seed": )" + std::to_string(seed) + ", " +
           answer + "}\n";
  };
  const auto answers =
      read(line("rte", "0-shot", 0, R"("truth": 1, "prediction": 1)") +
           line("rte", "8-shot", 0, R"("truth": 1, "prediction": 1)") +
           line("rte", "8-shot", 1, R"("truth": 1, "prediction": 0)") + line("sums", "0-shot", 0, R"("right": true)"));
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0].task, "rte");
  EXPECT_EQ(answers[1].setting, "8-shot");
  EXPECT_EQ(answers[1].runs, (std::vector<graft::Run>{graft::Run{{"a", true}}, graft::Run{{"a", false}}}));
  EXPECT_EQ(answers[2].task, "sums");
  EXPECT_EQ(answers[2].runs, (std::vector<graft::Run>{graft::Run{{"a", true}}}));
}

TEST_F(AnswersTest, ChoicesStandBesideWhatIsRight) {
  const std::string shared = R"({"task": "m", "setting": "0-shot", "seed": 0, "template": "t", )";
  const auto answers = read(shared + R"("id": "a", "truth": 1, "prediction": 0, "probabilities": [0.75, 0.25], )" +
                            R"("truths": [1, 2], "group": ["p", "who"]})" + "\n" + shared +
                            R"("id": "b", "truth": -1, "prediction": 0})" + "\n" + shared +
                            R"("id": "c", "truth": 0, "prediction": 0})" + "\n");
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(answers[0].chosen());
  ASSERT_EQ(answers[0].choices[0].size(), 2u) << "a row without label is left out";
  const ChosenAnswer& first = answers[0].choices[0].at("a");
  EXPECT_EQ(first.truth, 1);
  EXPECT_EQ(first.probabilities, (std::vector<double>{0.75, 0.25}));
  EXPECT_EQ(first.truths, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(first.group, (std::vector<std::string>{"p", "who"}));
  EXPECT_TRUE(answers[0].choices[0].at("c").probabilities.empty());
}

TEST_F(AnswersTest, TextsStandBesideWhatIsRight) {
  const auto tuned = read(R"({"phase": "after", "id": "a", "references": ["x", "y"], "output": "y"})"
                          "\n"
                          R"({"phase": "after", "id": "a", "references": ["z"], "output": "w"})"
                          "\n");
  ASSERT_EQ(tuned.size(), 1u);
  EXPECT_FALSE(tuned[0].graded());
  EXPECT_TRUE(tuned[0].written());
  EXPECT_EQ(tuned[0].texts[0].at("a").references, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(tuned[0].texts[0].at("a #2").output, "w");
  const auto evaluated =
      read(R"({"task": "e2e", "setting": "0-shot", "seed": 0, "template": "t", "id": "a", "right": true,)"
           R"( "log_probability": -1, "references": ["x"], "output": "x"})"
           "\n"
           R"({"task": "wiki", "setting": "0-shot", "seed": 0, "template": "t", "id": "a",)"
           R"( "log_probability": -1})"
           "\n");
  ASSERT_EQ(evaluated.size(), 1u) << "running text has no answers";
  EXPECT_TRUE(evaluated[0].graded());
  EXPECT_TRUE(evaluated[0].runs[0].at("a"));
  EXPECT_EQ(evaluated[0].texts[0].at("a").output, "x");
}

TEST_F(AnswersTest, WhatIsNotThereOrNoAnswerIsTold) {
  EXPECT_NE(error_of([&] { read_answers(folder()); }).find("NotFound"), std::string::npos);
  EXPECT_NE(refused(R"({"phase": "after", "id": "a"})"
                    "\n")
                .find("predictions.jsonl:1"),
            std::string::npos);
}

}  // namespace
}  // namespace graft
