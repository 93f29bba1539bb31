#include "text/unigram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace graft::text {
namespace {

using Ids = std::vector<TokenId>;

struct Scored {
  std::string token;
  double score;
};

Unigram unigram(const std::vector<Scored>& tokens, std::vector<bool> user_defined = {}) {
  Vocabulary vocabulary;
  std::vector<double> scores;
  for (const auto& [token, score] : tokens) {
    vocabulary.put(token, static_cast<std::int64_t>(scores.size()), tokens.size(), "test");
    scores.push_back(score);
  }
  UnigramOptions options;
  options.unk = 0;
  options.single_precision = true;
  options.user_defined = std::move(user_defined);
  return Unigram(vocabulary, scores, options, "test");
}

const std::string kSpace = "\xE2\x96\x81";

// Syllables whose scores nearly tie in many ways, so that what stands in front decides between them.
std::vector<Scored> syllables() {
  std::vector<Scored> tokens = {{"<unk>", 0}, {kSpace, -2.5}, {kSpace + kSpace, -4.9}};
  Rng rng(3);
  for (const std::string text : {"a", "b", "ab", "ba", "aa", "bb", "aba", "bab", "abab"}) {
    const double score = -1.1 * static_cast<double>(text.size()) - 1e-6 * static_cast<double>(rng.below(10));
    tokens.push_back({text, score});
    tokens.push_back({kSpace + text, score - 2});
  }
  return tokens;
}

std::string words(std::uint64_t seed, int count) {
  Rng rng(seed);
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += rng.below(9) == 0 ? kSpace + kSpace : kSpace;
    for (std::uint64_t letter = rng.below(7); letter > 0; --letter) text += rng.below(2) == 0 ? 'a' : 'b';
    if (rng.below(40) == 0) text += "?";
  }
  return text;
}

Ids encoded(const Unigram& model, const std::string& text, ModelScratch& scratch) {
  Ids ids;
  model.encode(text, ids, scratch);
  return ids;
}

// A token that never occurs, but would go on from a word into the next, has all of a text segmented in one pass.
TEST(Unigram, WordByWordIsAsInOnePass) {
  auto tokens = syllables();
  const Unigram by_words = unigram(tokens);
  tokens.push_back({"z" + kSpace + "z", -1});
  const Unigram in_one = unigram(tokens);
  ModelScratch kept, other;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const std::string text = words(seed, seed % 8 == 0 ? 20'000 : 300);
    ASSERT_EQ(encoded(by_words, text, kept), encoded(in_one, text, other)) << seed;
  }
  ASSERT_NE(kept.words, nullptr);
  EXPECT_EQ(other.words, nullptr);
}

TEST(Unigram, UnknownNeighboursOfTwoWordsAreOne) {
  const Unigram model = unigram({{"<unk>", 0}, {"a", -1}, {"b", -1}});
  ModelScratch scratch;
  EXPECT_EQ(encoded(model, "a?" + kSpace + "?b", scratch), (Ids{1, 0, 2}));
  EXPECT_EQ(encoded(model, "a" + kSpace + "b" + kSpace + "b", scratch), (Ids{1, 0, 2, 0, 2}));
}

TEST(Unigram, WhatAlwaysWinsDoesSoInEveryWord) {
  const Unigram model =
      unigram({{"<unk>", 0}, {kSpace + "ab", -5}, {kSpace, -3}, {"a", -3}, {"b", -3}, {kSpace + "a", -9}},
              {false, false, false, false, false, true});
  ModelScratch scratch;
  const Ids each = {5, 4};
  for (int count = 1; count < 4; ++count) {
    std::string text;
    Ids want;
    for (int i = 0; i < count; ++i) {
      text += kSpace + "ab";
      want.insert(want.end(), each.begin(), each.end());
    }
    EXPECT_EQ(encoded(model, text, scratch), want);
  }
}

}  // namespace
}  // namespace graft::text
