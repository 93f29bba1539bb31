#include "statistics/calibration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace graft {
namespace {

using Truths = std::vector<std::vector<std::int64_t>>;

TEST(Calibration, ErrorAgreesWithNumpyInFiveBins) {
  const std::vector<double> confidence = {.95, .9, .6, .55, .3, .75, .2, 1.0, 0.5, .81};
  const std::vector<std::uint8_t> correct = {1, 1, 0, 1, 0, 1, 0, 1, 0, 1};
  EXPECT_NEAR(expected_calibration_error(calibration_bins(confidence, correct, 5)), 0.174, 1e-12);
}

// Forty examples of three choices: x[i][c] = ((7 i + 13 c) mod 11) / (2 + i mod 4), p = softmax(x), and the likeliest
// choice is the truth where (5 i) mod 7 < 5, else the one behind it.
struct Forty {
  std::vector<std::vector<double>> probabilities;
  std::vector<std::vector<std::int64_t>> truths;
  std::vector<double> confidence;
  std::vector<std::uint8_t> correct;

  Forty() {
    for (int i = 0; i < 40; ++i) {
      std::vector<double> p;
      double total = 0;
      for (int c = 0; c < 3; ++c) {
        p.push_back(std::exp((7 * i + 13 * c) % 11 / (2.0 + i % 4)));
        total += p.back();
      }
      for (double& value : p) value /= total;
      const auto best = std::max_element(p.begin(), p.end()) - p.begin();
      const std::int64_t truth = (best + ((5 * i) % 7 < 5 ? 0 : 1)) % 3;
      truths.push_back({truth});
      confidence.push_back(p[static_cast<std::size_t>(best)]);
      correct.push_back(truth == best ? 1 : 0);
      probabilities.push_back(p);
    }
  }
};

// numpy 2.4.6: idx = digitize(confidence, linspace(0, 1, 16)[1:-1], right=True); the sum over b of (idx == b).mean() *
// abs(right[idx == b].mean() - confidence[idx == b].mean()), and ((p - eye(3)[truth]) ** 2).sum(1).mean().
TEST(Calibration, AgreesWithNumpy) {
  const Forty data;
  const auto bins = calibration_bins(data.confidence, data.correct);
  EXPECT_NEAR(expected_calibration_error(bins), 0.22697596116249752, 1e-14);
  EXPECT_NEAR(brier_score(data.probabilities, data.truths), 0.5699523110346525, 1e-14);
  ASSERT_EQ(bins.size(), 15u);
  EXPECT_EQ(bins[6].count, 0);
  EXPECT_EQ(bins[7].count, 13);
  EXPECT_NEAR(bins[7].confidence, 0.4904630818304865, 1e-14);
  EXPECT_NEAR(bins[7].accuracy, 0.6923076923076923, 1e-14);
  EXPECT_EQ(bins[8].count, 9);
  EXPECT_NEAR(bins[8].accuracy, 0.8888888888888888, 1e-14);
  EXPECT_EQ(bins[14].count, 2);
  EXPECT_NEAR(bins[14].confidence, 0.9603321551125756, 1e-14);
  std::int64_t all = 0;
  for (const auto& bin : bins) all += bin.count;
  EXPECT_EQ(all, 40);
}

TEST(Calibration, EdgesBelongToTheBinBelow) {
  const std::vector<double> confidence = {0, 0.5, 1};
  const std::vector<std::uint8_t> correct = {1, 1, 1};
  const auto bins = calibration_bins(confidence, correct, 2);
  EXPECT_EQ(bins[0].count, 2);
  EXPECT_EQ(bins[1].count, 1);
}

// Also where the edge times the number of bins is above a whole number.
TEST(Calibration, RoundingDoesNotMoveAnEdge) {
  const std::vector<std::uint8_t> correct = {1};
  for (std::size_t bins = 1; bins <= 60; ++bins) {
    for (std::size_t edge = 1; edge <= bins; ++edge) {
      const double at = static_cast<double>(edge) / static_cast<double>(bins);
      const std::vector<double> confidence = {at}, above = {std::min(1.0, std::nextafter(at, 2.0))};
      EXPECT_EQ(calibration_bins(confidence, correct, bins)[edge - 1].count, 1) << edge << " of " << bins;
      EXPECT_EQ(calibration_bins(above, correct, bins)[std::min(edge, bins - 1)].count, 1) << edge << " of " << bins;
    }
  }
}

TEST(Calibration, CertainAndRightIsCalibrated) {
  const std::vector<double> confidence = {1, 1, 0};
  const std::vector<std::uint8_t> correct = {1, 1, 0};
  EXPECT_EQ(expected_calibration_error(calibration_bins(confidence, correct)), 0.0);
}

TEST(Brier, RunsFromNothingToTwo) {
  const std::vector<std::vector<double>> sure = {{1, 0}, {0, 0, 1}};
  EXPECT_EQ(brier_score(sure, Truths{{0}, {2}}), 0);
  EXPECT_EQ(brier_score(sure, Truths{{1}, {0}}), 2);
  const std::vector<std::vector<double>> unsure = {{0.5, 0.5}};
  EXPECT_EQ(brier_score(unsure, Truths{{1}}), 0.5);
}

// Two of three are right: the best answer has a half for either, and to be sure of one is no better than of the other.
TEST(Brier, SeveralRightChoicesShareTheTruth) {
  const Truths truths = {{0, 2}};
  const auto score = [&](const std::vector<double>& p) {
    const std::vector<std::vector<double>> one = {p};
    return brier_score(one, truths);
  };
  EXPECT_EQ(score({0.5, 0, 0.5}), 0);
  EXPECT_EQ(score({1, 0, 0}), 0.5);
  EXPECT_EQ(score({0, 0, 1}), 0.5);
  EXPECT_EQ(score({0, 1, 0}), 1.5);
  EXPECT_NEAR(score({0.25, 0.25, 0.5}), 0.125, 1e-15);
}

TEST(Calibration, RefusesNonsense) {
  const std::vector<std::uint8_t> correct = {1};
  const std::vector<double> none, half = {0.5}, two = {0.5, 0.5}, nan = {std::numeric_limits<double>::quiet_NaN()},
                                  large = {1.1};
  EXPECT_THROW(calibration_bins(none, std::vector<std::uint8_t>{}), Error);
  EXPECT_THROW(calibration_bins(two, correct), Error);
  EXPECT_THROW(calibration_bins(nan, correct), Error);
  EXPECT_THROW(calibration_bins(large, correct), Error);
  EXPECT_THROW(calibration_bins(half, correct, 0), Error);
  const std::vector<std::vector<double>> one = {{0.5, 0.5}};
  for (const Truths& truths : std::vector<Truths>{{{2}}, {{-1}}, {{}}, {{1, 1}}, {{0}, {1}}})
    EXPECT_THROW(brier_score(one, truths), Error);
}

}  // namespace
}  // namespace graft
