// What `graft eval` found, as a table and as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/core/eval_run.h"
#include "report/evaluation.h"

namespace graft {

/// The entry of one task in results.json: all that its scores follow from, and the scores.
nlohmann::ordered_json results_of(const EvalData& data, const std::vector<EvalRow>& rows, const EvaluatedTask& scores);

/// A task as its entry in results.json tells it: what results_of() was given of the scores, several runs as their
/// number alone. Throws nlohmann::json::exception on a missing key or a wrong type.
EvaluatedTask evaluated_of(const nlohmann::json& entry);

/// One JSON line a question and run, with task, setting, seed and template.
std::string prediction_lines(const EvalData& data, const std::vector<EvalRow>& rows);

/// The table of one task on standard output.
void print_evaluated(const EvaluatedTask& task);

/// The tables of its slices and parts, one a field, on standard output; nothing where there are none.
void print_slices(const EvaluatedTask& task);
/// Those of its parts alone.
void print_parts(const EvaluatedTask& task);

/// The table of all tasks (overview_of()) on standard output; nothing for one task.
void print_overview(const std::vector<EvaluatedTask>& tasks);

}  // namespace graft
