// What `graft eval` makes of its answers: scores with intervals and tests, as a table, as JSON and for the report.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/core/eval_run.h"
#include "report/evaluation.h"

namespace graft {

/// Scores, intervals and tests of the rows of one task, the first row being what the others are compared with.
EvaluatedTask evaluated(const EvalData& data, const std::vector<EvalRow>& rows);

/// The entry of one task in results.json: all that its scores follow from, and the scores.
nlohmann::ordered_json results_of(const EvalData& data, const std::vector<EvalRow>& rows, const EvaluatedTask& scores);

/// One JSON line a question and run, with task, setting, seed and template.
std::string prediction_lines(const EvalData& data, const std::vector<EvalRow>& rows);

/// The table of one task on standard output.
void print_evaluated(const EvaluatedTask& task);

}  // namespace graft
