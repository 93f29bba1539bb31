#include "statistics/proportion.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace graft {
namespace {

// statsmodels 0.15.0, proportion_confint(method="wilson"); scipy 1.17.1 gives the same.
TEST(Wilson, EqualsStatsmodels) {
  struct Case {
    double right;
    std::int64_t count;
    double low, high;
  };
  for (const Case& one : {Case{173, 200, 0.8107086162924745, 0.9055342954521209}, Case{0, 10, 0, 0.27753279986288926},
                          Case{10, 10, 0.7224672001371109, 1}, Case{1, 3, 0.06149194472039626, 0.7923403991979523},
                          Case{64, 128, 0.41465224626050723, 0.58534775373949280},
                          Case{4999, 5000, 0.9988679109191603, 0.9999646942165605}}) {
    const Interval interval = wilson(one.right / static_cast<double>(one.count), one.count);
    EXPECT_NEAR(interval.low, one.low, 1e-12) << one.right << " of " << one.count;
    EXPECT_NEAR(interval.high, one.high, 1e-12) << one.right << " of " << one.count;
  }
}

TEST(Wilson, HoldsItsProportion) {
  for (const double part : {0.0, 0.3, 1.0}) {
    const Interval interval = wilson(part, 7);
    EXPECT_LE(interval.low, part);
    EXPECT_GE(interval.high, part);
  }
}

TEST(Wilson, RefusesNonsense) {
  EXPECT_THROW(wilson(0.5, 0), Error);
  EXPECT_THROW(wilson(1.5, 10), Error);
  EXPECT_THROW(wilson(-0.1, 10), Error);
}

// `only_first` and `only_second` pairs of the one kind and the other, and 30 that both have right.
McNemar test_of(int only_first, int only_second) {
  std::vector<std::uint8_t> first(30, 1), second(30, 1);
  for (int i = 0; i < only_first; ++i) first.push_back(1), second.push_back(0);
  for (int i = 0; i < only_second; ++i) first.push_back(0), second.push_back(1);
  return mcnemar(first, second);
}

// statsmodels 0.15.0, mcnemar(exact=True), and scipy 1.17.1, binomtest.
TEST(McNemarTest, EqualsStatsmodels) {
  EXPECT_NEAR(test_of(5, 17).p_value, 0.01690053939819336, 1e-14);
  EXPECT_NEAR(test_of(17, 5).p_value, 0.01690053939819336, 1e-14);
  EXPECT_NEAR(test_of(0, 6).p_value, 0.03125, 1e-14);
  EXPECT_NEAR(test_of(120, 161).p_value, 0.016869296340143808, 1e-12);
  EXPECT_NEAR(test_of(800, 900).p_value, 0.016320682494448686, 1e-10);
  EXPECT_EQ(test_of(7, 7).p_value, 1);
  EXPECT_EQ(test_of(1, 0).p_value, 1);
  EXPECT_EQ(test_of(0, 0).p_value, 1) << "two that agree do not differ";
}

TEST(McNemarTest, CountsWhereTheyDisagree) {
  const McNemar result = test_of(5, 17);
  EXPECT_EQ(result.only_first, 5);
  EXPECT_EQ(result.only_second, 17);
}

TEST(McNemarTest, RefusesNonsense) {
  const std::vector<std::uint8_t> one = {1}, two = {1, 0};
  EXPECT_THROW(mcnemar(one, two), Error);
  EXPECT_THROW(mcnemar({}, {}), Error);
}

}  // namespace
}  // namespace graft
