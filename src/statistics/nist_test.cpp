#include "statistics/nist.h"

#include "statistics/metric_test_support.h"

namespace graft {
namespace {

// The E2E challenge's scripts take no empty texts.
OwnedCases cases_with_words() {
  OwnedCases cases = golden_cases();
  cases.hypotheses.erase(cases.hypotheses.begin() + 2);
  cases.references.erase(cases.references.begin() + 2);
  return cases;
}

TEST(Nist, AgreesWithMteval) {
  EXPECT_NEAR(corpus_nist(cases_with_words().view()), 4.544823236414, 1e-10);
}

TEST(Nist, AgreesWithPymteval) {
  const NistSettings settings{.letters = LetterCase::Lower, .length = NistLength::Pymteval};
  EXPECT_NEAR(corpus_nist(cases_with_words().view(), settings), 4.602420836348358, 1e-10);
}

TEST(Nist, AWordThatIsRareTellsMore) {
  const OwnedCases rare = {{"d"}, {{"a a a d"}}};
  const OwnedCases frequent = {{"a"}, {{"a a a d"}}};
  EXPECT_GT(corpus_nist(rare.view()), corpus_nist(frequent.view()));
}

TEST(Nist, AnEmptyTextScoresNothing) {
  EXPECT_EQ(corpus_nist(one_case("", {"a b"}).view()), 0.0);
}

TEST(Nist, RefusesWhatHasNoScore) {
  expect_refusals([](const TextCases& cases) { corpus_nist(cases); });
  EXPECT_THROW(corpus_nist(one_case("a", {"", " "}).view()), Error) << "mteval divides by zero";
  EXPECT_THROW(corpus_nist(golden_cases().view(), {.max_order = 0}), Error);
}

}  // namespace
}  // namespace graft
