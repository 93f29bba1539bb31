#include "statistics/chrf.h"

#include "statistics/metric_test_support.h"

namespace graft {
namespace {

void expect_chrf(const ChrfSettings& settings, double corpus, const std::vector<double>& each) {
  EXPECT_NEAR(corpus_chrf(golden_cases().view(), settings), corpus, 1e-10);
  expect_near(each_alone([&](const TextCases& cases) { return corpus_chrf(cases, settings); }), each);
}

TEST(Chrf, AgreesWithSacrebleu) {
  expect_chrf({}, 62.66011835058107, {85.760151626488, 70.390704154167, 0, 33.350531477227, 68.854152554347});
}

TEST(Chrf, PlusPlusAgreesWithSacrebleu) {
  expect_chrf({.word_order = 2}, 60.3126981036248,
              {83.504588164669, 67.239073949463, 0, 29.820599065464, 69.083546067069});
}

TEST(Chrf, SettingsAgreeWithSacrebleu) {
  expect_chrf({.beta = 3, .lowercase = true, .whitespace = true}, 66.25348924494472,
              {86.539030473529, 76.079871361386, 0, 39.799237136281, 77.613783541562});
  expect_chrf({.word_order = 1, .eps_smoothing = true}, 62.88819895799611,
              {85.21795893824, 69.929240507861, 0, 34.079873766539, 72.3348310581});
}

TEST(Chrf, ShortAndEmptyTexts) {
  EXPECT_EQ(corpus_chrf(one_case("", {""}).view()), 0.0);
  EXPECT_EQ(corpus_chrf(one_case("", {"a"}).view()), 0.0);
  EXPECT_NEAR(corpus_chrf(one_case("ab", {"ab"}).view()), 100, 1e-10) << "orders that neither text has do not count";
}

TEST(Chrf, WhatIsNotUtf8CountsAsReplacementCharacters) {
  EXPECT_NEAR(corpus_chrf(one_case("caf\xC3 x", {"caf\xEF\xBF\xBD x"}).view()), 100, 1e-10);
}

TEST(Chrf, RefusesWhatHasNoScore) {
  expect_refusals([](const TextCases& cases) { corpus_chrf(cases); });
  EXPECT_THROW(corpus_chrf(golden_cases().view(), {.char_order = 0}), Error);
  EXPECT_THROW(corpus_chrf(golden_cases().view(), {.word_order = 256}), Error);
  EXPECT_NO_THROW(corpus_chrf(golden_cases().view(), {.char_order = 0, .word_order = 1}));
}

}  // namespace
}  // namespace graft
