// One run of `graft tune`, from its folder's first file to its report; `graft compare` has many of them.
#pragma once

#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/core/combination.h"
#include "base/progress.h"
#include "cli/core/evaluation.h"
#include "cli/core/profiling.h"
#include "cli/core/run_pace.h"
#include "cli/core/tune_memory.h"
#include "cli/core/tune_report.h"
#include "corpus/contamination.h"
#include "report/run_folder.h"
#include "train/loop.h"
#include "train/state.h"

namespace graft {

/// The run folder of `config`, new or to go on with, with its config.yaml. Throws as RunFolder::create and open.
RunFolder open_run_folder(const RunConfig& config);

/// Throws InvalidArgument where the run folder of `config` holds a run of other settings (the first that differs, with
/// both values), or something else. A start that failed before a step or an evaluation is no run.
void refuse_other_run(const RunConfig& config);

/// Throws InvalidArgument where the run in the folder of `job` is of another base model than `base`, trained on other
/// examples than the job's, or was scored on others. (Of a folder of an earlier version, which does not tell these, the
/// first two alone.) And as RunFolder::open.
void refuse_changed_run(const Job& job, const BaseHashes& base);

/// Steps that a run of `config` has still to make: all of them where its folder holds none. Throws as steps_done().
std::int64_t steps_left(const RunConfig& config);
/// How far the run in the configuration's folder has come.
RunStage stage_of(const RunConfig& config);

class TuneRun {
 public:
  /// Makes the adapter and opens the run folder, new or to go on with. Throws as MethodChoice::create,
  /// refuse_unscorable and RunFolder do; then there is no new folder.
  explicit TuneRun(Job job);
  TuneRun(const TuneRun&) = delete;

  const Job& job() const { return job_; }
  const Adapter& adapter() const { return *adapter_; }

  /// Says on standard error what will be done, with notes on what may surprise.
  void announce() const;
  /// Says how long it will take and how much of memory, which was settled so: now where earlier runs on this machine
  /// tell, else after its first steps. close() then keeps for later ones what it took.
  void estimate(const MemoryFit& fit);
  /// Writes the training examples and lets the base model answer the held-out ones, once: where this run's folder or
  /// one of `others` has its answers they are read. Throws InvalidArgument where the run began on other examples.
  void begin(const std::vector<std::filesystem::path>& others = {});
  /// Says how the base model did, where something is held out.
  void tell_before() const;
  /// For train() or train_together(), while this lives. `progress` is the verb of the progress line; empty: no line.
  Training training(const std::string& progress);
  /// Records `steps` steps of the training to come, to be told by close().
  void profile(std::int64_t steps) { profile_.emplace(steps, folder_.path() / "profile.json"); }
  /// Evaluates, and leaves the adapter, the summary and the report, in this order.
  void finish();
  /// Prints scores, cost and the next commands.
  void close();

 private:
  void write_train();
  std::optional<Evaluation> recorded_before(const std::filesystem::path& folder, const std::string& key) const;
  void go_on_from(std::int64_t step);
  Evaluation evaluate_all(const Adapter* adapter, const std::string& verb);
  double evaluate_during(std::int64_t step);
  void record_step(const StepReport& step);
  void tell_pace(const std::string& line);
  std::int64_t peak() const;
  void save();
  void record() const;
  bool has_adapter_file() const { return method_.has_adapter_file(); }
  std::filesystem::path state_file() const;
  nlohmann::json summary() const;
  nlohmann::json summary_of(const Evaluation& evaluation, const Adapter* adapter) const;
  std::string generate_command() const;

  Job job_;
  TrainSettings settings_;
  MethodChoice method_;
  std::unique_ptr<Adapter> adapter_;
  RunFolder folder_;
  TrainCallbacks callbacks_;
  std::string verb_;
  std::unique_ptr<Progress> progress_;
  std::optional<StepProfile> profile_;
  std::optional<RunPace> pace_;
  std::time_t started_ = std::time(nullptr);
  std::optional<Evaluation> before_, after_;
  std::optional<Overlap> overlap_;
  Trained trained_;
};

}  // namespace graft
