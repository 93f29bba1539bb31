#include "statistics/meteor.h"

#include "statistics/metric_test_support.h"

namespace graft {
namespace {

TEST(Meteor, AgreesWithNltkWithoutSynonyms) {
  const CaseScores found = meteor(golden_cases().view());
  EXPECT_NEAR(found.mean, 0.512623670335903, 1e-10);
  expect_near(found.each, {0.667016806723, 0.85065857438, 0, 0.196078431373, 0.849364539204});
}

TEST(Meteor, SettingsAgreeWithNltk) {
  const CaseScores found = meteor(golden_cases().view(), {.alpha = 0.8, .beta = 1.5, .gamma = 0.3});
  expect_near(found.each, {0.652542372881, 0.835713518168, 0, 0.269230769231, 0.819543381138});
}

TEST(Meteor, StemsMatchWhatWordsLeave) {
  // One chunk of two: mean · (1 - 0.5 · (1/2)³).
  EXPECT_NEAR(meteor(one_case("cats running", {"CAT runs"}).view()).mean, 0.9375, 1e-12);
}

TEST(Meteor, TokensPutSignsApart) {
  const auto cases = one_case("a cat.", {"a cat ."});
  EXPECT_LT(meteor(cases.view()).mean, 0.6);
  EXPECT_GT(meteor(cases.view(), {.tokens = Tokens::Mteval13a}).mean, 0.9);
}

TEST(Meteor, EmptyTextsScoreNothing) {
  EXPECT_EQ(meteor(one_case("", {""}).view()).mean, 0.0);
  EXPECT_EQ(meteor(one_case("a", {""}).view()).mean, 0.0);
  EXPECT_EQ(meteor(one_case("", {"a"}).view()).mean, 0.0);
}

TEST(Meteor, RefusesWhatHasNoScore) {
  expect_refusals([](const TextCases& cases) { meteor(cases); });
}

}  // namespace
}  // namespace graft
