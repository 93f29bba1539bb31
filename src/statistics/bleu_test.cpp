#include "statistics/bleu.h"

#include "statistics/metric_test_support.h"

namespace graft {
namespace {

double corpus(const BleuSettings& settings) {
  return corpus_bleu(golden_cases().view(), settings).score;
}

std::vector<double> sentences(BleuSettings settings) {
  settings.effective_order = true;
  return each_alone([&](const TextCases& cases) { return corpus_bleu(cases, settings).score; });
}

TEST(Bleu, OfACorpusAgreesWithSacrebleu) {
  EXPECT_NEAR(corpus({}), 38.15665692179837, 1e-10);
  EXPECT_NEAR(corpus({.tokens = Tokens::None}), 32.66132740177144, 1e-10);
  EXPECT_NEAR(corpus({.tokens = Tokens::International}), 38.762552297827696, 1e-10);
  EXPECT_NEAR(corpus({.letters = LetterCase::Lower}), 39.77972390497455, 1e-10);
  EXPECT_NEAR(corpus({.smoothing = BleuSmoothing::AddK}), 39.37768591375277, 1e-10);
  EXPECT_NEAR(corpus({.max_order = 2}), 51.94458717231016, 1e-10);
}

TEST(Bleu, OfSentencesAgreesWithSacrebleu) {
  expect_near(sentences({}), {64.791215250901, 35.845978932326, 0, 9.652434877402, 49.059528722173});
  expect_near(sentences({.smoothing = BleuSmoothing::None}), {64.791215250901, 35.845978932326, 0, 0, 49.059528722173});
  expect_near(sentences({.smoothing = BleuSmoothing::Floor}),
              {64.791215250901, 35.845978932326, 0, 4.854917717073, 49.059528722173});
  expect_near(sentences({.smoothing = BleuSmoothing::Floor, .smoothing_value = 0.5}),
              {64.791215250901, 35.845978932326, 0, 16.233395773755, 49.059528722173});
  expect_near(sentences({.smoothing = BleuSmoothing::AddK}),
              {68.10753314008, 40.050973379004, 0, 22.957488466614, 53.877222204704});
}

TEST(Bleu, OfE2eAgreesWithMteval) {
  // mteval-v13a-sig.pl of the E2E challenge, which takes no empty texts.
  OwnedCases cases = golden_cases();
  cases.hypotheses.erase(cases.hypotheses.begin() + 2);
  cases.references.erase(cases.references.begin() + 2);
  EXPECT_NEAR(corpus_bleu(cases.view(), e2e_bleu()).score, 49.544414404600005, 1e-9);
}

TEST(Bleu, SaysWhatItCounted) {
  const auto cases = one_case("the the cat", {"the cat sat on", "the the"});
  const Bleu bleu = corpus_bleu(cases.view(), {.max_order = 2});
  EXPECT_EQ(bleu.matches, (std::vector<std::int64_t>{3, 2}));
  EXPECT_EQ(bleu.totals, (std::vector<std::int64_t>{3, 2}));
  EXPECT_EQ(bleu.hypothesis_words, 3);
  EXPECT_EQ(bleu.reference_words, 2) << "4 and 2 are as near: the shorter counts";
  EXPECT_EQ(bleu.brevity_penalty, 1.0);
  EXPECT_NEAR(bleu.score, 100, 1e-10);
}

TEST(Bleu, AShortTextNeedsTheEffectiveOrder) {
  const auto cases = one_case("a b", {"a b"});
  EXPECT_EQ(corpus_bleu(cases.view()).score, 0.0);
  EXPECT_NEAR(corpus_bleu(cases.view(), {.effective_order = true}).score, 100, 1e-10);
  EXPECT_NEAR(corpus_bleu(cases.view(), e2e_bleu()).score, 100, 1e-10) << "mteval passes over orders without n-grams";
}

TEST(Bleu, EmptyTextsScoreNothing) {
  for (const auto& settings : {BleuSettings{}, e2e_bleu()}) {
    EXPECT_EQ(corpus_bleu(one_case("", {"a b c d"}).view(), settings).score, 0.0);
    EXPECT_EQ(corpus_bleu(one_case("", {""}).view(), settings).score, 0.0);
  }
  EXPECT_EQ(corpus_bleu(one_case("a b c d", {""}).view()).score, 0.0);
}

TEST(Bleu, WhatIsNotUtf8CountsAsReplacementCharacters) {
  EXPECT_NEAR(corpus_bleu(one_case("a b c \xFF", {"a b c \xEF\xBF\xBD"}).view()).score, 100, 1e-10);
}

TEST(Bleu, RefusesWhatHasNoScore) {
  expect_refusals([](const TextCases& cases) { corpus_bleu(cases); });
  EXPECT_THROW(corpus_bleu(golden_cases().view(), {.max_order = 0}), Error);
  EXPECT_THROW(corpus_bleu(golden_cases().view(), {.max_order = 256}), Error);
}

}  // namespace
}  // namespace graft
