// What is kept of an evaluation beside its scores.
#pragma once

#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "cli/core/eval_data.h"
#include "cli/core/eval_scorer.h"
#include "report/evaluation.h"

namespace graft {

/// The settings as they hold for one task, which may have a say in them.
nlohmann::ordered_json settings_json(const EvalSettings& settings, const RunConfig& config);

/// Whether graft eval has begun an evaluation in `folder`.
bool holds_evaluation(const std::filesystem::path& folder);

/// Refuses a folder that holds something else, or results of a task that is none of `tasks`. Throws InvalidArgument.
void refuse_other_folder(const std::filesystem::path& home, const std::set<std::string>& tasks);

/// Where scores are kept: in the folder `asked`, which is its owner's to clear; where that is empty in user_scores(),
/// or where there is none or no file can be made there in `output`/scores. A note on standard error tells the latter.
std::filesystem::path score_folder(const std::string& asked, const std::filesystem::path& output);

/// Above 4 GiB what was used longest ago goes from user_scores(), as by drop_old_scores().
void clear_user_scores();

/// Writes scores.json, which names the files that the scores of the evaluation in `home` are kept in, and marks the
/// folder as an evaluation's before there are results. Says on standard error where there are scores of other builds of
/// graft alone, which are not taken up. Throws as write_file().
void record_scores(const std::filesystem::path& home, const std::vector<std::unique_ptr<EvalScorer>>& scorers);

/// Lists each setting of the evaluation in `home` in the runs.db beside it. Where that cannot be written, a note on
/// standard error says so: an evaluation does not fail for it.
void record_evaluation(const std::filesystem::path& home, std::time_t started, const EvaluationReport& report);

}  // namespace graft
