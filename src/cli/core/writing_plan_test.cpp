#include "cli/core/writing_plan.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "generate/cached_step.h"

namespace graft {
namespace {

std::vector<Prompt> prompts_of(std::size_t count, std::size_t tokens) {
  return std::vector<Prompt>(count, Prompt{std::vector<std::int64_t>(tokens, 1), 0, -1});
}

// Memory for all prompts at once would be planned for a batch that is never read so, and told not to fit.
TEST(WritingPlan, PromptsAreReadABoundedNumberOfTokensAtATime) {
  EXPECT_EQ(tokens_of_a_reading(prompts_of(10, 10)), 100);
  EXPECT_EQ(tokens_of_a_reading(prompts_of(1000, 500)), kPrefillTokens);
  EXPECT_EQ(tokens_of_a_reading(prompts_of(3, 5000)), 5000) << "one is never cut";
}

}  // namespace
}  // namespace graft
