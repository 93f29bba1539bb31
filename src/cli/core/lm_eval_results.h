// The results of `graft eval` as the files that lm-evaluation-harness 0.4.13 writes, for the tools that read those
// (its result_schema.py and loggers/evaluation_tracker.py).
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/core/eval_run.h"

namespace graft {

/// Writes one folder a setting, as the harness does one a model: results_TIME.json, and samples_TASK_TIME.jsonl for
/// each task. A setting is a row of the table; where it has several runs, each of them. Calibrated rows are left out.
/// The questions, as `doc` of a sample, with `configs` of the results are a task that the harness itself reads: prompts
/// are rendered already.
class LmEvalResults {
 public:
  /// `head` is the beginning of results.json; `started` names the files.
  LmEvalResults(std::filesystem::path folder, nlohmann::ordered_json head,
                std::chrono::system_clock::time_point started);

  /// Writes the samples of one task and keeps its scores. Throws as AtomicFile.
  void add(const EvalData& data, const EvalSettings& settings, const Tokenizer& tokenizer,
           const std::vector<EvalRow>& rows);

  /// Writes the results of every setting. Throws as AtomicFile.
  void finish() const;

 private:
  struct Setting {
    nlohmann::ordered_json results;
    double seconds = 0;
  };
  Setting& setting_of(const EvalRow& row, const EvalPass& pass, const std::string& name);
  void add_pass(const EvalData& data, const EvalRow& row, const EvalPass& pass, const PromptLayout& layout,
                const Demonstrator& demonstrator);
  std::string write_samples(const EvalData& data, const EvalPass& pass, const PromptLayout& layout,
                            const Demonstrator& demonstrator, const std::string& setting) const;

  std::filesystem::path folder_;
  nlohmann::ordered_json head_;
  std::chrono::system_clock::time_point started_;
  std::string time_;
  std::map<std::string, Setting> settings_;
};

}  // namespace graft
