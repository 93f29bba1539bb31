// What `graft tune` and `graft eval` share: a model, its tokenizer, a task's examples, and an evaluation with
// intervals.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "arch/core/model.h"
#include "config/run_config.h"
#include "data/sampler.h"
#include "data/task.h"
#include "eval/rank.h"
#include "report/html.h"
#include "report/run_folder.h"
#include "text/tokenizer.h"

namespace graft {

struct Job {
  RunConfig config;
  std::unique_ptr<Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  Task task;
  std::vector<Example> train, held_out;
  std::vector<ChoiceTokens> train_tokens, held_out_tokens;
  std::vector<std::string> labels;  ///< names for the report
  std::string data_hash;
  double load_seconds = 0;
};

/// Opens everything a configuration names and says what it found. Throws as the parts do.
Job open_job(const RunConfig& config);

struct Evaluation {
  std::vector<RankedExample> ranked;
  ReportEvaluation scores;
  double seconds = 0;
  double accuracy() const { return scores.accuracy.value; }
  /// Larger is better: "accuracy", "balanced_accuracy", "macro_f1", or "loss", the mean normalised log-probability of
  /// the right choice.
  double metric(const std::string& name) const;
  std::vector<std::int64_t> predictions() const;
};

/// Rank classification of the held-out examples; `adapter` may be null.
Evaluation evaluate(const Job& job, const SiteHooks* adapter, const std::string& what);

std::vector<TrainingExample> training_examples(const Job& job);
std::vector<Prediction> predictions_of(const Job& job, const Evaluation& evaluation);

/// "86.5% (81.5–91.0)"
std::string percent_with_interval(const ReportScore& score);

}  // namespace graft
