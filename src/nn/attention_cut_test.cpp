// Blocks of texts that branch see what their queries see, and little else.
#include "nn/attention_cut.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace graft {
namespace {

// A prompt, and choices of a few tokens that go on it, of which every second one branches again. The first `apart`
// tokens are keys alone.
AttentionProduct product_of_choices(std::int64_t apart, std::int64_t prompt, std::int64_t choices, std::int64_t heads,
                                    std::int64_t groups) {
  AttentionProduct product;
  product.until.assign(static_cast<std::size_t>(prompt), 0);
  const auto add = [&](std::int64_t count, std::size_t end) {
    product.until.insert(product.until.end(), static_cast<std::size_t>(count), static_cast<std::int32_t>(end));
  };
  for (std::int64_t c = 0; c < choices; ++c) {
    const std::int64_t beginning = 1 + c % 4, ends = c % 2 == 0 ? 0 : 2;
    add(beginning, product.until.size() + static_cast<std::size_t>(beginning + 3 * ends));
    for (std::int64_t end = 0; end < ends; ++end) add(3, product.until.size() + 3);
  }
  std::fill_n(product.until.begin(), prompt, static_cast<std::int32_t>(product.until.size()));
  const auto queries = static_cast<std::int64_t>(product.until.size());
  product.q = at::zeros({queries, heads, 64});
  product.k = product.v = at::zeros({apart + queries, groups, 64});
  product.queries = {0, queries};
  product.keys = {{0, apart}, {apart, queries}};
  product.ordered = true;
  return product;
}

std::set<std::int64_t> seen_by_query(const AttentionProduct& product, std::int64_t query) {
  const std::int64_t apart = product.key_count() - product.queries.length;
  std::set<std::int64_t> keys;
  for (std::int64_t key = 0; key < apart; ++key) keys.insert(key);
  for (std::int64_t t = 0; t <= query; ++t) {
    if (product.until[static_cast<std::size_t>(t)] > query) keys.insert(apart + t);
  }
  return keys;
}

std::vector<std::int64_t> places(const AttentionBlock& block) {
  std::vector<std::int64_t> keys;
  for (const auto& range : block.keys) {
    for (std::int64_t i = 0; i < range.length; ++i) keys.push_back(range.begin + i);
  }
  return keys;
}

void expect_rows_see_theirs(const AttentionBlock& block) {
  const auto keys = places(block);
  ASSERT_EQ(static_cast<std::int64_t>(keys.size()), block.seen);
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
  for (std::int64_t row = 0; row < block.height(); ++row) {
    const std::int64_t query = block.first + row / block.ratio;
    std::set<std::int64_t> sees;
    for (std::int64_t k = 0; k < block.seen_by(row); ++k) {
      const auto at = static_cast<std::size_t>(k);
      if (block.until.empty() || block.until[at] > query) sees.insert(keys[at]);
    }
    ASSERT_EQ(sees, seen_by_query(*block.product, query)) << query;
  }
}

TEST(AttentionCut, RowsOfABlockSeeWhatTheirQueriesDo) {
  for (const std::int64_t apart : {0, 25}) {
    for (const std::int64_t choices : {1, 2, 77}) {
      const std::vector<AttentionProduct> products = {product_of_choices(apart, 40, choices, 9, 3),
                                                      product_of_choices(apart, 1, choices, 2, 2)};
      std::int64_t queries = 0;
      for (const auto& block : blocks_of(products)) {
        expect_rows_see_theirs(block);
        queries += block.count;
      }
      EXPECT_EQ(queries, 3 * products[0].queries.length + 2 * products[1].queries.length);
    }
  }
}

// Of a prompt of 40 tokens and 77 choices, that see it and a few tokens of their own.
TEST(AttentionCut, BlocksOfChoicesLeaveOutTheOthers) {
  for (const auto& [heads, groups] : {std::pair{9, 3}, {3, 3}}) {
    const std::vector<AttentionProduct> products = {product_of_choices(0, 40, 77, heads, groups)};
    const std::int64_t all = products[0].queries.length;
    std::int64_t scores = 0;
    for (const auto& block : blocks_of(products)) scores += block.height() * block.seen;
    EXPECT_LT(scores, heads * all * all / 3);
  }
}

// A choice begins with up to four tokens, and its ends have three: in the middle of these more would be read again.
TEST(AttentionCut, BlocksEndWhereLittleGoesOn) {
  const AttentionProduct product = product_of_choices(0, 40, 77, 9, 3);
  std::int64_t next = 0;
  for (const auto& run : cut_queries(product)) {
    EXPECT_EQ(run.begin, next);
    next += run.length;
    if (run.begin <= 40) continue;
    std::int64_t seen = 0;
    for (const auto& range : keys_of_branches(product, run)) seen += range.length;
    EXPECT_LE(seen - 40 - run.length, 4) << run.begin;
  }
  EXPECT_EQ(next, product.queries.length);
}

TEST(AttentionCut, WithoutBranchesBlocksAreAlike) {
  AttentionProduct product = product_of_choices(0, 300, 1, 6, 2);
  product.until.clear();
  for (const auto& run : cut_queries(product)) EXPECT_NEAR(static_cast<double>(run.length), 59, 2);
}

}  // namespace
}  // namespace graft
