// What attention is asked of a forest.
#include "nn/forest_plan.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <tuple>
#include <utility>
#include <vector>

#include "nn/attention_mask.h"

namespace graft {
namespace {

std::vector<std::int64_t> tokens(std::int64_t count) {
  return std::vector<std::int64_t>(static_cast<std::size_t>(count), 0);
}

// Longer than the largest tree that is one product.
TEST(ForestPlan, APromptAndItsOnlyContinuationAreOneCausalText) {
  for (const std::int64_t length : {4, 900}) {
    Forest forest;
    const auto prompt = forest.add(tokens(3));
    const auto text = forest.add(tokens(length), prompt);
    forest.add(tokens(2), text);
    const ForestPlan planned = plan(forest, {});
    ASSERT_EQ(planned.calls.size(), 1u) << length;
    const AttentionCall& call = planned.calls.front();
    EXPECT_TRUE(call.sight.ordered);
    EXPECT_TRUE(call.sight.plain());
    EXPECT_EQ(call.queries.length, length + 5);
  }
}

// [Tq, Tk]: what the sight of a call that branches says.
at::Tensor seen_keys(const AttentionCall& call) {
  const std::int64_t queries = call.queries.length, keys = call.key_positions.size(0);
  return mask_of(call.sight, {{0, queries}, {0, keys}}, queries, keys, at::zeros({1})) == 0;
}

TEST(ForestPlan, ContinuationsDoNotSeeEachOther) {
  Forest forest;
  const auto prompt = forest.add(tokens(2));
  forest.add(tokens(1), prompt);
  forest.add(tokens(2), prompt);
  const ForestPlan planned = plan(forest, {});
  ASSERT_EQ(planned.calls.size(), 1u);
  const AttentionCall& call = planned.calls.front();
  EXPECT_TRUE(call.sight.ordered);
  const at::Tensor seen = at::tensor({1, 0, 0, 0, 0,  //
                                      1, 1, 0, 0, 0,  //
                                      1, 1, 1, 0, 0,  //
                                      1, 1, 0, 1, 0,  //
                                      1, 1, 0, 1, 1})
                              .view({5, 5});
  EXPECT_TRUE(at::equal(seen_keys(call), seen == 1));
}

// Each is cut off the long prompt, and reads it and itself: one way, which its order says.
TEST(ForestPlan, BehindALongPromptAContinuationIsOneWay) {
  Forest forest;
  const auto prompt = forest.add(tokens(800));
  for (const std::int64_t length : {30, 40}) forest.add(tokens(length), prompt);
  PlanOptions options;
  options.window = 100;
  const ForestPlan planned = plan(forest, options);
  ASSERT_EQ(planned.calls.size(), 3u);
  for (const AttentionCall& call : planned.calls) EXPECT_TRUE(call.sight.ordered && call.sight.plain());
  ASSERT_EQ(planned.windowed.size(), 3u);
  for (const AttentionCall& call : planned.windowed) {
    EXPECT_TRUE(call.sight.paths.empty());
    EXPECT_EQ(call.sight.window, 100);
  }
}

TEST(ForestPlan, AWindowThatNoTextFillsIsNone) {
  Forest forest;
  forest.add(tokens(5));
  forest.add(tokens(6));
  PlanOptions options;
  options.window = 5;
  const ForestPlan planned = plan(forest, options);
  ASSERT_EQ(planned.windowed.size(), 2u);
  EXPECT_EQ(planned.windowed[0].sight.window, 0);
  EXPECT_EQ(planned.windowed[1].sight.window, 5);
}

// As many numbers as the text has tokens, and not as pairs of them.
TEST(ForestPlan, OfALongTextAWindowIsOneNumber) {
  Forest forest;
  forest.add(tokens(200000));
  PlanOptions options;
  options.window = 4096;
  const ForestPlan planned = plan(forest, options);
  ASSERT_EQ(planned.windowed.size(), 1u);
  EXPECT_TRUE(planned.windowed[0].sight.paths.empty());
  EXPECT_EQ(planned.windowed[0].sight.window, 4096);
}

// An adapter's tokens in front of two texts, the second in two parts. All would fit into one product.
Forest behind_virtual_tokens() {
  Forest forest;
  const auto front = forest.add(tokens(4));
  forest.segments.back().virtual_tokens = 4;
  forest.add(tokens(3), front);
  const auto prompt = forest.add(tokens(2), front);
  forest.add(tokens(5), prompt);
  return forest;
}

TEST(ForestPlan, TextsBehindVirtualTokensAreProductsOfTheirOwn) {
  const ForestPlan planned = plan(behind_virtual_tokens(), {});
  ASSERT_EQ(planned.calls.size(), 3u);
  for (const auto& [c, begin, length] : {std::tuple{1U, 4, 3}, {2U, 7, 7}}) {
    const AttentionCall& call = planned.calls[c];
    EXPECT_EQ(call.queries.begin, begin);
    EXPECT_EQ(call.queries.length, length);
    ASSERT_EQ(call.keys.size(), 2u);
    EXPECT_EQ(call.keys[0].begin, 0);
    EXPECT_EQ(call.keys[0].length, 4);
    EXPECT_EQ(call.keys[1].begin, begin);
    EXPECT_TRUE(call.sight.ordered && call.sight.plain());
    EXPECT_FALSE(call.continues);
  }
  ASSERT_EQ(planned.virtual_tokens.size(), 1u);
  EXPECT_EQ(planned.virtual_tokens[0].tokens.begin, 0);
  EXPECT_EQ(planned.virtual_tokens[0].tokens.length, 4);
}

TEST(ForestPlan, VirtualTokensMakeNoTextAsLongAsAnother) {
  const ForestPlan planned = plan(behind_virtual_tokens(), {});
  EXPECT_TRUE(at::equal(planned.lengths.narrow(0, 4, 3), at::full({3}, 7, at::kLong)));
  EXPECT_TRUE(at::equal(planned.lengths.narrow(0, 7, 7), at::full({7}, 11, at::kLong)));
  EXPECT_EQ(planned.positions[4].item<std::int64_t>(), 4);
  EXPECT_EQ(planned.positions[7].item<std::int64_t>(), 4);
}

// The continuations of a long prompt, one of which branches.
TEST(ForestPlan, ATreeBehindAncestorsHasPaths) {
  Forest forest;
  const auto prompt = forest.add(tokens(800));
  forest.add(tokens(20), prompt);
  const auto fork = forest.add(tokens(15), prompt);
  forest.add(tokens(2), fork);
  forest.add(tokens(3), fork);
  const ForestPlan planned = plan(forest, {});
  ASSERT_EQ(planned.calls.size(), 3u);
  EXPECT_TRUE(planned.calls[1].sight.paths.empty());
  EXPECT_EQ(planned.calls[2].sight.paths.size(), 3u);
}

// [Tq, Tk]: what of a forest the segments say, whose order is the planned one.
at::Tensor keys_of_ancestors(const Forest& forest, const AttentionCall& call) {
  const std::int64_t queries = call.queries.length, keys = call.key_positions.size(0);
  at::Tensor all = at::zeros({forest.size(), forest.size()}, at::kBool);
  for (const Segment& segment : forest.segments) {
    const at::Tensor rows = all.narrow(0, segment.begin, segment.length);
    rows.narrow(1, segment.begin, segment.length).copy_(at::ones({segment.length, segment.length}, at::kBool).tril());
    for (auto above = segment.parent; above >= 0; above = forest.segments[static_cast<std::size_t>(above)].parent) {
      const Segment& ancestor = forest.segments[static_cast<std::size_t>(above)];
      rows.narrow(1, ancestor.begin, ancestor.length).fill_(true);
    }
  }
  std::vector<at::Tensor> columns;
  for (const TokenRange& range : call.keys) columns.push_back(all.narrow(1, range.begin, range.length));
  const at::Tensor seen = at::cat(columns, 1).narrow(0, call.queries.begin, queries);
  EXPECT_EQ(seen.size(1), keys);
  return seen;
}

// A prompt of `prompt` tokens, and behind it texts that branch again.
Forest branching(std::int64_t prompt, std::int64_t branches) {
  Forest forest;
  const auto root = forest.add(tokens(prompt));
  for (std::int64_t b = 0; b < branches; ++b) {
    const auto text = forest.add(tokens(1 + b % 3), root);
    for (std::int64_t c = 0; c < b % 4; ++c) forest.add(tokens(1 + c), text);
  }
  return forest;
}

// One call, or a call for the prompt and some for what goes on it.
TEST(ForestPlan, BranchesSeeTheirAncestors) {
  for (const std::int64_t prompt : {1, 20, 760}) {
    const Forest forest = branching(prompt, 40);
    const ForestPlan planned = plan(forest, {});
    std::int64_t next = 0, branch = 0;
    for (const auto& call : planned.calls) {
      EXPECT_EQ(call.queries.begin, next);
      next += call.queries.length;
      if (call.sight.paths.empty()) continue;
      EXPECT_TRUE(at::equal(seen_keys(call), keys_of_ancestors(forest, call))) << prompt;
      ++branch;
    }
    EXPECT_EQ(next, forest.size());
    EXPECT_GT(branch, 0) << prompt;
    EXPECT_LT(planned.calls.size(), 6u) << "continuations of a few tokens are put together";
  }
}

Forest side_by_side(const std::vector<std::int64_t>& lengths) {
  Forest forest;
  for (const auto length : lengths) forest.add(tokens(length));
  return forest;
}

std::vector<std::int64_t> queries_of_calls(const Forest& forest, const PlanOptions& options) {
  std::vector<std::int64_t> lengths;
  for (const auto& call : plan(forest, options).calls) lengths.push_back(call.queries.length);
  return lengths;
}

TEST(ForestPlan, ShortTextsAreOneProductWhereTheyMayBe) {
  using Lengths = std::vector<std::int64_t>;
  PlanOptions joined;
  joined.joins = true;
  const Forest forest = side_by_side({4, 3, 1, 40, 2, 50, 5, 6});
  EXPECT_EQ(queries_of_calls(forest, {}), (Lengths{4, 3, 1, 40, 2, 50, 5, 6}));
  EXPECT_EQ(queries_of_calls(forest, joined), (Lengths{8, 40, 2, 50, 11}));
  EXPECT_EQ(queries_of_calls(side_by_side(Lengths(20, 10)), joined), (Lengths{120, 80})) << "of a limited size";
  const ForestPlan planned = plan(forest, joined);
  for (const std::size_t c : {0U, 4U})
    EXPECT_TRUE(at::equal(seen_keys(planned.calls[c]), keys_of_ancestors(forest, planned.calls[c]))) << c;
  EXPECT_TRUE(planned.calls[2].sight.plain());
  EXPECT_EQ(queries_of_calls(behind_virtual_tokens(), joined), (Lengths{4, 3, 7})) << "behind an adapter's tokens";
  joined.bidirectional = true;
  EXPECT_EQ(queries_of_calls(forest, joined), (Lengths{4, 3, 1, 40, 2, 50, 5, 6})) << "an encoder's";
}

void expect_runs(const std::vector<SlotRun>& runs, const std::vector<std::vector<std::int64_t>>& want) {
  ASSERT_EQ(runs.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    const std::vector<std::int64_t> got = {runs[i].tokens.begin, runs[i].tokens.length, runs[i].slot};
    EXPECT_EQ(got, want[i]) << i;
  }
}

// A plan puts trees together; logits are asked of tokens in the forest's own order.
TEST(SlotRuns, AreInTheOrderOfTokens) {
  Forest forest;
  const auto root = forest.add(tokens(3), -1, 1);
  forest.add(tokens(2), -1, 0);
  forest.add(tokens(4), root, 1);
  forest.add(tokens(1), root, 1);
  forest.add(tokens(2));
  expect_runs(slot_runs(forest), {{0, 3, 1}, {3, 2, 0}, {5, 5, 1}, {10, 2, -1}});
  std::swap(forest.segments[1].begin, forest.segments[4].begin);
  expect_runs(slot_runs(forest), {{0, 3, 1}, {3, 2, -1}, {5, 5, 1}, {10, 2, 0}});
}

TEST(SlotRuns, OfSomeRowsAreInTheOrderOfTheRows) {
  const std::vector<SlotRun> runs = {{{0, 3}, 1}, {{3, 2}, 0}, {{5, 4}, -1}};
  expect_runs(chosen_runs(runs, {2, 3, 4, 8, 5, 0}), {{0, 1, 1}, {1, 2, 0}, {3, 2, -1}, {5, 1, 1}});
  EXPECT_TRUE(chosen_runs(runs, {}).empty());
  EXPECT_TRUE(chosen_runs({}, {2}).empty());
}

}  // namespace
}  // namespace graft
