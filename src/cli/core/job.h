// What `graft tune` and `graft eval` share: a model, its tokenizer, a task's examples, and an evaluation with
// intervals.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/core/method.h"
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
  /// In one template of the task.
  struct Templated {
    std::string name;
    std::vector<ChoiceTokens> held_out;
    std::vector<ChoiceTokens> neutral;  ///< for pmi: the same choices after the neutral prompt; else empty
  };
  std::vector<Templated> templates;        ///< one, or all of the task's where data.template is all
  std::vector<Example> held_out;           ///< in templates[0]
  std::vector<Example> train;              ///< all examples in templates[0], then all in templates[1], …
  std::vector<ChoiceTokens> train_tokens;  ///< of `train`
  std::vector<std::string> labels;         ///< names for the report
  std::string data_hash;
  double load_seconds = 0;
};

/// The dtype a run of this configuration computes in. Throws InvalidArgument.
at::ScalarType compute_dtype(const RunConfig& config);

/// The task that a configuration names, or the one of its text and label columns. Throws InvalidArgument for neither.
Task task_of(const RunConfig& config);

/// Indices of the task's templates that a run uses. Throws InvalidArgument for a template the task has not.
std::vector<std::size_t> templates_of(const RunConfig& config, const Task& task);

/// Makes `name` the method; another one than the recipe's begins without the recipe's options. Empty: no change.
void choose_method(RunConfig& config, const std::string& name);

/// The method's options: numbers, flags and lists where the text is one, else text; "lora.rank" as {"lora": {"rank"}}.
/// Throws InvalidArgument where a name is a value and a group.
nlohmann::json method_options(const RunConfig& config);

/// Opens everything a configuration names and says what it found. Throws as the parts do.
Job open_job(const RunConfig& config);

/// Throws InvalidArgument for what only the first evaluation would find out: evaluations during training with nothing
/// held out, held-out examples without any label.
void refuse_unscorable(const Job& job);

struct Spread {
  double median = 0, low = 0, high = 0;  ///< low and high: quartiles
};

struct Evaluation {
  std::vector<RankedExample> ranked;  ///< without scores where they were read from a run folder
  ReportEvaluation scores;
  double seconds = 0;
  std::map<std::string, double> by_template;  ///< accuracy; empty where one template is in use
  double accuracy() const { return scores.accuracy.value; }
  /// "accuracy", "balanced_accuracy" or "macro_f1", with its interval.
  const ReportScore& score(const std::string& metric) const;
  /// Larger is better: "accuracy", "balanced_accuracy", "macro_f1", or "loss", the mean normalised log-probability of
  /// the right choice.
  double metric(const std::string& name) const;
  std::vector<std::int64_t> predictions() const;
  /// Expected accuracy of a guess: examples may have different numbers of choices.
  double chance() const;
  /// Of the accuracies by template, which must not be empty.
  Spread spread() const;
};

/// Rank classification of the held-out examples in the first template; `adapter` may be null.
Evaluation evaluate(const Job& job, const Adapter* adapter, const std::string& what);

std::vector<TrainingExample> training_examples(const Job& job);
/// The same, and the accuracy in every other template: T-Few reports the median over all of them.
Evaluation evaluate_templates(const Job& job, const Adapter* adapter, const std::string& what);

std::vector<Prediction> predictions_of(const Job& job, const Evaluation& evaluation);

/// SHA-256 of all that the base model's own answers follow from: weights, dtype, what it reads and how it is scored.
std::string evaluation_key(const Job& job);

/// The evaluation that predictions_of() was written of, without scores. Nothing where they are not the held-out
/// examples.
std::optional<Evaluation> evaluation_of(const Job& job, const std::vector<Prediction>& predictions);

/// "86.5% (81.5–91.0)"
std::string percent_with_interval(const ReportScore& score);

}  // namespace graft
