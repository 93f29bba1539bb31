// The report of `graft eval`: settings side by side on each task, in one file that opens offline.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/html.h"
#include "report/svg.h"

namespace graft {

/// A setting against the first one of its task, on the same examples.
struct EvaluatedDifference {
  ReportScore accuracy;        ///< this minus the first, -1…1, with its paired bootstrap interval
  double bootstrap_p = 1;      ///< two-sided, of the paired bootstrap
  double mcnemar_p = 1;        ///< exact, of the first run of both
  std::int64_t only_base = 0;  ///< examples that the first setting alone has right, in these runs
  std::int64_t only_this = 0;  ///< examples that this one alone has right
};

/// A metric against that of the first setting.
struct EvaluatedTextDifference {
  ReportScore score;  ///< this minus the first, in the metric's own unit, with its paired bootstrap interval
  double bootstrap_p = 1;
};

/// What is told of a metric beside its score.
struct EvaluatedMetric {
  std::optional<ReportScore> spread;                  ///< over several runs: median and quartiles
  std::optional<ReportScore> orders;                  ///< as EvaluatedRow::orders
  std::optional<EvaluatedTextDifference> difference;  ///< to the first setting
};

/// What the settings wrote for one question.
struct EvaluatedText {
  std::string prompt, where;
  std::vector<std::string> references;
  std::vector<std::string> outputs;  ///< by row, of its first run
};

/// One setting. Where it has several runs (seeds, templates), scores are means over them, with intervals over examples.
struct EvaluatedRow {
  std::string name;
  std::int64_t shots = 0;
  std::string adapter;      ///< "runs/rte (ia3)", which its settings have in common; empty: the base model
  bool calibrated = false;  ///< contextually
  ReportScore accuracy;     ///< with its bootstrap interval
  double wilson_low = 0, wilson_high = 0;
  std::vector<ReportScore> metrics;      ///< EvaluatedTask::metrics, with bootstrap intervals
  std::vector<EvaluatedMetric> further;  ///< of the same; empty where a folder of an earlier version is read
  std::optional<EvaluatedTextDifference> text_difference;  ///< of EvaluatedTask::text_metric
  std::int64_t runs = 1;
  std::optional<ReportScore> spread;       ///< of accuracy over several runs: median and quartiles
  std::optional<ReportScore> text_spread;  ///< of EvaluatedTask::text_metric, likewise
  /// Of accuracy over orders of the same demonstrations: median, lowest and highest, each the mean over what was drawn.
  std::optional<ReportScore> orders;
  std::optional<ReportCalibration> calibration;  ///< over the answers of all runs; nothing for texts to write
  std::optional<EvaluatedDifference> difference;
  double seconds = 0;       ///< for one question, demonstrations read once for all
  double flops_shared = 0;  ///< of the same
  double flops_alone = 0;   ///< of one question that reads its demonstrations itself
  double prompt_tokens = 0;
  std::int64_t dropped = 0;  ///< demonstrations that did not fit the context, over all runs
  std::int64_t cut = 0;      ///< prompts that lost their beginning, over all runs

