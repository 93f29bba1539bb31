// Blocks of texts that branch see what their queries see, and little else.
#include "nn/attention_cut.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

namespace graft {
namespace {

// What lies apart, a prompt, and choices of a few tokens that go on it, of which every second one branches again.
struct Choices {
  Choices(std::int64_t apart, std::int64_t prompt, std::int64_t choices) : apart(apart) {
    const std::vector<TokenRange> root =
        add(apart > 0 ? std::vector<TokenRange>{{0, apart}} : std::vector<TokenRange>{}, prompt);
    for (std::int64_t c = 0; c < choices; ++c) {
      const std::vector<TokenRange> beginning = add(root, 1 + c % 4);
      for (std::int64_t end = 0; end < 2 * (c % 2); ++end) add(beginning, 3);
    }
  }

  std::vector<TokenRange> add(std::vector<TokenRange> way, std::int64_t count) {
    way.push_back({apart + queries, count});
    paths.push_back({{queries, count}, way});
    queries += count;
    return way;
  }

  std::int64_t apart, queries = 0;
  std::vector<AttentionPath> paths;
};

AttentionProduct product_of_choices(std::int64_t apart, std::int64_t prompt, std::int64_t choices, std::int64_t heads,
                                    std::int64_t groups, std::int64_t window = 0) {
  const Choices tree(apart, prompt, choices);
  AttentionProduct product;
  product.q = at::zeros({tree.queries, heads, 64});
  product.k = product.v = at::zeros({apart + tree.queries, groups, 64});
  product.queries = {0, tree.queries};
  product.keys = {{0, apart}, {apart, tree.queries}};
  product.sight.ordered = true;
  product.sight.window = window;
  product.sight.paths = tree.paths;
  return product;
}

// As sight.h says it, key by key.
std::set<std::int64_t> seen_by_query(const AttentionProduct& product, std::int64_t query) {
  const std::int64_t own = product.key_count() - product.queries.length + query;
  std::vector<TokenRange> ranges = {{0, own + 1}};
  for (const AttentionPath& path : product.sight.paths) {
    if (query >= path.queries.begin && query < path.queries.begin + path.queries.length) ranges = path.keys;
  }
  std::vector<std::int64_t> way;
  for (const auto& range : ranges) {
    for (std::int64_t key = range.begin; key < std::min(own + 1, range.begin + range.length); ++key) way.push_back(key);
  }
  const auto count = static_cast<std::int64_t>(way.size()), window = product.sight.window;
  return {way.begin() + (window > 0 ? std::max<std::int64_t>(0, count - window) : 0), way.end()};
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
    const auto [begin, length] = block.seen_by(row);
    std::vector<float> scores(keys.size(), 0.0F);
    block.add_biases(row, scores.data());
    for (std::int64_t k = begin; k < begin + length; ++k) {
      const auto at = static_cast<std::size_t>(k);
      if (scores[at] != kUnseen) sees.insert(keys[at]);
    }
    ASSERT_EQ(sees, seen_by_query(*block.product, query)) << query;
  }
}

TEST(AttentionCut, RowsOfABlockSeeWhatTheirQueriesDo) {
  for (const std::int64_t window : {0, 1, 5, 42}) {
    for (const std::int64_t choices : {1, 2, 77}) {
      const std::vector<AttentionProduct> products = {product_of_choices(0, 40, choices, 9, 3, window),
                                                      product_of_choices(25, 1, choices, 2, 2, window)};
      std::int64_t queries = 0;
      for (const auto& block : blocks_of(products)) {
        expect_rows_see_theirs(block);
        queries += block.count;
      }
      EXPECT_EQ(queries, 3 * products[0].queries.length + 2 * products[1].queries.length);
    }
  }
}

// Blocks of a text with a window begin at whole tiles.
TEST(AttentionCut, RowsOfAWindowedTextSeeTheirWindows) {
  for (const std::int64_t window : {1, 37, 90, 1000}) {
    std::vector<AttentionProduct> products = {product_of_choices(25, 300, 0, 6, 2, window)};
    products[0].sight.paths.clear();
    for (const auto& block : blocks_of(products)) {
      expect_rows_see_theirs(block);
      EXPECT_EQ(block.from() % kKeysTogether, 0);
      EXPECT_LT(block.seen, block.count + window + kKeysTogether);
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

TEST(AttentionCut, LayersShareTheBlocksThatEachWouldFind) {
  for (const std::int64_t window : {0, 5}) {
    SharedBlocks shared;
    for (const std::int64_t heads : {9, 9, 3}) {
      std::vector<AttentionProduct> products = {product_of_choices(25, 40, 77, heads, 3, window)};
      const auto want = blocks_of(products);
      products[0].shared = &shared;
      const auto got = blocks_of(products);
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t b = 0; b < got.size(); ++b) {
        EXPECT_EQ(got[b].product, &products[0]);
        EXPECT_EQ(got[b].group, want[b].group);
        EXPECT_EQ(got[b].first, want[b].first);
        EXPECT_EQ(got[b].height(), want[b].height());
        EXPECT_EQ(places(got[b]), places(want[b]));
        EXPECT_EQ(got[b].until, want[b].until);
        EXPECT_EQ(got[b].ways, want[b].ways);
      }
    }
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
    for (const auto& some : product.sight.seen_together(run, product.queries.length, product.key_count()))
      seen += some.keys.length;
    EXPECT_LE(seen - 40 - run.length, 4) << run.begin;
  }
  EXPECT_EQ(next, product.queries.length);
}

TEST(AttentionCut, WithoutBranchesBlocksAreAlike) {
  AttentionProduct product = product_of_choices(0, 300, 1, 6, 2);
  product.sight.paths.clear();
  for (const auto& run : cut_queries(product)) EXPECT_NEAR(static_cast<double>(run.length), 59, 2);
}

}  // namespace
}  // namespace graft
