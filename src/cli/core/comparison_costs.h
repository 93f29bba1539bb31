// How sure the scores of a comparison are, and what each variant takes: training and answering apart.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "cli/core/comparison_run.h"
#include "report/comparison.h"

namespace graft {

/// Of every task and number of training examples the base model, then each variant, in the plan's order. Accuracies are
/// of what all seeds answered together, with intervals over the questions: a resample draws questions, each with the
/// answers of all seeds that were asked it. Differences are to the comparison's first variant, paired by seed and
/// question, and tested by mcnemar() with a question for an example: right is there the variant that answered it
/// rightly with more seeds than the other. `measured` is of the plan's runs. Throws as read_answers.
std::vector<ComparedCost> compared_costs(const std::vector<PlannedRun>& plan, const std::vector<MeasuredRun>& measured);

/// results.json, without what repeats it: tasks, the scores and costs of every variant, and every run.
nlohmann::ordered_json comparison_json(const ComparisonReport& report, const std::vector<PlannedRun>& plan,
                                       const std::vector<MeasuredRun>& measured);

}  // namespace graft
