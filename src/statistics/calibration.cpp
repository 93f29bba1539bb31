#include "statistics/calibration.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace graft {
namespace {

void check_answers(std::size_t first, std::size_t second) {
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

// Of the probabilities of example `i` and its truth, which is spread evenly over the right choices.
double squared_distance(const std::vector<double>& probabilities, const std::vector<std::int64_t>& truths,
                        std::size_t i) {
  if (truths.empty()) fail(Category::InvalidArgument, "calibration", "example {} has no right choice", i);
  std::vector<double> wanted(probabilities.size(), 0);
  for (const std::int64_t truth : truths) {
    const auto choice = static_cast<std::size_t>(truth);
    if (truth < 0 || choice >= wanted.size())
      fail(Category::InvalidArgument, "calibration", "the truth {} of example {} is outside its {} choices", truth, i,
           wanted.size());
    if (wanted[choice] > 0)
      fail(Category::InvalidArgument, "calibration", "the truth {} of example {} is there twice", truth, i);
    wanted[choice] = 1 / static_cast<double>(truths.size());
  }
  double sum = 0;
  for (std::size_t c = 0; c < wanted.size(); ++c)
    sum += (probabilities[c] - wanted[c]) * (probabilities[c] - wanted[c]);
  return sum;
}

}  // namespace

std::vector<CalibrationBin> calibration_bins(std::span<const double> confidence, std::span<const std::uint8_t> correct,
                                             std::size_t bins) {
  check_answers(confidence.size(), correct.size());
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

double brier_score(std::span<const std::vector<double>> probabilities,
                   std::span<const std::vector<std::int64_t>> truths) {
  check_answers(probabilities.size(), truths.size());
  double sum = 0;
  for (std::size_t i = 0; i < truths.size(); ++i) sum += squared_distance(probabilities[i], truths[i], i);
  return sum / static_cast<double>(truths.size());
}

}  // namespace graft
