// One run is one folder: everything a run leaves behind, and the only way it is written. Files are whole or absent
// (metrics.jsonl grows line by line and is repaired when it is opened again).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace graft {

/// One line of metrics.jsonl. Absent parts are not written; a loss that is not a number is written as null and read
/// back as NaN.
struct Metrics {
  std::int64_t step = 0;
  std::optional<double> loss;
  std::map<std::string, double> parts;  ///< parts of the loss by name: "lm", "unlikelihood", …
  std::optional<double> learning_rate;
  std::optional<double> seconds;         ///< since the run began, pauses left out
  std::optional<std::int64_t> tokens;    ///< since the run began
  std::map<std::string, double> scores;  ///< of an evaluation during training: "accuracy", …
  std::vector<std::int64_t> examples;    ///< of the step's batch, as lines of train.jsonl counted from 0
};

/// One line of train.jsonl: one training example as the model reads it.
struct TrainingExample {
  std::string id;     ///< stable id of the example
  std::string where;  ///< "mine.csv:17"
  std::string prompt;
  std::vector<std::string> choices;  ///< as appended to the prompt
  std::int64_t label = -1;           ///< index into choices
};

/// One line of predictions.jsonl: one held-out example in one phase.
struct Prediction {
  std::string phase;  ///< "before" or "after"
  std::string id;     ///< stable id of the example
  std::string where;  ///< "mine.csv:17"
  std::string text;   ///< prompt, or an excerpt of it
  std::vector<std::string> choices;
  std::vector<double> probabilities;  ///< of every choice, same order
  std::int64_t truth = -1;            ///< index into choices, -1: unknown
  std::int64_t prediction = -1;
  std::vector<std::string> references;             ///< generation: instead of the four above
  std::vector<std::string> false_references = {};  ///< generation: texts that are wrong; mostly none are told
  std::string output;                              ///< generation: what the model wrote, as metrics compare it
  std::string written;                             ///< generation: the same as it was written
  std::vector<std::string> group = {};             ///< Example::group, where the task makes groups
  std::map<std::string, std::string> slices = {};  ///< by field, where the task tells scores apart by some
};

/// Holds the folder's advisory lock (flock on `.graft-run`, which also marks the folder as ours) until destroyed: two
/// processes never write one run. File systems without flock are used unlocked. Movable; one thread at a time.
class RunFolder {
 public:
  /// A new run in an absent or empty folder. Throws InvalidArgument when the folder holds a run (resume it, or choose
  /// another) or anything else; Io, ResourceExhausted.
  static RunFolder create(const std::filesystem::path& path);
  /// An existing run, to go on with. Repairs a last metrics line that a crash cut short and removes the temporary
  /// files of a killed process. Throws NotFound,
  /// InvalidArgument (no run there, or another process has it), Corruption (metrics.jsonl is broken elsewhere: file and
  /// line), Io.
  static RunFolder open(const std::filesystem::path& path);
  /// True when the folder was made by create().
  static bool is_run(const std::filesystem::path& path);
  /// True where a step or an evaluation of the run there is recorded. A start that failed before has nothing to lose.
  static bool has_begun(const std::filesystem::path& path);

  ~RunFolder();
  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&& other) noexcept;
  RunFolder(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config_file() const { return path_ / "config.yaml"; }
  std::filesystem::path metrics_file() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path train_file() const { return path_ / "train.jsonl"; }
  std::filesystem::path predictions_file() const { return path_ / "predictions.jsonl"; }
  std::filesystem::path summary_file() const { return path_ / "summary.json"; }
  std::filesystem::path report_file() const { return path_ / "report.html"; }
  std::filesystem::path adapter() const { return path_ / "adapter"; }
  /// The whole model, where the method has no adapter file.
  std::filesystem::path model() const { return path_ / "model"; }

  /// The resolved configuration, as YAML text.
  void write_config(const std::string& yaml);
  /// Replaces train.jsonl.
  void write_train(const std::vector<TrainingExample>& examples);
  /// True where train.jsonl holds these examples, wherever they were read.
  bool has_train(const std::vector<TrainingExample>& examples) const;
  void write_summary(const nlohmann::json& summary);
  void write_report(const std::string& html);

  /// Appends one line with one write, so that a reader sees it whole. On a full disk the file is cut back to whole
  /// lines before ResourceExhausted is thrown.
  void append(const Metrics& metrics);
  /// Drops every metrics line after `step`: the run goes on from there and will write them anew.
  void drop_metrics_after(std::int64_t step);
  /// Replaces the lines of `phase` in predictions.jsonl and keeps the other phase's. Every prediction's own phase is
  /// ignored in favour of `phase`.
  void write_predictions(const std::string& phase, const std::vector<Prediction>& predictions);

 private:
  RunFolder(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::filesystem::path path_;
  int lock_ = -1;
  int metrics_ = -1;
};

/// Reads metrics.jsonl of a run folder without locking it; a cut last line is left out. A missing file is no lines.
/// Throws Corruption (file and line), Io.
std::vector<Metrics> read_metrics(const std::filesystem::path& run);

/// Reads summary.json of a run folder: null where it is missing. Throws Corruption, Io.
nlohmann::json read_summary(const std::filesystem::path& run);

/// Reads results.json of a folder of graft eval: null where it is missing. Throws Corruption, Io.
nlohmann::json read_results(const std::filesystem::path& folder);

/// Reads predictions.jsonl of a run folder. A missing file is no lines. Throws Corruption (file and line), Io.
std::vector<Prediction> read_predictions(const std::filesystem::path& run);

}  // namespace graft
