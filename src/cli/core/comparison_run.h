// The runs of `graft compare`: each a run folder as of `graft tune`, trained together where they can be.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/core/tune_memory.h"
#include "config/run_config.h"
#include "corpus/contamination.h"
#include "report/comparison.h"

namespace graft {

struct PlannedRun {
  std::string task;     ///< as it is told
  std::string metric;   ///< of the task, the one that is compared
  bool percent = true;  ///< the metric is a fraction
  std::string variant;  ///< as it is told
  std::int64_t seed = 0;
  RunConfig config;        ///< run.output is its folder
  std::int64_t shots = 0;  ///< training examples, where several numbers are compared; else 0
};

/// Whether nothing of it is left to do.
bool finished(const PlannedRun& run);

/// What the base model of a run follows from: runs with the same share one.
std::string base_key(const RunConfig& config);

/// Runs all that are not finished, in order, once it is sure that the finished ones are of this model and these data.
/// Of a variant in context (in_context_run.h) nothing trains; that it has too few rows to demonstrate is told first,
/// too. Neighbours of one task, variant and number of examples (with `together`
/// above 0: any up to that many neighbours on one base) share their training passes, unless they replace base
/// parameters. Under a `budget` that was asked for every run trains by itself and is made to fit as by fit_memory().
/// A run whose loss or gradient stops being finite is left out; returns why, by its folder. Throws as
/// refuse_changed_run(), InContextRun, TuneRun, train() and refuse_unfitting() do, Cancelled too: what is done is kept,
/// and the same call goes on.
std::map<std::string, std::string> run_all(const std::vector<PlannedRun>& plan, std::size_t together,
                                           const MemoryBudget& budget);

/// What a comparison tells of "before" or "after" in a summary.json: of accuracy the median over the templates where
/// several are in use, as the T-Few paper reports it. Nothing where that is not measured.
std::optional<double> compared_score(const nlohmann::json& summary, const char* phase, const std::string& metric);

/// What answering one question takes, as far as it is known.
struct AnswerCost {
  std::optional<double> seconds = {};
  std::optional<double> flops = {};        ///< demonstrations read once for all questions
  std::optional<double> flops_alone = {};  ///< where it reads its demonstrations itself
};

/// What a run has measured, as far as it came.
struct MeasuredRun {
  std::optional<double> before, after;
  std::int64_t parameters = 0, base_parameters = 0;
  double step_seconds = 0;
  std::optional<Overlap> overlap = {};  ///< of its held-out examples with those that train; where there are both
  std::optional<double> train_seconds = {}, train_flops = {};
  AnswerCost asked_before = {}, asked_after = {};
  std::int64_t dropped = 0;         ///< demonstrations that the context did not hold, over all questions
  std::int64_t lost_questions = 0;  ///< that lost them
};

/// From the summary of every run folder. Throws as read_summary.
std::vector<MeasuredRun> measured_runs(const std::vector<PlannedRun>& plan);

/// "0 to 3 of 200 held-out examples share a 13-gram with the tuning examples of a run (6 runs)": of the runs of a task,
/// each of which may train on other examples. Of one run as overlap_text(); empty for none.
std::string overlap_over_runs(const std::vector<Overlap>& overlaps);

/// The tasks, variants and runs of a report; `measured` is of the plan's runs, `failures` says why a run has no score,
/// by its folder. Reports are told relative to `home`.
ComparisonReport compared(const std::vector<PlannedRun>& plan, const std::vector<MeasuredRun>& measured,
                          const std::map<std::string, std::string>& failures, const std::filesystem::path& home);

/// One line a run: task, variant, method, shots, seed, metric, before, after, trained parameters, seconds a step,
/// seconds and FLOPs of training, seconds and FLOPs of answering a question, folder.
std::string comparison_csv(const std::vector<PlannedRun>& plan, const std::vector<MeasuredRun>& measured);

}  // namespace graft
