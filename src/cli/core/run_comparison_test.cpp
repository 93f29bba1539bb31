#include "cli/core/run_comparison.h"

#include <gmock/gmock.h>

#include "base/error_test_support.h"
#include "base/file.h"
#include "report/test_folder.h"

namespace graft {
namespace {

using testing::HasSubstr;

class RunComparison : public TestFolder {
 protected:
  // Questions q0, q1, …; '1' in `right` is a right answer, '-' a question that was not asked.
  static std::string phase(const std::string& name, const std::string& right) {
    std::string lines;
    for (std::size_t q = 0; q < right.size(); ++q) {
      if (right[q] == '-') continue;
      lines += fmt::format(R"({{"phase": "{}", "id": "q{}", "where": "", "truth": 1, "prediction": {}}})", name, q,
                           right[q]) +
               "\n";
    }
    return lines;
  }
  static std::string setting(const std::string& task, const std::string& name, int seed, const std::string& right) {
    std::string lines;
    for (std::size_t q = 0; q < right.size(); ++q)
      lines += fmt::format(R"({{"task": "{}", "setting": "{}", "seed": {}, "template": "t", "id": "q{}", "truth": 1, )"
                           R"("prediction": {}}})",
                           task, name, seed, q, right[q]) +
               "\n";
    return lines;
  }
  std::filesystem::path made(const std::string& name, const std::string& lines) const {
    write_file(folder() / name / "predictions.jsonl", lines);
    return folder() / name;
  }
};

TEST_F(RunComparison, TwoTuningRunsPhaseByPhaseOnTheQuestionsOfBoth) {
  const auto a = made("a", phase("before", "11000000") + phase("after", "11110000"));
  const auto b = made("b", phase("before", "11000000") + phase("after", "-1111111"));
  const auto all = compare_answers(a, b, {});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].first, "before");
  EXPECT_EQ(all[0].difference.difference, 0);
  EXPECT_EQ(all[1].second, "after");
  EXPECT_EQ(all[1].questions, 7);
  EXPECT_EQ(all[1].others, 1);
  EXPECT_DOUBLE_EQ(all[1].first_accuracy, 3.0 / 7);
  EXPECT_DOUBLE_EQ(all[1].second_accuracy, 1);
  EXPECT_NEAR(all[1].difference.difference, 4.0 / 7, 1e-12);
  EXPECT_EQ(all[1].mcnemar.only_first, 0);
  EXPECT_EQ(all[1].mcnemar.only_second, 4);
  EXPECT_NEAR(all[1].mcnemar.p_value, 2 / 16.0, 1e-12) << "2 / 2^4";
}

TEST_F(RunComparison, WithoutACommonSettingTheLastOfEither) {
  const auto tuned = made("a", phase("before", "1000") + phase("after", "1110"));
  const auto evaluated = made("b", setting("rte", "0-shot", 0, "1000") + setting("rte", "8-shot", 0, "1100") +
                                       setting("rte", "8-shot", 1, "0000"));
  const auto all = compare_answers(tuned, evaluated, {});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].task, "rte");
  EXPECT_EQ(all[0].first, "after");
  EXPECT_EQ(all[0].second, "8-shot");
  EXPECT_DOUBLE_EQ(all[0].second_accuracy, 0.25) << "the mean over two seeds";
}

TEST_F(RunComparison, SettingsMayBeNamed) {
  const auto a = made("a", setting("rte", "0-shot", 0, "1000") + setting("rte", "8-shot", 0, "1100"));
  const auto b = made("b", setting("rte", "0-shot", 0, "1011") + setting("cb", "0-shot", 0, "1111"));
  const auto named = compare_answers(a, b, {"8-shot", "0-shot"});
  ASSERT_EQ(named.size(), 1u) << "another task is no match";
  EXPECT_DOUBLE_EQ(named[0].second_accuracy, 0.75);
  const auto within = compare_answers(a, a, {});
  ASSERT_EQ(within.size(), 1u);
  EXPECT_EQ(within[0].first, "0-shot");
  EXPECT_EQ(within[0].second, "8-shot");
}

TEST_F(RunComparison, WhatHasNothingInCommonIsTold) {
  const auto a = made("a", setting("rte", "0-shot", 0, "10")), b = made("b", setting("cb", "0-shot", 0, "10"));
  EXPECT_THAT(error_of([&] { compare_answers(a, b, {}); }), HasSubstr("no question in common"));
  EXPECT_THAT(error_of([&] { compare_answers(a, a, {"0-shto"}); }), HasSubstr("did you mean '0-shot'?"));
  EXPECT_THAT(error_of([&] { compare_answers(a, a, {"x", "y", "z"}); }), HasSubstr("not 3"));
  EXPECT_THAT(error_of([&] { compare_answers(a, folder() / "none", {}); }), HasSubstr("holds no predictions.jsonl"));
}

}  // namespace
}  // namespace graft
