// The generation metrics by the names under which a task asks for them. docs/metrics.md has the table.
#pragma once

#include <string>
#include <vector>

#include "statistics/text_cases.h"

namespace graft {

struct TextMetric {
  std::string name;
  std::string unit;  ///< range and direction, e.g. "0 to 100, higher is better"
  bool higher_is_better = true;
  double (*score)(const TextCases&);  ///< of all cases together; throws InvalidArgument as the metric does
};

const std::vector<TextMetric>& text_metrics();

/// Throws InvalidArgument with the nearest name.
const TextMetric& text_metric(const std::string& name);

}  // namespace graft
