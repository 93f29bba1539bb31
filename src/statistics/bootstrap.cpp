#include "statistics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "statistics/metrics.h"

namespace graft {
namespace {

using Statistic = std::function<double(std::span<const std::size_t>)>;

void check(std::size_t count, const BootstrapOptions& options) {
  if (count == 0) fail(Category::InvalidArgument, "bootstrap", "no examples to resample");
  if (options.resamples < 2)
    fail(Category::InvalidArgument, "bootstrap", "{} resamples; give at least 2", options.resamples);
  if (!(options.level > 0 && options.level < 1)) {
    fail(Category::InvalidArgument, "bootstrap", "the level {} is outside 0 to 1; give e.g. 0.95", options.level);
  }
}

// Values of the statistic over all resamples, in ascending order.
std::vector<double> resampled(std::size_t count, const Statistic& statistic, const BootstrapOptions& options) {
  check(count, options);
  Rng rng(options.seed);
  std::vector<std::size_t> indices(count);
  std::vector<double> values;
  for (std::int64_t i = 0; i < options.resamples; ++i) {
    for (auto& index : indices) index = rng.below(count);
    values.push_back(statistic(indices));
    if (std::isnan(values.back())) {
      fail(Category::InvalidArgument, "bootstrap",
           "the statistic of a resample is not a number; leave out the examples that have no value");
    }
  }
  std::sort(values.begin(), values.end());
  return values;
}

Interval percentile(const std::vector<double>& sorted, double level) {
  return {quantile(sorted, (1 - level) / 2), quantile(sorted, (1 + level) / 2)};
}

double mean_metric(const std::string& metric, std::span<const std::int64_t> truth, const Runs& runs,
                   std::size_t classes, std::span<const std::size_t> indices) {
  double sum = 0;
  for (const auto& predicted : runs) {
    ConfusionMatrix matrix(classes);
    for (const std::size_t i : indices)
      matrix.add(static_cast<std::size_t>(truth[i]), static_cast<std::size_t>(predicted[i]));
    sum += metric_value(metric, matrix);
  }
  return sum / static_cast<double>(runs.size());
}

Statistic metric_of(const std::string& metric, std::span<const std::int64_t> truth, const Runs& runs,
                    std::size_t classes) {
  if (runs.empty()) fail(Category::InvalidArgument, "bootstrap", "no predictions to score");
  // Checks every label once, so that the resamples need not.
  for (const auto& predicted : runs) metric_value(metric, confusion_matrix(truth, predicted, classes));
  return [=](std::span<const std::size_t> indices) { return mean_metric(metric, truth, runs, classes, indices); };
}

std::vector<std::size_t> all_indices(std::size_t count) {
  std::vector<std::size_t> all(count);
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

// Means over runs that are equal may differ in their last digit, which must not make a difference to the p-value.
double difference_of(double first, double second) {
  constexpr double kRounding = 1e-12;
  if (first == second) return 0;  // both may be infinite
  const double difference = second - first;
  const double rounding = kRounding * std::max(std::abs(first), std::abs(second));
  return std::isfinite(difference) && std::abs(difference) <= rounding ? 0 : difference;
}

double two_sided(const std::vector<double>& differences) {
  const auto at_most = std::count_if(differences.begin(), differences.end(), [](double d) { return d <= 0; });
  const auto at_least = std::count_if(differences.begin(), differences.end(), [](double d) { return d >= 0; });
  return std::min(1.0,
                  2.0 * static_cast<double>(std::min(at_most, at_least)) / static_cast<double>(differences.size()));
}

}  // namespace

double quantile(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) fail(Category::InvalidArgument, "quantile", "no values; give at least one");
  if (!(part >= 0 && part <= 1)) fail(Category::InvalidArgument, "quantile", "the part {} is outside 0 to 1", part);
  const double place = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double rest = place - static_cast<double>(below);
  // Between infinite values there is no line.
  if (rest == 0 || sorted[below] == sorted[above] || std::isinf(sorted[below])) return sorted[below];
  return sorted[below] + rest * (sorted[above] - sorted[below]);
}

Interval bootstrap(std::size_t count, const Statistic& statistic, const BootstrapOptions& options) {
  return percentile(resampled(count, statistic, options), options.level);
}

Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options) {
  const auto mean = [values](std::span<const std::size_t> indices) {
    double sum = 0;
    for (const std::size_t i : indices) sum += values[i];
    return sum / static_cast<double>(indices.size());
  };
  return bootstrap(values.size(), mean, options);
}

Interval bootstrap_metric(const std::string& metric, std::span<const std::int64_t> truth,
                          std::span<const std::int64_t> predicted, std::size_t classes,
                          const BootstrapOptions& options) {
  return bootstrap_runs(metric, truth, {predicted}, classes, options);
}

Interval bootstrap_runs(const std::string& metric, std::span<const std::int64_t> truth, const Runs& runs,
                        std::size_t classes, const BootstrapOptions& options) {
  return bootstrap(truth.size(), metric_of(metric, truth, runs, classes), options);
}

PairedDifference paired_bootstrap(std::size_t count, const Statistic& first, const Statistic& second,
                                  const BootstrapOptions& options) {
  const auto difference = [&](std::span<const std::size_t> indices) {
    return difference_of(first(indices), second(indices));
  };
  const auto sorted = resampled(count, difference, options);
  return {difference(all_indices(count)), percentile(sorted, options.level), two_sided(sorted)};
}

PairedDifference paired_bootstrap(const std::string& metric, std::span<const std::int64_t> truth,
                                  std::span<const std::int64_t> first, std::span<const std::int64_t> second,
                                  std::size_t classes, const BootstrapOptions& options) {
  return paired_bootstrap_runs(metric, truth, {first}, {second}, classes, options);
}

PairedDifference paired_bootstrap_runs(const std::string& metric, std::span<const std::int64_t> truth,
                                       const Runs& first, const Runs& second, std::size_t classes,
                                       const BootstrapOptions& options) {
  return paired_bootstrap(truth.size(), metric_of(metric, truth, first, classes),
                          metric_of(metric, truth, second, classes), options);
}

}  // namespace graft
