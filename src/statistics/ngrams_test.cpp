#include "statistics/ngrams.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/rng.h"

namespace graft {
namespace {

TEST(Ngrams, NumbersAreThoseOfEqualWords) {
  Ngrams ngrams;
  const std::vector<std::uint32_t> words = {5, 0, 5, 0};
  const auto all = ngrams.add_all(words, 2);
  ASSERT_EQ(all.size(), 7u);
  EXPECT_EQ(all[0], all[4]);
  EXPECT_EQ(all[1], all[5]);
  EXPECT_EQ(ngrams.order(all[1]), 2u);
  EXPECT_EQ(ngrams.prefix(all[1]), all[0]);
  EXPECT_EQ(ngrams.find_all(words, 2), all);
  EXPECT_TRUE(ngrams.find_all(std::vector<std::uint32_t>{7, 8}, 2).empty());
}

TEST(Ngrams, CountsAgreeWithAMapOfManyRandomWords) {
  Rng rng(1);
  std::vector<std::uint32_t> words;
  for (int i = 0; i < 5000; ++i) words.push_back(static_cast<std::uint32_t>(rng.below(12)));
  std::map<std::vector<std::uint32_t>, std::uint32_t> expected;
  for (std::size_t order = 1; order <= 3; ++order) {
    for (std::size_t i = 0; i < ngrams_in(words.size(), order); ++i) {
      const auto begin = words.begin() + static_cast<std::ptrdiff_t>(i);
      ++expected[{begin, begin + static_cast<std::ptrdiff_t>(order)}];
    }
  }
  Ngrams ngrams;
  const auto counts = counted(ngrams.add_all(words, 3));
  ASSERT_EQ(counts.size(), expected.size());
  for (const auto& [ngram, count] : expected) {
    Ngrams::Number number = 0;
    for (const std::uint32_t word : ngram) number = ngrams.find(number, word);
    EXPECT_EQ(counts[number - 1].ngram, number);
    EXPECT_EQ(counts[number - 1].count, count);
  }
}

TEST(NgramProfile, MatchesAreClipped) {
  const std::vector<std::uint32_t> text = {1, 1, 1, 2};
  const std::vector<std::uint32_t> other = {1, 2, 1};
  const NgramProfile profile(text, 2);
  EXPECT_EQ(profile.matches(profile.occurrences(other)), (std::vector<std::int64_t>{3, 1}));
}

TEST(Ngrams, AnOrderHasLimits) {
  EXPECT_THROW(check_order("BLEU", 0), Error);
  EXPECT_THROW(check_order("BLEU", kMaxOrder + 1), Error);
  EXPECT_NO_THROW(check_order("BLEU", kMaxOrder));
}

}  // namespace
}  // namespace graft
