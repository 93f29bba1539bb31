#include "corpus/quality.h"

#include <gmock/gmock.h>

#include <cmath>

#include "corpus/corpus_test_support.h"

namespace graft {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

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

TEST(TextFeatures, RunsOfCharactersHaveTheWordsEnds) {
  // " ab ": a, b, " a", ab, "b ", " ab", "ab ", " ab ".
  EXPECT_EQ(text_features("ab", 26, FeatureKind::Characters).size(), 8u);
  EXPECT_EQ(text_features("12 AB! 3", 26, FeatureKind::Characters), text_features("ab", 26, FeatureKind::Characters))
      << "numbers are alike in all languages";
  // " é ", whose letter is two bytes: é, " é", "é ", " é ".
  EXPECT_EQ(text_features("é", 26, FeatureKind::Characters).size(), 4u);
  EXPECT_TRUE(text_features("1, 2?", 26, FeatureKind::Characters).empty());
}

TEST(Quality, RunsOfCharactersTellALanguageInWordsThatWereNotSeen) {
  const std::vector<std::string> english = {"The children walked to the river and watched the ships going home",
                                            "She was reading a letter that her brother had written in the spring",
                                            "There is nothing better than the smell of bread in the morning",
                                            "They have been thinking about the question for more than a year",
                                            "When the weather is good we are going to the mountains with friends",
                                            "He would have told them the truth if they had asked him for it",
                                            "Most of the houses in this street were built before the war",
                                            "It is hard to know what other people are really thinking",
                                            "The old man sat down on the bench and looked at the trees",
                                            "You should have seen how the water was running down the walls",
                                            "Nobody knows where the road behind the church is leading",
                                            "We were waiting for the train while it was raining outside"};
  const std::vector<std::string> german = {"Die Kinder gingen zum Fluss und sahen den Schiffen auf der Heimfahrt zu",
                                           "Sie las gerade einen Brief den ihr Bruder im Frühling geschrieben hatte",
                                           "Es gibt nichts Schöneres als den Geruch von Brot am frühen Morgen",
                                           "Seit mehr als einem Jahr haben sie über diese Frage nachgedacht",
                                           "Wenn das Wetter gut ist fahren wir mit unseren Freunden in die Berge",
                                           "Er hätte ihnen die Wahrheit gesagt wenn sie ihn danach gefragt hätten",
                                           "Die meisten Häuser in dieser Straße wurden vor dem Krieg gebaut",
                                           "Man weiß nur schwer was andere Menschen wirklich denken",
                                           "Der alte Mann setzte sich auf die Bank und schaute die Bäume an",
                                           "Du hättest sehen sollen wie das Wasser an den Wänden herunterlief",
                                           "Niemand weiß wohin der Weg hinter der Kirche eigentlich führt",
                                           "Wir haben auf den Zug gewartet während es draußen geregnet hat"};
  QualitySettings settings;
  settings.kind = FeatureKind::Characters;
  QualityTrainer trainer(settings);
  for (const auto& text : english) trainer.add(text, true);
  for (const auto& text : german) trainer.add(text, false);
  QualityCheck check;
  const QualityModel model = trainer.train(check);
  const Folder folder;
  model.save(folder.path() / "english.json");
  const QualityModel loaded = QualityModel::load(folder.path() / "english.json");
  EXPECT_EQ(loaded.kind(), FeatureKind::Characters);
  for (const auto* text : {"Nothing was heard in the garden, and then somebody was singing",
                           "Three ships sailed through the night without lights"}) {
    EXPECT_GT(model.score(text), 0.6) << text;
    EXPECT_EQ(model.score(text), loaded.score(text));
  }
  for (const auto* text : {"Im Garten war nichts zu hören, und dann hat jemand gesungen",
                           "Drei Schiffe segelten ohne Lichter durch die Nacht"})
    EXPECT_LT(model.score(text), 0.4) << text;
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
  EXPECT_THAT(refused(kind + "\"bits\": 4, \"features\": \"lines\"}"), HasSubstr("features: 'lines' is neither"));
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
