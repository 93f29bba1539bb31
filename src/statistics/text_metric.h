// The generation metrics by the names under which a task asks for them. docs/metrics.md has the table.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "statistics/text_cases.h"

namespace graft {

struct TextMetric {
  std::string name;
  std::string unit;  ///< range and direction, e.g. "0 to 100, higher is better"
  bool higher_is_better = true;
  bool mean_of_cases = true;  ///< each case has a value, and their mean is the metric
  /// What each case adds, and the metric of what cases add up to: so resamples of the cases are scored without reading
  /// a text again. What a metric counts over the whole corpus (NIST's information, CIDEr's document frequencies) is
  /// that of all `cases`. Throws InvalidArgument as the metric does.
  CaseSums (*sums)(const TextCases& cases);
  double (*of_sums)(std::span<const double> sums);

  /// Of all cases together. Throws InvalidArgument as the metric does.
  double score(const TextCases& cases) const { return of_sums(total_of(sums(cases))); }
};

/// Those of hypotheses and references alone.
const std::vector<TextMetric>& text_metrics();

/// The names of text_metrics() and of difference_metrics() (text_difference.h), in this order.
std::vector<std::string> text_metric_names();

/// Throws InvalidArgument with the nearest name.
const TextMetric& text_metric(const std::string& name);

/// The mean over runs of a metric of the cases at some places: what bootstrap() and paired_bootstrap() resample.
/// `runs`, at least one, are TextMetric::sums() of what each wrote for the same cases. The metric must outlive the
/// result.
std::function<double(std::span<const std::size_t>)> mean_over_runs(const TextMetric& metric,
                                                                   std::vector<CaseSums> runs);

/// Whether a metric has this name.
bool is_text_metric(const std::string& name);

}  // namespace graft
