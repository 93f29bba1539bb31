#include "statistics/cider.h"

#include "statistics/metric_test_support.h"

namespace graft {
namespace {

TEST(Cider, AgreesWithPycocoevalcap) {
  const CaseScores found = cider(golden_cases().view());
  EXPECT_NEAR(found.mean, 2.378252604284025, 1e-10);
  expect_near(found.each, {2.905284180456, 3.068062819424, 0, 0.470727211389, 5.44718881015});
}

TEST(Cider, PlainAgreesWithPyciderevalcap) {
  const CaseScores found = cider(golden_cases().view(), plain_cider());
  EXPECT_NEAR(found.mean, 2.5106389071008657, 1e-10);
  expect_near(found.each, {3.013057211621, 3.319879039833, 0, 0.69688624823, 5.52337203582});
}

TEST(Cider, WhatEveryCaseHasTellsNothing) {
  EXPECT_EQ(cider(one_case("a b c d", {"a b c d"}).view()).mean, 0.0);
}

TEST(Cider, APerfectTextScoresTen) {
  const OwnedCases cases = {{"a b c d", "e f g h"}, {{"a b c d"}, {"e f g h"}}};
  EXPECT_NEAR(cider(cases.view()).mean, 10, 1e-10);
}

TEST(Cider, RefusesWhatHasNoScore) {
  expect_refusals([](const TextCases& cases) { cider(cases); });
  EXPECT_THROW(cider(one_case("a", {""}).view()), Error);
  EXPECT_THROW(cider(golden_cases().view(), {.max_order = 0}), Error);
}

}  // namespace
}  // namespace graft
