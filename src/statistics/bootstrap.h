// How sure a score is: bootstrap intervals, of a metric and of the difference between two classifiers on the same
// examples.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace graft {

struct Interval {
  double low = 0;
  double high = 0;
};

/// Quantile of ascending values, at least one, interpolated linearly as numpy does; `part` in [0, 1]. Behind an
/// infinite value it is that value. Throws InvalidArgument: no values, a part outside [0, 1].
double quantile(const std::vector<double>& sorted, double part);

struct BootstrapOptions {
  std::int64_t resamples = 2000;
  double level = 0.95;
  std::uint64_t seed = 0;
};

/// Percentile interval (Efron and Tibshirani 1993, chapter 13) of `statistic`, which gets the indices of one resample
/// of `count` examples drawn with replacement. Deterministic in the seed. Throws InvalidArgument: no examples, fewer
/// than 2 resamples, a level outside (0, 1), a resample whose statistic is not a number.
Interval bootstrap(std::size_t count, const std::function<double(std::span<const std::size_t>)>& statistic,
                   const BootstrapOptions& options = {});

/// Of the mean of values. Throws as bootstrap.
Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options = {});

/// Interval of a metric (metric_value) of predictions. Throws InvalidArgument as confusion_matrix and bootstrap.
Interval bootstrap_metric(const std::string& metric, std::span<const std::int64_t> truth,
                          std::span<const std::int64_t> predicted, std::size_t classes,
                          const BootstrapOptions& options = {});

/// What several runs (seeds, prompts) of one classifier say of the same examples, a list a run, at least one.
using Runs = std::vector<std::span<const std::int64_t>>;

/// The same of the mean over `runs` of a metric. A resample draws examples, each with what every run says of it: the
/// interval is over examples and leaves the spread of the runs alone. Throws InvalidArgument as bootstrap_metric, and
/// for no runs.
Interval bootstrap_runs(const std::string& metric, std::span<const std::int64_t> truth, const Runs& runs,
                        std::size_t classes, const BootstrapOptions& options = {});

struct PairedDifference {
  double difference = 0;  ///< metric of `second` minus metric of `first`
  Interval interval;      ///< of the difference
  double p_value = 1;     ///< two-sided: twice the smaller tail of resampled differences at or beyond 0, at most 1
};

/// Paired bootstrap of two statistics on the same resamples; values that differ by less than 1e-12 of themselves are
/// equal. Throws as bootstrap().
PairedDifference paired_bootstrap(std::size_t count, const std::function<double(std::span<const std::size_t>)>& first,
                                  const std::function<double(std::span<const std::size_t>)>& second,
                                  const BootstrapOptions& options = {});

/// Paired bootstrap: both classifiers are scored on the same resamples. Throws InvalidArgument as bootstrap_metric.
PairedDifference paired_bootstrap(const std::string& metric, std::span<const std::int64_t> truth,
                                  std::span<const std::int64_t> first, std::span<const std::int64_t> second,
                                  std::size_t classes, const BootstrapOptions& options = {});

/// The same of the means over the runs of either, which may be of different numbers.
PairedDifference paired_bootstrap_runs(const std::string& metric, std::span<const std::int64_t> truth,
                                       const Runs& first, const Runs& second, std::size_t classes,
                                       const BootstrapOptions& options = {});

}  // namespace graft
