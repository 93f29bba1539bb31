#include "corpus/minhash.h"

#include <gmock/gmock.h>

#include <cmath>

#include "corpus/corpus_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

using Set = std::vector<std::uint64_t>;

TEST(Shingles, AreRunsOfWordsEachOnce) {
  Shingles shingles(2);
  EXPECT_THAT(shingles.of("A b, a b a"), SizeIs(2));
  EXPECT_EQ(shingles.of("a b a b a"), shingles.of("B a b a?"));
  EXPECT_THAT(shingles.of("alone"), SizeIs(1));
  EXPECT_THAT(shingles.of("?!"), SizeIs(0));
}

TEST(Jaccard, CountsMembersOfBothAndOfEither) {
  EXPECT_DOUBLE_EQ(jaccard(Set{1, 2, 3}, Set{2, 3, 4}), 0.5);
  EXPECT_DOUBLE_EQ(jaccard(Set{1, 2}, Set{1, 2}), 1);
  EXPECT_DOUBLE_EQ(jaccard(Set{1}, Set{2}), 0);
  EXPECT_DOUBLE_EQ(jaccard(Set{}, Set{2}), 0);
  EXPECT_DOUBLE_EQ(jaccard(Set{}, Set{}), 0);
}

TEST(MinHash, AgreesAsOftenAsSetsAreAlike) {
  Rng rng(1);
  constexpr std::size_t kHashes = 512;
  double sum_of_errors = 0;
  int pairs = 0;
  for (int trial = 0; trial < 60; ++trial) {
    const std::size_t shared = rng.below(400), own = 1 + rng.below(200);
    Set first, second;
    for (std::size_t i = 0; i < shared; ++i) {
      first.push_back(mixed(rng()));
      second.push_back(first.back());
    }
    for (std::size_t i = 0; i < own; ++i) {
      first.push_back(mixed(rng()));
      second.push_back(mixed(rng()));
    }
    std::sort(first.begin(), first.end());
    std::sort(second.begin(), second.end());
    const MinHash minhash(kHashes, static_cast<std::uint64_t>(trial));
    std::vector<std::uint32_t> a(kHashes), b(kHashes);
    minhash.sign(first, a);
    minhash.sign(second, b);
    const double exact = jaccard(first, second);
    const double deviation = std::sqrt(exact * (1 - exact) / kHashes);
    EXPECT_NEAR(agreement(a, b), exact, 5 * deviation + 1e-9) << trial;
    sum_of_errors += agreement(a, b) - exact;
    ++pairs;
  }
  EXPECT_NEAR(sum_of_errors / pairs, 0, 0.01) << "without bias";
}

TEST(MinHash, IsTheSameForTheSameSeedAndWhateverTheOrder) {
  const MinHash one(16, 3), again(16, 3), other(16, 4);
  std::vector<std::uint32_t> a(16), b(16), c(16);
  one.sign(Set{7, 8, 9}, a);
  again.sign(Set{9, 7, 8}, b);
  other.sign(Set{7, 8, 9}, c);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

TEST(Bands, FindWhatIsJustAlikeEnough) {
  const Bands standard = bands_for(128, 0.8);
  EXPECT_EQ(standard.bands, 16u);
  EXPECT_EQ(standard.rows, 8u);
  for (const std::size_t hashes : {1u, 10u, 64u, 128u, 500u}) {
    for (const double threshold : {0.1, 0.5, 0.8, 0.95, 1.0}) {
      const Bands bands = bands_for(hashes, threshold);
      EXPECT_LE(bands.bands * bands.rows, hashes);
      if (bands.rows > 1) {
        EXPECT_GE(bands.chance(threshold), 0.9) << hashes << " " << threshold;
      }
    }
  }
  EXPECT_EQ(bands_for(128, 1).rows, 128u);
}

}  // namespace
}  // namespace graft
