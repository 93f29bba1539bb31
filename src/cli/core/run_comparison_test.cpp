#include "cli/core/run_comparison.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error_test_support.h"
#include "base/file.h"
#include "report/test_folder.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

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
  EXPECT_DOUBLE_EQ(all[1].first_score, 3.0 / 7);
  EXPECT_DOUBLE_EQ(all[1].second_score, 1);
  EXPECT_NEAR(all[1].difference.difference, 4.0 / 7, 1e-12);
  EXPECT_EQ(all[1].mcnemar->only_first, 0);
  EXPECT_EQ(all[1].mcnemar->only_second, 4);
  EXPECT_NEAR(all[1].mcnemar->p_value, 2 / 16.0, 1e-12) << "2 / 2^4";
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
  EXPECT_DOUBLE_EQ(all[0].second_score, 0.25) << "the mean over two seeds";
}

TEST_F(RunComparison, SettingsMayBeNamed) {
  const auto a = made("a", setting("rte", "0-shot", 0, "1000") + setting("rte", "8-shot", 0, "1100"));
  const auto b = made("b", setting("rte", "0-shot", 0, "1011") + setting("cb", "0-shot", 0, "1111"));
  const auto named = compare_answers(a, b, {"8-shot", "0-shot"});
  ASSERT_EQ(named.size(), 1u) << "another task is no match";
  EXPECT_DOUBLE_EQ(named[0].second_score, 0.75);
  const auto within = compare_answers(a, a, {});
  ASSERT_EQ(within.size(), 1u);
  EXPECT_EQ(within[0].first, "0-shot");
  EXPECT_EQ(within[0].second, "8-shot");
}

// Every question's reference is its own number; '1' in `right` writes it.
std::string written(const std::string& name, const std::string& right, bool tuned) {
  std::string lines;
  for (std::size_t q = 0; q < right.size(); ++q) {
    const std::string head =
        tuned ? fmt::format(R"({{"phase": "{}", )", name)
              : fmt::format(R"({{"task": "sums", "setting": "{}", "seed": 0, "template": "t", "right": {}, )", name,
                            right[q] == '1');
    lines += head +
             fmt::format(R"("id": "q{0}", "output": "{1}", "references": ["{0}"]}})", q,
                         right[q] == '1' ? std::to_string(q) : "no") +
             "\n";
  }
  return lines;
}

TEST_F(RunComparison, TextsAreComparedByTheirMetric) {
  const auto a = made("a", written("before", "100000", true) + written("after", "110000", true));
  const auto b = made("b", written("before", "100000", true) + written("after", "11111", true));
  const auto all = compare_answers(a, b, {}, "exact_match");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].difference.difference, 0);
  EXPECT_EQ(all[1].metric, "exact_match");
  EXPECT_EQ(all[1].questions, 5);
  EXPECT_EQ(all[1].others, 1);
  EXPECT_DOUBLE_EQ(all[1].first_score, 0.4);
  EXPECT_DOUBLE_EQ(all[1].second_score, 1);
  EXPECT_NEAR(all[1].difference.difference, 0.6, 1e-12);
  EXPECT_LE(all[1].difference.interval.low, 0.6);
  EXPECT_LT(all[1].difference.p_value, 0.2);
  EXPECT_FALSE(all[1].mcnemar.has_value());
}

TEST_F(RunComparison, WrittenAnswersThatAreRightOrWrongMayBeComparedByEither) {
  const auto a = made("a", written("0-shot", "1100", false)), b = made("b", written("0-shot", "1111", false));
  const auto texts = compare_answers(a, b, {}, "bleu");
  ASSERT_EQ(texts.size(), 1u);
  EXPECT_EQ(texts[0].metric, "bleu");
  const auto right = compare_answers(a, b, {}, "accuracy");
  ASSERT_EQ(right.size(), 1u);
  EXPECT_EQ(right[0].metric, "accuracy");
  EXPECT_DOUBLE_EQ(right[0].first_score, 0.5);
  ASSERT_TRUE(right[0].mcnemar.has_value());
  EXPECT_EQ(right[0].mcnemar->only_second, 2);
  EXPECT_THAT(error_of([&] { compare_answers(a, b, {}); }), HasSubstr("name a metric (docs/metrics.md)"));
  EXPECT_THAT(error_of([&] { compare_answers(a, b, {}, "blue"); }), HasSubstr("did you mean 'bleu'?"));
  const auto choices = made("c", setting("sums", "0-shot", 0, "1111"));
  EXPECT_THAT(error_of([&] { compare_answers(a, choices, {}, "bleu"); }), HasSubstr("compares texts"));
}

