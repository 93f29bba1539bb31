// A comparison that meets a value that is no number, or infinity on one side, is outside of every tolerance.
#include "../golden/gap.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace graft {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool within(double gap, double tolerance) {
  return gap <= tolerance;  // as EXPECT_LE asks
}

TEST(Gap, IsRelativeToTheLargestValueThatIsWanted) {
  EXPECT_NEAR(relative_gap(at::tensor({1.0, -3.5}), at::tensor({1.0, -4.0})), 0.125, 1e-12);
  EXPECT_EQ(relative_gap(at::zeros({2}), at::zeros({2})), 0);
}

TEST(Gap, NoToleranceHoldsWhatIsNoNumber) {
  const at::Tensor sound = at::tensor({1.0, 2.0});
  for (const double bad : {kNaN, kInfinity, -kInfinity}) {
    const at::Tensor spoilt = at::tensor({1.0, bad});
    EXPECT_FALSE(within(relative_gap(spoilt, sound), 1e9)) << bad;
    EXPECT_FALSE(within(relative_gap(sound, spoilt), 1e9)) << bad;
    EXPECT_FALSE(within(relative_gap(spoilt, spoilt), 1e9)) << bad << ": nothing is compared there";
  }
}

TEST(Gap, TheLargestOfSeveralIsNoNumberWhereOneIsNone) {
  EXPECT_EQ(largest_gap_of({0.25, 0.5, 0.125}), 0.5);
  EXPECT_TRUE(std::isnan(largest_gap_of({kNaN, 0.5})));
  EXPECT_TRUE(std::isnan(largest_gap_of({0.5, kNaN})));
  EXPECT_TRUE(std::isnan(largest_gap_of({0.5, kNaN, 0.25})));
}

}  // namespace
}  // namespace graft
