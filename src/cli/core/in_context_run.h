// The variant of `graft compare` that trains nothing: the base model answers behind demonstrations, as in `graft eval`.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/core/eval_data.h"
#include "cli/core/eval_run.h"
#include "cli/core/eval_scorer.h"
#include "cli/core/job.h"
#include "report/evaluation.h"

namespace graft {

/// method.name of such a variant, which no method has.
inline constexpr const char* kInContext = "in_context";

bool is_in_context(const RunConfig& config);

/// What `graft eval` would be told: method.options.shots demonstrations (0: none), drawn by data.seed from the rows
/// that a run of `graft tune` with these settings would train on. Throws InvalidArgument for another option (with the
/// nearest), a number below 0, method.start_from and a task with running text; and as task_of.
EvalSettings in_context_settings(const RunConfig& config);

/// One such run: a run folder as of `graft tune`, whose "before" is the model without demonstrations and whose "after"
/// is the model behind them. What it scores is kept by the scorer, so that it goes on wherever it was stopped.
class InContextRun {
 public:
  /// Reads and renders the rows; leaves nothing behind. The base outlives this. Throws as in_context_settings and
  /// open_eval_data, which tells too few rows.
  InContextRun(const RunConfig& config, const Base& base);

  /// Throws InvalidArgument where the run that ended in the configuration's folder is of another model than `hashes`
  /// tells, or had other demonstrations to draw from, or other questions. Throws as read_summary.
  void refuse_changed(const ModelHashes& hashes) const;

  /// Without demonstrations, then behind them (one row where there are none). Throws as evaluate_rows.
  std::vector<EvalRow> rows(EvalScorer& scorer) const;

  /// Says what may surprise, scores what is not kept yet, and leaves predictions, summary and report, in this order.
  /// `scorer` is the base's, without an adapter. Throws as rows() and RunFolder.
  void finish(EvalScorer& scorer, const ModelHashes& hashes);

 private:
  nlohmann::json asked(const ModelHashes& hashes) const;
  nlohmann::json summary(const std::vector<EvalRow>& rows, const EvaluatedTask& scores,
                         const ModelHashes& hashes) const;
  EvaluationReport report(const EvaluatedTask& scores, const ModelHashes& hashes, const std::string& started) const;

  RunConfig config_;
  const Base& base_;
  EvalSettings settings_;
  EvalData data_;
};

}  // namespace graft
