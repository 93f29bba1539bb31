// The folders that graft tune, graft compare and graft eval wrote, read again for `graft runs`.
#pragma once

#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "report/evaluation.h"
#include "report/svg.h"

namespace graft {

/// One score of a folder.
struct FoundScore {
  std::string task;
  /// The method of a tuning run; the variant of a comparison, "ia3 (3 seeds)"; "0-shot", "runs/rte (ia3)" of an
  /// evaluation.
  std::string setting;
  std::string metric;                   ///< accuracy, or the first one of texts; empty where nothing was held out
  std::optional<double> before, value;  ///< of a comparison the medians over seeds
};

struct FoundRun {
  std::filesystem::path folder;
  std::string verb;  ///< "tune", "compare" or "eval"
  std::string model;
  std::string state;        ///< "done", "step 12 of 60", "3 of 8 runs done"; why it cannot be read
  std::time_t written = 0;  ///< last
  std::vector<FoundScore> scores;
};

/// "86.5%", or "41.27" for a metric that is no fraction.
std::string found_value(const std::string& metric, double value);

/// What one folder holds; nothing where none of the verbs wrote it. A folder that cannot be read says so in its state.
std::optional<FoundRun> found_run(const std::filesystem::path& folder);

/// The first metric of texts that a folder, or that of its predictions.jsonl, tells of the task (empty: of any); empty
/// where it tells none.
std::string told_text_metric(const std::filesystem::path& path, const std::string& task);

/// All runs at `home` and below it, the last written first. A comparison is one, unless it is `home` itself: then its
/// runs are told. Throws NotFound for a folder that is not there.
std::vector<FoundRun> find_runs(const std::filesystem::path& home);

/// The tasks in results.json of a folder of graft eval. Throws NotFound, Corruption.
std::vector<EvaluatedTask> evaluated_tasks(const std::filesystem::path& folder);

struct RunPlot {
  LineChart chart;
  std::string metric;                 ///< that is drawn: "accuracy", "bleu", "loss"
  std::vector<std::string> left_out;  ///< "runs/e sums (bleu)": what is measured by another one
};

/// What `graft runs plot` draws: of folders of graft eval the score over the number of demonstrations, of folders of
/// graft compare over the number of training examples (both the median over seeds, with the quartiles as band), of run
/// folders over steps, or with `loss` the training loss. A series a folder and task, and variant. The score is
/// `metric`, else the first metric of texts where the first task writes them, else accuracy. Throws InvalidArgument for
/// folders of several kinds, or without anything to draw; as the readers do.
RunPlot plot_of(const std::vector<std::filesystem::path>& folders, bool loss, const std::string& metric);

}  // namespace graft
