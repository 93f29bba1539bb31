// What is kept of an evaluation beside its scores.
#pragma once

#include <ctime>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "cli/core/eval_data.h"
#include "report/evaluation.h"

namespace graft {

/// The settings as they hold for one task, which may have a say in them.
nlohmann::ordered_json settings_json(const EvalSettings& settings, const RunConfig& config);

/// Lists each setting of the evaluation in `home` in the runs.db beside it. Where that cannot be written, a note on
/// standard error says so: an evaluation does not fail for it.
void record_evaluation(const std::filesystem::path& home, std::time_t started, const EvaluationReport& report);

}  // namespace graft
