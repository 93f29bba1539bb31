#include "corpus/near_duplicates.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "corpus/corpus_test_support.h"
#include "statistics/words.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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

// What the order of bands and documents could change: chains of documents of which only neighbours are alike, with a
// copy here and there.
std::vector<std::string> chains() {
  std::vector<std::string> texts;
  for (int chain = 0; chain < 4; ++chain) {
    for (int link = 0; link < 5; ++link) {
      std::string text;
      for (int word = 0; word < 10; ++word) text += fmt::format("w{} ", 1000 * chain + 3 * link + word);
      texts.push_back(text);
      if (link == chain) texts.push_back(text);
    }
  }
  return texts;
}

// The smallest number of those that a document is linked to, at once or through others; two are linked where they
// alone are one cluster.
std::vector<std::uint32_t> components_of(const std::vector<std::string>& texts, const DuplicateSettings& settings) {
  std::vector<std::uint32_t> firsts(texts.size());
  std::iota(firsts.begin(), firsts.end(), std::uint32_t{0});
  std::vector<std::pair<std::size_t, std::size_t>> links;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (clusters_of({texts[j], texts[i]}, settings)[1] == 0) links.emplace_back(j, i);
    }
  }
  for (std::size_t round = 0; round < texts.size(); ++round) {
    for (const auto& [one, other] : links) firsts[one] = firsts[other] = std::min(firsts[one], firsts[other]);
  }
  return firsts;
}

TEST(NearDuplicates, ClustersAreConnectedComponentsInWhateverOrder) {
  std::set<std::size_t> counts;
  Rng rng(4);
  for (const std::size_t hashes : {1u, 4u, 32u}) {
    for (const bool exact : {false, true}) {
      DuplicateSettings settings;
      settings.hashes = hashes;
      settings.shingle = 1;
      settings.threshold = 0.5;  // neighbours have 7 of 13 words in common, those beyond 4 of 16
      settings.exact = exact;
      for (settings.seed = 0; settings.seed < 8; ++settings.seed) {
        auto texts = chains();
        rng.shuffle(texts);
        const auto clusters = clusters_of(texts, settings);
        EXPECT_EQ(clusters, components_of(texts, settings)) << hashes << exact << settings.seed;
        counts.insert(std::set(clusters.begin(), clusters.end()).size());
      }
    }
  }
  EXPECT_EQ(*counts.begin(), 4u) << "no chain hung together as a whole";
  EXPECT_GT(*counts.rbegin(), 8u) << "no chain was broken, which a band that is not shared does";
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
