// What attention is asked of a forest.
#include "nn/forest_plan.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace graft
