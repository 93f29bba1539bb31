#include "cli/core/comparison_run.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

TEST(ComparisonRun, OverlapsOfATasksRunsAreOneSentence) {
  EXPECT_EQ(overlap_over_runs({}), "");
  EXPECT_EQ(overlap_over_runs({{13, 200, 3}}), "3 of 200 held-out examples share a 13-gram with the tuning examples");
  EXPECT_EQ(overlap_over_runs({{13, 1200, 3}, {13, 1200, 0}, {13, 1200, 1}}),
            "0 to 3 of 1,200 held-out examples share a 13-gram with the tuning examples of a run (3 runs)");
  EXPECT_EQ(overlap_over_runs({{13, 188, 0}, {13, 192, 0}}),
            "0 of 188 to 192 held-out examples share a 13-gram with the tuning examples of a run (2 runs)");
  EXPECT_EQ(overlap_over_runs({{8, 20, 0}, {10, 20, 2}}),
            "0 to 2 of 20 held-out examples share 8 to 10 words in a row with the tuning examples of a run (2 runs)");
}

}  // namespace
}  // namespace graft
