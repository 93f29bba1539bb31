// How far a classifier's probabilities can be believed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace graft {

/// Answers of about the same confidence.
struct CalibrationBin {
  std::int64_t count = 0;
  double confidence = 0;  ///< mean; 0 where there are none
  double accuracy = 0;    ///< share that is right; 0 where there are none
};

/// A reliability diagram: `bins` equal-width bins of the confidence, lowest first. `confidence` in [0, 1] is the
/// probability of the predicted class, `correct` 0 or 1. A confidence on the edge of two bins belongs to the lower one,
/// 0 to the first. Throws InvalidArgument: lengths differ, none, out of range.
std::vector<CalibrationBin> calibration_bins(std::span<const double> confidence, std::span<const std::uint8_t> correct,
                                             std::size_t bins = 15);

/// Expected calibration error (Guo et al. 2017, equation 3): the weighted mean over bins of |accuracy - mean
/// confidence|.
double expected_calibration_error(const std::vector<CalibrationBin>& bins);

/// Brier's score (1950): the mean over examples of the squared distance between the probabilities of all choices and
/// the truth (1 for the right choice, 0 for each other one); 0 is best, 2 worst. `truths` are the right choices of each
/// example: of k of them each is 1/k of the truth, so that no answer is asked to prefer one. Examples may have
/// different numbers of choices. Throws InvalidArgument: lengths differ, none, an example without truth, a truth
/// outside its choices or there twice.
double brier_score(std::span<const std::vector<double>> probabilities,
                   std::span<const std::vector<std::int64_t>> truths);

}  // namespace graft
