// What attention is asked of a forest.
#include "nn/forest_plan.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

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
    EXPECT_TRUE(call.causal);
    EXPECT_FALSE(call.mask.defined());
    EXPECT_EQ(call.queries.length, length + 5);
  }
}

TEST(ForestPlan, ContinuationsDoNotSeeEachOther) {
  Forest forest;
  const auto prompt = forest.add(tokens(2));
  forest.add(tokens(1), prompt);
  forest.add(tokens(2), prompt);
  const ForestPlan planned = plan(forest, {});
  ASSERT_EQ(planned.calls.size(), 1u);
  const AttentionCall& call = planned.calls.front();
  EXPECT_FALSE(call.causal);
  EXPECT_TRUE(call.ordered);
  const at::Tensor seen = at::tensor({1, 0, 0, 0, 0,  //
                                      1, 1, 0, 0, 0,  //
                                      1, 1, 1, 0, 0,  //
                                      1, 1, 0, 1, 0,  //
                                      1, 1, 0, 1, 1})
                              .view({5, 5});
  EXPECT_TRUE(at::equal(call.mask == 0, seen == 1));
}

// With the order of the queries, what a mask says.
at::Tensor as_mask(const AttentionCall& call) {
  const std::int64_t count = call.queries.length;
  at::Tensor seen = at::ones({count, call.key_positions.size(0)}, at::kBool).tril(call.key_positions.size(0) - count);
  for (std::int64_t key = 0; key < count; ++key) {
    const std::int64_t end = call.until[static_cast<std::size_t>(key)];
    seen.narrow(0, end, count - end).select(1, call.key_positions.size(0) - count + key).fill_(false);
  }
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
TEST(ForestPlan, WhereATextEndsSaysAllThatItsMaskDoes) {
  for (const std::int64_t prompt : {1, 20, 760}) {
    const Forest forest = branching(prompt, 40);
    const ForestPlan planned = plan(forest, {});
    std::int64_t next = 0, told = 0;
    for (const auto& call : planned.calls) {
      EXPECT_EQ(call.queries.begin, next);
      next += call.queries.length;
      if (!call.mask.defined()) continue;
      ASSERT_EQ(call.until.size(), static_cast<std::size_t>(call.queries.length));
      EXPECT_TRUE(at::equal(call.mask == 0, as_mask(call)));
      ++told;
    }
    EXPECT_EQ(next, forest.size());
    EXPECT_GT(told, 0) << prompt;
    EXPECT_LT(planned.calls.size(), 6u) << "continuations of a few tokens are put together";
  }
}

TEST(ForestPlan, AWindowThatHidesMoreLeavesTheMaskToTellIt) {
  PlanOptions options;
  options.window = 4;
  const ForestPlan narrow = plan(branching(20, 5), options);
  ASSERT_EQ(narrow.windowed.size(), 1u);
  EXPECT_FALSE(narrow.calls[0].until.empty());
  EXPECT_TRUE(narrow.windowed[0].until.empty());
  options.window = 100;
  EXPECT_FALSE(plan(branching(20, 5), options).windowed[0].until.empty());
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
  for (const std::size_t c : {0, 4}) EXPECT_TRUE(at::equal(planned.calls[c].mask == 0, as_mask(planned.calls[c]))) << c;
  EXPECT_TRUE(planned.calls[2].causal);
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
