#include "statistics/rouge.h"

#include "statistics/metric_test_support.h"

namespace graft {
namespace {

void expect_rouge(const Rouge& found, double mean, const std::vector<double>& f1) {
  EXPECT_NEAR(found.mean.f1, mean, 1e-10);
  std::vector<double> each;
  for (const RougeScore& score : found.each) each.push_back(score.f1);
  expect_near(each, f1);
}

TEST(Rouge, AgreesWithRougeScore) {
  const TextCases cases = golden_cases().view();
  expect_rouge(rouge_n(cases, 1), 0.6473359683794466, {0.95652173913043, 0.96, 0, 0.36363636363636, 0.95652173913043});
  expect_rouge(rouge_n(cases, 2), 0.4231884057971015, {0.85714285714286, 0.78260869565217, 0, 0, 0.47619047619048});
  expect_rouge(rouge_l(cases), 0.5121897233201581, {0.95652173913043, 0.64, 0, 0.18181818181818, 0.78260869565217});
  expect_rouge(rouge_l(cases, {.stem = true}), 0.5228849104859334,
               {0.95652173913043, 0.64, 0, 0.23529411764706, 0.78260869565217});
}

TEST(Rouge, PrecisionAndRecallAreThoseOfTheBestReference) {
  const Rouge found = rouge_n(one_case("a b c d", {"a x", "a b"}).view(), 1);
  EXPECT_NEAR(found.each[0].precision, 0.5, 1e-12);
  EXPECT_NEAR(found.each[0].recall, 1, 1e-12);
}

TEST(Rouge, LinesAreComparedWithLines) {
  // rouge_score 0.1.2, rougeLsum; rougeL sees one text.
  const auto cases = one_case("the cat sat\nthe dog ran away\n\nthe end", {"the dog ran\nthe cat sat down the"});
  const Rouge found = rouge_l_sum(cases.view());
  EXPECT_NEAR(found.each[0].precision, 0.6666666666666666, 1e-10);
  EXPECT_NEAR(found.each[0].recall, 0.75, 1e-10);
  EXPECT_NEAR(rouge_l(cases.view()).each[0].f1, 0.47058823529411764, 1e-10);
}

TEST(Rouge, OfCocoAgreesWithPycocoevalcap) {
  const CaseScores found = rouge_l_coco(golden_cases().view());
  EXPECT_NEAR(found.mean, 0.4288414048095831, 1e-10);
  expect_near(found.each, {0.690240452617, 0.492597577389, 0, 0.184848484848, 0.776520509194});
}

TEST(Rouge, EmptyTexts) {
  const auto cases = one_case("", {""});
  EXPECT_EQ(rouge_n(cases.view(), 1).mean.f1, 0.0);
  EXPECT_EQ(rouge_l(cases.view()).mean.f1, 0.0);
  EXPECT_EQ(rouge_l_sum(cases.view()).mean.f1, 0.0);
  EXPECT_NEAR(rouge_l_coco(cases.view()).mean, 1, 1e-12) << "an empty text is one empty word there";
  EXPECT_EQ(rouge_l_coco(one_case("", {"a"}).view()).mean, 0.0);
}

TEST(Rouge, RefusesWhatHasNoScore) {
  expect_refusals([](const TextCases& cases) { rouge_n(cases, 1); });
  expect_refusals([](const TextCases& cases) { rouge_l(cases); });
  expect_refusals([](const TextCases& cases) { rouge_l_sum(cases); });
  expect_refusals([](const TextCases& cases) { rouge_l_coco(cases); });
  EXPECT_THROW(rouge_n(golden_cases().view(), 0), Error);
}

}  // namespace
}  // namespace graft
