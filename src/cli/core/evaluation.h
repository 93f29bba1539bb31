// The held-out examples of a job, scored.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/core/job.h"
#include "eval/rank.h"
#include "generate/decode.h"
#include "report/html.h"
#include "report/run_folder.h"

namespace graft {

/// Median, with the quartiles as its interval, of one or more values.
ReportScore quartiles_of(std::vector<double> values);

struct Evaluation {
  std::vector<RankedExample> ranked;  ///< without scores where they were read from a run folder
  ReportEvaluation scores;
  std::vector<std::string> written;           ///< generation: the text of each held-out prompt, white space as written
  std::vector<std::string> outputs;           ///< generation: the same as metrics compare them
  std::map<std::string, double> text_scores;  ///< generation: by metric
  double seconds = 0;
  std::map<std::string, ReportScore> choice_scores;  ///< of choices: by metric of the task
  std::map<std::string, double> by_template;         ///< accuracy; empty where one template is in use
  double accuracy() const { return scores.accuracy.value; }
  /// A metric of the task, or "accuracy", "balanced_accuracy" or "macro_f1", with its interval.
  const ReportScore& score(const std::string& metric) const;
  /// A metric of the task; or "loss", larger is better, the mean normalised log-probability of the right choice.
  double metric(const std::string& name) const;
  /// By example, 1 where it is answered rightly, with any choice that is right, and 0 where not: what two evaluations
  /// are compared by, whose labels differ where several choices are right.
  std::vector<std::int64_t> right_answers() const;
  /// Expected accuracy of a guess: examples may have different numbers of choices, and of right ones.
  double chance() const;
  /// Of the accuracies by template, which must not be empty.
  ReportScore spread() const;
};

/// The held-out examples in one template of the job; `adapter` may be null, here and below.
std::vector<RankedExample> rank_in(const Job& job, const Job::Templated& made, const Adapter* adapter,
                                   const std::string& what);

/// How a run writes the texts of a task: with the settings of the run, else with those of the task.
GenerateOptions generate_options(const RunConfig& config, const Task& task, const Model& model,
                                 const Tokenizer& tokenizer);

/// `arguments`, with --speculate off where nothing would be proposed for the texts of the task; a note says so. Does
/// nothing for a task that has none.
DecodingArguments settled_decoding(DecodingArguments arguments, const RunConfig& config, const Task& task,
                                   const Base& base);

/// All that a text follows from beside weights, config.json, adapter and prompt, as text. The options have a tokenizer.
std::string decoding_text(const GenerateOptions& options, const ModelConfig& model);

/// Generation: the text of every held-out prompt, white space as it was written: filters of a task may look at it.
std::vector<std::string> write_held_out(const Job& job, const Adapter* adapter, const std::string& what);

/// The held-out examples in the first template, by rank classification or, of a generation task, by writing and scoring
/// against the references.
Evaluation evaluate(const Job& job, const Adapter* adapter, const std::string& what);

/// Generation: how probable the first reference of each held-out prompt is; for metric("loss") alone, at a small part
/// of the time that writing takes.
Evaluation evaluate_references(const Job& job, const Adapter* adapter, const std::string& what);

/// evaluate(), and for choices the accuracy in every other template: T-Few reports the median over all of them.
Evaluation evaluate_templates(const Job& job, const Adapter* adapter, const std::string& what);

/// How far the probabilities of labelled examples can be believed; nothing where there are none (texts to write). Where
/// several choices are right, an answer is right if it is any of them, and Brier's truth is spread evenly over them.
std::optional<ReportCalibration> calibration_of(const std::vector<RankedExample>& ranked);

/// Of a mixture, by task; empty for a job on one. A task whose held-out rows carry no label is left out.
std::map<std::string, double> accuracy_by_task(const Job& job, const Evaluation& evaluation);

/// What predictions tell of a question before it is answered: its text, the fields at `slices` (places in
/// Task::slices), and its choices or references.
Prediction asked_question(const Example& question, const Task& task, const std::vector<std::size_t>& slices);

void set_answer(const RankedExample& answer, Prediction& prediction);

std::vector<Prediction> predictions_of(const Job& job, const Evaluation& evaluation);

/// SHA-256 of all that the base model's own answers follow from: weights and how they are kept, config.json (of a GGUF
/// file its metadata), dtype, device, the build of graft, what it reads and how it is scored or written.
std::string evaluation_key(const Job& job);

/// The evaluation that predictions_of() was written of, without scores. Nothing where they are not the held-out
/// examples.
std::optional<Evaluation> evaluation_of(const Job& job, const std::vector<Prediction>& predictions);

/// A metric of the task as it is told: "86.5% (81.5–91.0)", "0.71 (0.68–0.74) bits", or "41.27" for one of texts.
std::string told(const Job& job, const Evaluation& evaluation, const std::string& metric);

/// "0.71 (0.68–0.74) bits"
std::string bits_with_interval(const ReportScore& score);

/// "86.5% (81.5–91.0)"
std::string percent_with_interval(const ReportScore& score);

}  // namespace graft
