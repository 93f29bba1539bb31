#include "corpus/near_duplicates.h"

#include <gmock/gmock.h>

#include "corpus/corpus_test_support.h"
#include "statistics/words.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::uint32_t> clusters_of(const std::vector<std::string>& texts, const DuplicateSettings& settings = {}) {
  NearDuplicates duplicates(settings);
  for (const auto& text : texts) duplicates.add(text);
  return duplicates.clusters();
}

// With `changes` words replaced, far from each other.
std::string edited(const std::string& text, std::size_t changes) {
  const auto words = split_words(text);
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool change = changes > 0 && i % (words.size() / changes) == words.size() / changes / 2;
    out += change ? "changed " : std::string(words[i]) + " ";
  }
  return out;
}

TEST(NearDuplicates, PlantedOnesAreFoundAndNoneInvented) {
  for (const bool exact : {false, true}) {
    Rng rng(9);
    DuplicateSettings settings;
    settings.exact = exact;
    std::vector<std::string> texts;
    std::vector<std::uint32_t> expected;
    for (int original = 0; original < 150; ++original) {
      const auto first = static_cast<std::uint32_t>(texts.size());
      texts.push_back(random_text(rng, 400));
      expected.push_back(first);
      if (original % 3 != 0) continue;
      // Of 396 shingles 4 edits change 20: a Jaccard coefficient of 0.904.
      for (const std::size_t changes : {0u, 2u, 4u}) {
        texts.push_back(edited(texts[first], changes));
        expected.push_back(first);
      }
      // 40 edits change 200: far below.
      expected.push_back(static_cast<std::uint32_t>(texts.size()));
      texts.push_back(edited(texts[first], 40));
    }
    EXPECT_EQ(clusters_of(texts, settings), expected) << exact;
  }
}

TEST(NearDuplicates, ADocumentBetweenTwoOthersLinksThem) {
  // Neighbours have 7 of 13 words in common, the first and the second 4 of 16. With one band all of it hangs on what
  // happens in that band.
  const std::string first = "a b c d e f g h i j", second = "g h i j k l m n o p", between = "d e f g h i j k l m";
  DuplicateSettings settings;
  settings.hashes = 1;
  settings.shingle = 1;
  settings.threshold = 0.5;
  settings.exact = true;
  int linked = 0;
  for (settings.seed = 0; settings.seed < 100; ++settings.seed) {
    const auto clusters = clusters_of({first, second, between}, settings);
    linked += clusters == std::vector<std::uint32_t>{0, 0, 0};
    EXPECT_NE(clusters, (std::vector<std::uint32_t>{0, 0, 2})) << "these two alone are unlike";
  }
  EXPECT_GT(linked, 10) << "all three share the band in one of four seeds";
}

TEST(NearDuplicates, CaseAndPunctuationDoNotCount) {
  EXPECT_THAT(clusters_of({"One, two three four five six", "x", "one two three: FOUR five six!", "X"}),
              ElementsAre(0, 1, 0, 1));
}

TEST(NearDuplicates, TextsWithoutWordsAreNoDuplicates) {
  EXPECT_THAT(clusters_of({"", "?", "", "a"}), ElementsAre(0, 1, 2, 3));
}

TEST(NearDuplicates, ManyCopiesOfOneTextTakeNoTime) {
  Rng rng(2);
  const std::vector<std::string> texts(20000, random_text(rng, 6));
  const auto clusters = clusters_of(texts);
  EXPECT_EQ(std::count(clusters.begin(), clusters.end(), 0u), 20000);
}

TEST(NearDuplicates, LikenessIsTheEstimateOrTheCoefficient) {
  const std::string text = "a b c d e f g h i j";
  DuplicateSettings exact;
  exact.exact = true;
  NearDuplicates duplicates(exact);
  duplicates.add(text);
  duplicates.add(text + " k");
  EXPECT_DOUBLE_EQ(duplicates.likeness(0, 1), 6.0 / 7);
}

TEST(NearDuplicates, SettingsAreChecked) {
  DuplicateSettings settings;
  settings.threshold = 0;
  EXPECT_THAT(error_of([&] { NearDuplicates made(settings); }), HasSubstr("--threshold"));
  settings.threshold = 1.5;
  EXPECT_THAT(error_of([&] { NearDuplicates made(settings); }), HasSubstr("--threshold"));
  settings = {};
  settings.hashes = 0;
  EXPECT_THAT(error_of([&] { NearDuplicates made(settings); }), HasSubstr("--hashes"));
}

}  // namespace
}  // namespace graft
