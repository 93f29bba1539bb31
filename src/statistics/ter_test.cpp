#include "statistics/ter.h"

#include "statistics/metric_test_support.h"

namespace graft {
namespace {

void expect_ter(const TerSettings& settings, double corpus, const std::vector<double>& each) {
  EXPECT_NEAR(corpus_ter(golden_cases().view(), settings).score, corpus, 1e-10);
  expect_near(each_alone([&](const TextCases& cases) { return corpus_ter(cases, settings).score; }), each);
}

TEST(Ter, AgreesWithSacrebleu) {
  expect_ter({}, 42.201834862385326, {30.769230769231, 22.222222222222, 100, 62.5, 25});
}

TEST(Ter, SettingsAgreeWithSacrebleu) {
  expect_ter({.case_sensitive = true}, 45.87155963302752, {30.769230769231, 37.037037037037, 100, 62.5, 25});
  expect_ter({.tokens = {.normalised = true}}, 42.016806722689076,
             {20.689655172414, 32.258064516129, 100, 58.823529411765, 25});
  expect_ter({.tokens = {.no_punctuation = true}}, 37.38317757009346, {16, 15.384615384615, 100, 62.5, 25});
}

TEST(Ter, AMovedPhraseIsOneEdit) {
  EXPECT_EQ(corpus_ter(one_case("d e f a b c g", {"a b c d e f g"}).view()).edits, 1.0);
}

TEST(Ter, StopsWhereSacrebleuStops) {
  // With all shifts tried instead of 1,000 it would be 51.
  std::string text, reference;
  for (int i = 0; i < 80; ++i) {
    text += std::to_string(i * 7 % 11) + " ";
    reference += std::to_string(i * i * 3 % 11) + " ";
  }
  EXPECT_EQ(corpus_ter(one_case(text, {reference}).view()).edits, 55.0);
}

TEST(Ter, EmptyTexts) {
  EXPECT_EQ(corpus_ter(one_case("", {""}).view()).score, 0.0);
  EXPECT_EQ(corpus_ter(one_case("a", {""}).view()).score, 100.0);
  EXPECT_EQ(corpus_ter(one_case("", {"a b"}).view()).score, 100.0);
}

TEST(Ter, WhatIsNotUtf8CountsAsReplacementCharacters) {
  EXPECT_EQ(corpus_ter(one_case("a \xFF", {"a \xEF\xBF\xBD"}).view()).edits, 0.0);
}

TEST(Ter, RefusesWhatHasNoScore) {
  expect_refusals([](const TextCases& cases) { corpus_ter(cases); });
}

}  // namespace
}  // namespace graft
