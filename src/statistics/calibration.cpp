#include "statistics/calibration.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace graft {
namespace {

void check_lengths(std::size_t first, std::size_t second) {
  if (first != second)
    fail(Category::InvalidArgument, "calibration", "{} probabilities against {} answers; give one for each", first,
         second);
  if (first == 0) fail(Category::InvalidArgument, "calibration", "no examples to score");
}

// The bin from above i / bins to (i + 1) / bins. The product alone may round past an edge: 7 / 25 * 25 is above 7.
std::size_t bin_of(double confidence, std::size_t bins) {
  const auto count = static_cast<double>(bins);
  double place = std::clamp(std::ceil(confidence * count) - 1, 0.0, count - 1);
  if (place > 0 && confidence <= place / count) {
    --place;
  } else if (place < count - 1 && confidence > (place + 1) / count) {
    ++place;
  }
  return static_cast<std::size_t>(place);
}

}  // namespace

std::vector<CalibrationBin> calibration_bins(std::span<const double> confidence, std::span<const std::uint8_t> correct,
                                             std::size_t bins) {
  check_lengths(confidence.size(), correct.size());
  if (bins == 0) fail(Category::InvalidArgument, "calibration", "the calibration error needs at least one bin");
  std::vector<CalibrationBin> all(bins);
  for (std::size_t i = 0; i < confidence.size(); ++i) {
    if (!(confidence[i] >= 0 && confidence[i] <= 1)) {
      fail(Category::InvalidArgument, "calibration", "the confidence {} of example {} is outside 0 to 1", confidence[i],
           i);
    }
    CalibrationBin& bin = all[bin_of(confidence[i], bins)];
    ++bin.count;
    bin.confidence += confidence[i];
    bin.accuracy += correct[i] != 0 ? 1.0 : 0.0;
  }
  for (CalibrationBin& bin : all) {
    if (bin.count == 0) continue;
    bin.confidence /= static_cast<double>(bin.count);
    bin.accuracy /= static_cast<double>(bin.count);
  }
  return all;
}

double expected_calibration_error(const std::vector<CalibrationBin>& bins) {
  double sum = 0, count = 0;
  for (const CalibrationBin& bin : bins) {
    sum += static_cast<double>(bin.count) * std::abs(bin.accuracy - bin.confidence);
    count += static_cast<double>(bin.count);
  }
  return count == 0 ? 0.0 : sum / count;
}

double brier_score(std::span<const std::vector<double>> probabilities, std::span<const std::int64_t> truth) {
  check_lengths(probabilities.size(), truth.size());
  double sum = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const auto& of_choices = probabilities[i];
    if (truth[i] < 0 || truth[i] >= static_cast<std::int64_t>(of_choices.size()))
      fail(Category::InvalidArgument, "calibration", "the truth {} of example {} is outside its {} choices", truth[i],
           i, of_choices.size());
    for (std::size_t c = 0; c < of_choices.size(); ++c) {
      const double wanted = static_cast<std::int64_t>(c) == truth[i] ? 1 : 0;
      sum += (of_choices[c] - wanted) * (of_choices[c] - wanted);
    }
  }
  return sum / static_cast<double>(truth.size());
}

}  // namespace graft
