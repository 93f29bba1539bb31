// report.html: what a run did, in one file that opens offline, without JavaScript, on any screen and on paper.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace graft {

/// A score as a fraction in 0…1, with its 95% confidence interval.
struct ReportScore {
  double value = 0;
  double low = 0;
  double high = 0;
};

/// The held-out evaluation at one moment.
struct ReportEvaluation {
  ReportScore accuracy;
  std::optional<ReportScore> balanced_accuracy;
  std::optional<ReportScore> macro_f1;
  std::int64_t examples = 0;
  std::vector<std::vector<std::int64_t>> confusion;  ///< [truth][prediction]; empty: not shown
};

/// How far the probabilities of answers can be believed.
struct ReportCalibration {
  /// Answers of about the same confidence: `count` of them, whose mean confidence and share of right ones these are.
  struct Bin {
    std::int64_t count = 0;
    double confidence = 0;
    double accuracy = 0;
  };
  double error = 0;       ///< expected calibration error
  double brier = 0;       ///< Brier's score, 0 to 2
  std::vector<Bin> bins;  ///< by confidence, ascending; without answers: not drawn
};

/// A quantity over training steps. NaN is a gap.
struct ReportCurve {
  std::string name;
  std::vector<std::pair<double, double>> points;  ///< (step, value), steps ascending
};

/// Accuracy in one prompt template of the task, on one task of a mixture, or on the examples of a slice.
struct ReportTemplate {
  std::string name;
  double before = 0;
  double after = 0;
};

/// Accuracy on the held-out examples with each value of a field.
struct ReportSlices {
  std::string field;
  std::vector<ReportTemplate> values;
};

/// A held-out example the model gets wrong. Indices are into `choices`; -1: unknown.
struct ReportMistake {
  std::string id;
  std::string where;  ///< "mine.csv:17"
  std::string text;
  std::vector<std::string> choices;
  std::vector<double> probabilities;         ///< after training, of every choice
  std::vector<double> probabilities_before;  ///< empty: not known
  std::int64_t truth = -1;
  std::int64_t prediction = -1;
  std::int64_t prediction_before = -1;
};

/// A metric of written texts, in its own unit.
struct ReportTextScore {
  std::string metric;
  std::string unit;  ///< "0 to 100, higher is better"
  double before = 0;
  double after = 0;
};

/// A held-out prompt of a generation task.
struct ReportSample {
  std::string where;  ///< "test.txt:17"
  std::string prompt;
  std::vector<std::string> references;
  std::string before;
  std::string after;
};

struct ReportCost {
  std::vector<std::pair<std::string, double>> seconds;  ///< by phase, in order: "load", "evaluate before", "train", …
  std::optional<std::int64_t> tokens;                   ///< trained on
  std::optional<double> tokens_per_second;
  std::optional<double> flops;  ///< of the matrix products of training
  std::optional<std::int64_t> adapter_bytes;
  std::optional<std::int64_t> adapter_parameters;
  std::optional<std::int64_t> base_parameters;
  std::optional<std::int64_t> peak_memory_bytes;
};

struct ReportCommand {
  std::string about;  ///< "Classify a new article"
  std::string line;   ///< as typed in a shell
};

/// Everything a report shows. A part that is missing or empty leaves its section out; nothing is required.
struct ReportData {
  std::string model;
  std::string task;
  std::string method;
  std::string started;  ///< in words, e.g. "2024-05-01 14:03 UTC"
  std::string version;  ///< of graft
  std::int64_t steps = 0;

  std::vector<std::string> labels;
  std::optional<ReportEvaluation> before;
  std::optional<ReportEvaluation> after;
  std::optional<ReportScore> improvement;  ///< accuracy after minus before, paired, -1…1
  std::optional<double> chance;            ///< accuracy of guessing
  std::optional<ReportCalibration> calibration_before;
  std::optional<ReportCalibration> calibration_after;
  std::string overlap;  ///< what is held out and what trained have in common, a sentence

  std::vector<ReportTextScore> text_scores;  ///< of a generation task, instead of all before and after this
  std::vector<ReportSample> samples;         ///< the first of `prompts`
  std::int64_t prompts = 0;                  ///< held-out prompts that were scored

  std::vector<ReportTemplate> templates;        ///< empty where one template is in use
  std::optional<ReportScore> templates_before;  ///< median over them, and quartiles
  std::optional<ReportScore> templates_after;

  std::vector<ReportTemplate> tasks;  ///< of a mixture; empty where one task is in use

  std::vector<ReportSlices> slices;  ///< by field; empty where the task names none

  std::vector<ReportCurve> loss;  ///< first the total, then its parts
  ReportCurve learning_rate;
  std::vector<ReportCurve> evaluations;  ///< fractions during training: "accuracy", …

  std::vector<ReportMistake> mistakes;  ///< the first kShownMistakes are shown
  ReportCost cost;

  std::string config;                                                ///< the resolved configuration, YAML
  std::vector<std::pair<std::string, std::string>> reproducibility;  ///< ("Base weights", "sha256 …"), seeds, machine …
  std::vector<ReportCommand> commands;
};

inline constexpr std::size_t kShownMistakes = 200;

/// The whole page. Every text may be hostile: it is escaped, and the page forbids itself any outside resource.
std::string render_report(const ReportData& data);

}  // namespace graft
