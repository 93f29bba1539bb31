#include "statistics/squad.h"

#include "statistics/metric_test_support.h"

namespace graft {
namespace {

TEST(Squad, NormalisesAsItsScriptDoes) {
  EXPECT_EQ(squad_normalised("The  Cat, an a\tA-B; the!"), "cat ab");
  EXPECT_EQ(squad_normalised("theatre\u2014the\u2014end"), "theatre\u2014 \u2014end") << "an article between dashes";
  EXPECT_EQ(squad_normalised("\u00C9t\u00E9\u00A0a"), "\u00E9t\u00E9");
  EXPECT_EQ(squad_normalised("the\u200Dcat"), "\u200Dcat") << "a joiner is no part of a word";
  EXPECT_EQ(squad_normalised("a\u0301 \u24D0the an\u00B2"), "\u0301 \u24D0 an\u00B2")
      << "nor are marks and symbols, but numbers";
  EXPECT_EQ(squad_normalised("The."), "");
  EXPECT_EQ(squad_normalised(""), "");
}

// Of compute_f1 and compute_exact.
TEST(Squad, AgreesWithItsScript) {
  const OwnedCases cases = {
      {"The cat sat on the mat.", "Paris, France", "in the year 1921, in May", "dog", "", "the", "x"},
      {{"a cat sat on mat"}, {"Rome", "Paris"}, {"May 1921", "in 1921"}, {"the"}, {""}, {"An"}, {""}}};
  expect_near(squad_exact_match(cases.view()).each, {1, 0, 0, 0, 1, 1, 0});
  expect_near(squad_f1(cases.view()).each, {1, 2.0 / 3, 4.0 / 7, 0, 1, 1, 0});
  EXPECT_NEAR(squad_f1(cases.view()).mean, (3 + 2.0 / 3 + 4.0 / 7) / 7, 1e-12);
}

TEST(Squad, AWordCountsAsOftenAsBothHaveIt) {
  expect_near(squad_f1(one_case("no no no", {"no yes"}).view()).each, {2 * (1.0 / 3) * 0.5 / (1.0 / 3 + 0.5)});
}

TEST(Squad, RefusesWhatCannotBeScored) {
  expect_refusals([](const TextCases& cases) { squad_f1(cases); });
  expect_refusals([](const TextCases& cases) { squad_exact_match(cases); });
}

}  // namespace
}  // namespace graft