  bool adapted() const { return !adapter.empty(); }
};

/// A setting on the questions of a slice.
struct EvaluatedSliceScore {
  ReportScore accuracy;               ///< with Wilson's interval
  std::optional<ReportScore> metric;  ///< EvaluatedTask::text_metric, with its bootstrap interval
};

/// The questions whose rows say the same in one field.
struct EvaluatedSlice {
  std::string field, value;
  std::int64_t others = 0;  ///< above 0: so many values that few rows have, told together; `value` is empty then
  std::int64_t examples = 0;
  std::vector<EvaluatedSliceScore> rows = {};  ///< by EvaluatedTask::rows
};

struct EvaluatedTask {
  std::string name;
  std::int64_t examples = 0;
  double chance = 0;                   ///< accuracy of guessing; 0: there is no guessing
  std::string runs;                    ///< what several runs are: "3 seeds"; empty for one
  std::vector<std::string> metrics;    ///< beside accuracy
  bool percent = true;                 ///< these are fractions; see in_percent()
  bool graded = true;                  ///< answers are right or wrong; of running text there are only metrics
  std::string text_metric;             ///< the first of them that is of written texts; empty: nothing was written
  std::vector<EvaluatedText> texts;    ///< of the first questions
  std::vector<EvaluatedRow> rows;      ///< the first is what the others are compared with
  std::vector<std::string> notes;      ///< sentences
  std::vector<EvaluatedSlice> slices;  ///< field by field, of each the most frequent value first
  /// What is told apart without being asked for, each under a name in place of a field: of several templates each,
  /// whose runs have all questions; and where some questions share an n-gram with other examples, the others and these.
  std::vector<EvaluatedSlice> parts = {};
};

struct EvaluationReport {
  std::string model;
  std::string started;  ///< in words
  std::string version;  ///< of graft
  std::vector<EvaluatedTask> tasks;
  std::vector<std::pair<std::string, std::string>> reproducibility;
  std::vector<ReportCommand> commands;
};

/// The whole page: bars with intervals and a table for each task, a curve over the number of demonstrations (median and
/// quartiles over the runs) where there are three or more. Every text may be hostile: it is escaped.
std::string render_evaluation(const EvaluationReport& report);

/// All tasks under each other, as lines of equally many cells, the headings the first: task, setting, accuracy,
/// intervals, difference to the task's first setting, seconds and FLOPs of a question. Means over the tasks end it, of
/// each setting that all of them have and of the adapters, by demonstrations, where each task has one. Empty for fewer
/// than two tasks.
std::vector<std::vector<std::string>> overview_of(const std::vector<EvaluatedTask>& tasks);

/// The fields of the slices of a task and then of its parts, in their order.
std::vector<std::string> sliced_fields(const EvaluatedTask& task);

/// Those of its parts alone.
std::vector<std::string> part_fields(const EvaluatedTask& task);

/// The slices or parts by one of these fields, as lines of equally many cells, the headings the first: value,
/// questions, and accuracy of every setting with Wilson's interval; of texts that were written also their metric with
/// its bootstrap interval.
std::vector<std::vector<std::string>> slice_lines(const EvaluatedTask& task, const std::string& field);

/// Of the metrics beside accuracy, as lines of equally many cells, the headings the first: metric, setting, difference
/// to the first setting with its paired bootstrap interval and p-value, and over several runs and orders the spread.
/// Empty where there is nothing of it.
std::vector<std::vector<std::string>> metric_lines(const EvaluatedTask& task);

/// "female", "(none)" for an empty value, "37 other values".
std::string slice_name(const std::string& value, std::int64_t others);

/// What drawings of a task are of: the first metric of written texts, else accuracy; of running text its first metric.
/// Empty where there is none.
std::string drawn_metric(const EvaluatedTask& task);

/// Whether this one of the task's metrics is told in percent. Entropies are in bits.
bool in_percent(const EvaluatedTask& task, const std::string& metric);

/// A metric of the task, accuracy among them, in one row, with its bootstrap interval; nothing where the task has none
/// of that name.
std::optional<ReportScore> score_of(const EvaluatedTask& task, const EvaluatedRow& row, const std::string& metric);

/// Adds the row to a curve of such a metric over the number of demonstrations: the median over its runs with the
/// quartiles as band. Of one run, and of a metric whose spread is not told, it is the score itself, without spread.
/// Nothing where the task has no such metric.
void add_over_runs(Series& series, const EvaluatedTask& task, const EvaluatedRow& row, const std::string& metric);

/// A curve for each adapter, named after it, over the demonstrations in front of its questions; add_over_runs() of its
/// rows.
std::vector<Series> adapter_curves(const EvaluatedTask& task, const std::string& metric);

/// Whether a row has accuracies over orders of its demonstrations, or tells of its calibration.
bool has_orders(const EvaluatedTask& task);
bool has_calibration(const EvaluatedTask& task);

/// "+1.234 (−0.5 to +3)", in the metric's unit.
std::string text_difference_text(const EvaluatedTextDifference& difference);

/// What an accuracy of this task is: "50.0% by chance", or when a text is right.
std::string scale_text(const EvaluatedTask& task);
/// "0.034", "<0.001".
std::string p_value_text(double p);
/// "+4.5 (−1.0 to +9.9)", in points of a hundred.
std::string points_text(const ReportScore& difference);

}  // namespace graft
