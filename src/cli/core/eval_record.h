// What is kept of an evaluation beside its scores.
#pragma once

#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "cli/core/eval_data.h"
#include "cli/core/eval_scorer.h"
#include "report/evaluation.h"

namespace graft {

/// The settings as they hold for one task, which may have a say in them.
nlohmann::ordered_json settings_json(const EvalSettings& settings, const RunConfig& config);

/// Whether graft eval has begun an evaluation in `folder`.
bool holds_evaluation(const std::filesystem::path& folder);

/// Writes scores.json, which names the files that the scores of the evaluation in `home` are kept in, and marks the
/// folder as an evaluation's before there are results. Throws as write_file().
void record_scores(const std::filesystem::path& home, const std::vector<std::unique_ptr<EvalScorer>>& scorers);

/// Lists each setting of the evaluation in `home` in the runs.db beside it. Where that cannot be written, a note on
/// standard error says so: an evaluation does not fail for it.
void record_evaluation(const std::filesystem::path& home, std::time_t started, const EvaluationReport& report);

}  // namespace graft
