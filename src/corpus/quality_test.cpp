#include "corpus/quality.h"

#include <gmock/gmock.h>

#include <cmath>

#include "corpus/corpus_test_support.h"

namespace graft {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// Two kinds of text with half of their words in common.
std::string text_of(Rng& rng, bool good) {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    const std::uint64_t word = rng.below(300);
    text += (word < 150 ? "both" : good ? "good" : "bad") + std::to_string(word) + " ";
  }
  return text;
}

QualityTrainer trainer_with(std::size_t good, std::size_t bad, const QualitySettings& settings = {}) {
  QualityTrainer trainer(settings);
  Rng rng(5);
  for (std::size_t i = 0; i < good; ++i) trainer.add(text_of(rng, true), true);
  for (std::size_t i = 0; i < bad; ++i) trainer.add(text_of(rng, false), false);
  return trainer;
}

TEST(TextFeatures, AreCountsOfUnitLength) {
  const auto features = text_features("a A, b", 18);
  ASSERT_EQ(features.size(), 2u);
  double squares = 0, most = 0;
  for (const auto& [index, value] : features) {
    EXPECT_LT(index, 1u << 18);
    squares += static_cast<double>(value) * value;
    most = std::max<double>(most, value);
  }
  EXPECT_NEAR(squares, 1, 1e-6);
  EXPECT_NEAR(most, 2 / std::sqrt(5.0), 1e-6);
  EXPECT_TRUE(text_features("?", 18).empty());
  EXPECT_EQ(text_features("a b c d e f g h", 1).size(), 2u);
}

TEST(Quality, TwoKindsOfTextAreToldApart) {
  QualityCheck check;
  // Ten times as many of one kind do not decide.
  const QualityModel model = trainer_with(60, 600).train(check);
  EXPECT_EQ(check.good, 6);
  EXPECT_EQ(check.bad, 60);
  EXPECT_EQ(check.good_right, 6);
  EXPECT_EQ(check.bad_right, 60);
  Rng rng(99);
  for (int i = 0; i < 50; ++i) {
    EXPECT_GT(model.score(text_of(rng, true)), 0.6);
    EXPECT_LT(model.score(text_of(rng, false)), 0.4);
  }
  EXPECT_NEAR(model.score("nothing that was seen"), 0.5, 0.45);
}

TEST(Quality, TheSameSeedGivesTheSameModelAndItsFileTheSameScores) {
  const Folder folder;
  QualityCheck check;
  const QualityModel model = trainer_with(30, 30).train(check), again = trainer_with(30, 30).train(check);
  model.save(folder.path() / "quality.json");
  const QualityModel loaded = QualityModel::load(folder.path() / "quality.json");
  EXPECT_EQ(loaded.bits(), 18);
  Rng rng(4);
  for (int i = 0; i < 10; ++i) {
    const std::string text = text_of(rng, i % 2 == 0);
    EXPECT_EQ(model.score(text), again.score(text));
    EXPECT_EQ(model.score(text), loaded.score(text));
  }
}

TEST(Quality, BadFilesAreRefused) {
  const Folder folder;
  const auto refused = [&](const std::string& text) {
    const auto file = folder.file("quality.json", text);
    return error_of([&] { QualityModel::load(file); });
  };
  const std::string kind = "{\"kind\": \"graft quality classifier\", ";
  EXPECT_THAT(refused("nothing"), HasSubstr("quality.json: is no classifier; graft data classifier writes one"));
  EXPECT_THAT(refused("{\"kind\": 3}"), HasSubstr("is no classifier"));
  EXPECT_THAT(refused(kind + "\"bits\": 4}"), HasSubstr("has no field 'bias'"));
  EXPECT_THAT(refused(kind + "\"bits\": 40, \"bias\": 0}"), HasSubstr("bits: 40 is not 1 to 26"));
  EXPECT_THAT(refused(kind + "\"bits\": \"x\"}"), StartsWith("Corruption"));
  EXPECT_THAT(refused(kind + "\"bits\": 1, \"bias\": 0, \"indices\": [5], \"weights\": [1]}"), HasSubstr("indices[0]"));
  EXPECT_THAT(refused(kind + "\"bits\": 1, \"bias\": 0, \"indices\": [1], \"weights\": []}"),
              HasSubstr("1 indices and 0 weights"));
  EXPECT_THAT(error_of([&] { QualityModel::load(folder.path() / "none.json"); }), StartsWith("NotFound"));
}

TEST(Quality, NeedsTextsOfBothKinds) {
  QualityCheck check;
  EXPECT_THAT(error_of([&] { trainer_with(5, 1).train(check); }), HasSubstr("5 good and 1 bad texts"));
  QualitySettings settings;
  settings.bits = 30;
  EXPECT_THAT(error_of([&] { QualityTrainer made(settings); }), HasSubstr("--bits: 30 is not 1 to 26"));
}

TEST(Quality, TheParetoRuleKeepsByScore) {
  // P(Lomax > x) = (1 + x)^-alpha.
  Rng rng(1);
  for (const double score : {1.0, 0.9, 0.5, 0.0}) {
    int kept = 0;
    for (int i = 0; i < 20000; ++i) kept += keeps(score, 9, rng);
    const double expected = std::pow(2 - score, -9);
    EXPECT_NEAR(kept / 20000.0, expected, 5 * std::sqrt(expected * (1 - expected) / 20000) + 1e-3) << score;
  }
}

}  // namespace
}  // namespace graft