// Two questions of two rows each, in a group where `group` says so.
std::string chosen(const std::string& setting, const std::vector<int>& predicted, bool group) {
  std::string lines;
  for (std::size_t q = 0; q < predicted.size(); ++q)
    lines += fmt::format(R"({{"task": "m", "setting": "{}", "seed": 0, "template": "t", "id": "q{}", "truth": {}, )"
                         R"("prediction": {}, "probabilities": [{}]{}}})",
                         setting, q, q % 2, predicted[q], predicted[q] == 0 ? "0.75, 0.25" : "0.5, 0.5",
                         group ? fmt::format(R"(, "group": ["{}"])", q / 2) : "") +
             "\n";
  return lines;
}

TEST_F(RunComparison, ChoicesAreComparedByAnyMetricOfThem) {
  const auto a = made("a", chosen("0-shot", {0, 1, 0, 0}, true)), b = made("b", chosen("0-shot", {0, 1, 0, 1}, true));
  const auto macro = compare_answers(a, b, {}, "macro_f1");
  ASSERT_EQ(macro.size(), 1u);
  EXPECT_EQ(macro[0].metric, "macro_f1");
  EXPECT_EQ(macro[0].questions, 4);
  EXPECT_NEAR(macro[0].first_score, (4.0 / 5 + 2.0 / 3) / 2, 1e-12) << "2 of 3 for the first class, 1 of 2 found";
  EXPECT_DOUBLE_EQ(macro[0].second_score, 1);
  EXPECT_NEAR(macro[0].difference.difference, 1 - (4.0 / 5 + 2.0 / 3) / 2, 1e-12);
  EXPECT_FALSE(macro[0].mcnemar.has_value());
  const auto groups = compare_answers(a, b, {}, "group_exact_match");
  EXPECT_DOUBLE_EQ(groups[0].first_score, 0.5);
  EXPECT_DOUBLE_EQ(groups[0].difference.difference, 0.5);
  EXPECT_DOUBLE_EQ(groups[0].difference.interval.high, 1) << "the second question alone, drawn twice";
  const double even = 1, uneven = 0.25 * 2 - 0.75 * std::log2(0.75);
  const auto entropy = compare_answers(a, b, {}, "choice_entropy");
  EXPECT_NEAR(entropy[0].difference.difference, (even - uneven) / 4, 1e-12);
  EXPECT_NEAR(compare_answers(a, b, {}, "true_probability")[0].first_score, (0.75 + 0.5 + 0.75 + 0.25) / 4, 1e-12);
  const auto alone = made("c", chosen("0-shot", {0, 1, 0, 0}, false));
  EXPECT_THAT(error_of([&] { compare_answers(alone, alone, {"0-shot"}, "group_exact_match"); }),
              HasSubstr("is of groups"));
  EXPECT_DOUBLE_EQ(compare_answers(alone, b, {}, "group_exact_match")[0].first_score, 0.5) << "b tells the groups";
  EXPECT_THAT(error_of([&] { compare_answers(a, b, {}, "answer_f1"); }), HasSubstr("needs the texts of right choices"));
  EXPECT_THAT(error_of([&] { compare_answers(a, b, {}, "macro_f2"); }), HasSubstr("did you mean 'macro_f1'?"));
  const auto bare = made("e", setting("m", "0-shot", 0, "0101"));
  EXPECT_THAT(error_of([&] { compare_answers(a, bare, {}, "choice_entropy"); }), HasSubstr("is of probabilities"));
  const auto texts = made("d", written("0-shot", "11", false));
  EXPECT_THAT(error_of([&] { compare_answers(texts, texts, {"0-shot"}, "macro_f1"); }), HasSubstr("have no choices"));
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
