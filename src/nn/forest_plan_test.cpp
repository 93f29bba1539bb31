#include "nn/forest_plan.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace graft {
namespace {

std::vector<std::int64_t> words(std::int64_t count) {
  return std::vector<std::int64_t>(static_cast<std::size_t>(count), 1);
}

// The queries of each self-attention call, as lengths.
std::vector<std::int64_t> call_lengths(const ForestPlan& made) {
  std::vector<std::int64_t> lengths;
  for (const auto& call : made.calls) lengths.push_back(call.queries.length);
  return lengths;
}

using Lengths = std::vector<std::int64_t>;

TEST(ForestPlan, SmallNeighboursShareACallUpTo128Tokens) {
  Forest forest;
  for (const std::int64_t length : {60, 40, 28, 1, 200, 30, 30}) forest.add(words(length));
  EXPECT_EQ(call_lengths(plan(forest, {})), (Lengths{128, 1, 200, 60}));
}

TEST(ForestPlan, AdaptersShareNoCall) {
  Forest forest;
  for (const std::int32_t slot : {0, 0, 1, -1, -1}) forest.add(words(5), -1, slot);
  EXPECT_EQ(call_lengths(plan(forest, {})), (Lengths{10, 5, 10}));
}

// A prompt of 2 with choices of 1 and 2 tokens, and a text of 3.
Forest two_trees() {
  Forest forest;
  const auto prompt = forest.add(words(2));
  forest.add(words(1), prompt);
  forest.add(words(2), prompt);
  forest.add(words(3));
  return forest;
}

at::Tensor visible(const ForestPlan& made) {
  EXPECT_EQ(made.calls.size(), 1u);
  return made.calls[0].mask.isfinite().to(at::kLong);
}

TEST(ForestPlan, ASharedCallKeepsTreesApart) {
  const at::Tensor want = at::tensor({1, 0, 0, 0, 0, 0, 0, 0,  //
                                      1, 1, 0, 0, 0, 0, 0, 0,  //
                                      1, 1, 1, 0, 0, 0, 0, 0,  //
                                      1, 1, 0, 1, 0, 0, 0, 0,  //
                                      1, 1, 0, 1, 1, 0, 0, 0,  //
                                      0, 0, 0, 0, 0, 1, 0, 0,  //
                                      0, 0, 0, 0, 0, 1, 1, 0,  //
                                      0, 0, 0, 0, 0, 1, 1, 1},
                                     at::kLong)
                              .view({8, 8});
  EXPECT_TRUE(at::equal(visible(plan(two_trees(), {})), want));
}

TEST(ForestPlan, OfAnEncoderEachTextSeesAllOfItself) {
  Forest forest;
  forest.add(words(2));
  forest.add(words(3));
  PlanOptions options;
  options.bidirectional = true;
  const at::Tensor want = at::block_diag({at::ones({2, 2}, at::kLong), at::ones({3, 3}, at::kLong)});
  EXPECT_TRUE(at::equal(visible(plan(forest, options)), want));
}

TEST(ForestPlan, AWindowReachesNoOtherTree) {
  PlanOptions options;
  options.window = 2;
  const ForestPlan made = plan(two_trees(), options);
  ASSERT_EQ(made.windowed.size(), 1u);
  const at::Tensor seen = made.windowed[0].mask.isfinite();
  // The last choice's second token: itself and the one before it.
  EXPECT_EQ(seen[4].sum().item<std::int64_t>(), 2);
  EXPECT_TRUE(seen[4][3].item<bool>());
  EXPECT_EQ(seen[5].sum().item<std::int64_t>(), 1);
}

}  // namespace
}  // namespace graft
