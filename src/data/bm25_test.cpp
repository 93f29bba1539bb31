#include "data/bm25.h"

#include <gmock/gmock.h>

#include <cmath>

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Three texts of 4, 2 and 3 words: mean length 3.
const std::vector<std::string> kTexts = {"the cat, the dog", "A cat", "birds sing loudly"};

// By hand, with k1 = 1.2 and b = 0.75. "cat" is in 2 of 3 texts: ln(1 + 1.5 / 2.5) = ln 1.6 = 0.4700036292. Text 0 (4
// words) has K = 1.2 (0.25 + 0.75 · 4/3) = 1.5, so cat weighs 2.2 / 2.5 = 0.88; text 1 (2 words) has K = 1.2 (0.25 +
// 0.75 · 2/3) = 0.9: 2.2 / 1.9 = 1.1578947368. "the" is twice in text 0 alone: ln(1 + 2.5 / 1.5) = ln(8/3) =
// 0.9808292530, 2 · 2.2 / (2 + 1.5) = 1.2571428571.
TEST(Bm25, EqualsWhatAHandWorksOut) {
  const Bm25 index(kTexts);
  const auto cat = index.scores("cat");
  ASSERT_EQ(cat.size(), 3u);
  EXPECT_NEAR(cat[0], 0.4700036292457356 * 0.88, 1e-12);
  EXPECT_NEAR(cat[1], 0.4700036292457356 * 2.2 / 1.9, 1e-12);
  EXPECT_EQ(cat[2], 0);
  const auto both = index.scores("The cat?");
  EXPECT_NEAR(both[0], 0.4700036292457356 * 0.88 + 0.9808292530117262 * 4.4 / 3.5, 1e-12);
  EXPECT_NEAR(both[1], cat[1], 1e-12);
  const auto twice = index.scores("cat cat");
  EXPECT_NEAR(twice[1], 2 * cat[1], 1e-12) << "a word that the query repeats counts each time";
}

TEST(Bm25, SettingsAreThePapers) {
  const Bm25 plain(kTexts, {2.0, 0.0});  // no making up for length: K = 2 everywhere
  EXPECT_NEAR(plain.scores("cat")[0], 0.4700036292457356 * 3 / 3, 1e-12);
  EXPECT_NEAR(plain.scores("the")[0], 0.9808292530117262 * 2 * 3 / 4, 1e-12);
}

TEST(Bm25, TheNearestComesFirstAndTiesKeepTheirOrder) {
  const Bm25 index(kTexts);
  EXPECT_THAT(index.nearest("CAT", 2), ElementsAre(1, 0));
  EXPECT_THAT(index.nearest("nothing in common", 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(index.nearest("loudly", 9), ElementsAre(2, 0, 1)) << "no more than there are";
  EXPECT_THAT(index.nearest("cat", 0), IsEmpty());
}

TEST(Bm25, WordsAreOfAnyAlphabet) {
  const Bm25 index({"Ärzte raten", "ÄRZTE", "\xff\xfe raten"});
  EXPECT_GT(index.scores("ärzte")[1], index.scores("ärzte")[0]);
  EXPECT_GT(index.scores("raten")[2], 0);
}

TEST(Bm25, EmptyTextsMatchNothing) {
  const Bm25 index({"", "!?"});
  EXPECT_THAT(index.scores("word"), ElementsAre(0, 0));
  EXPECT_THAT(Bm25({}).nearest("word", 3), IsEmpty());
}

}  // namespace
}  // namespace graft
