#include "cli/core/in_context_run.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "adapters/core/options.h"
#include "base/build.h"
#include "base/error.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "cli/core/eval_record.h"
#include "cli/core/eval_statistics.h"
#include "cli/core/evaluation.h"
#include "cli/core/overlaps.h"
#include "cli/core/tune_run.h"
#include "report/evaluation.h"
#include "report/run_folder.h"

namespace graft {
namespace {

double right_share(const EvalPass& pass) {
  const auto right = std::count_if(pass.ranked.begin(), pass.ranked.end(),
                                   [](const RankedExample& answer) { return answer.prediction == answer.label; });
  return static_cast<double>(right) / static_cast<double>(pass.ranked.size());
}

// As a tuning run tells it: the accuracy of the first template, and that of all of them beside it.
nlohmann::json phase_json(const EvalData& data, const EvalRow& row, const EvaluatedRow& scores) {
  nlohmann::json phase = nlohmann::json::object();
  for (std::size_t m = 1; m < data.metrics.size(); ++m) phase[data.metrics[m]] = scores.metrics[m - 1].value;
  if (!data.task.generates()) phase["accuracy"] = right_share(row.passes.front());
  if (scores.calibration) {
    phase["expected_calibration_error"] = scores.calibration->error;
    phase["brier_score"] = scores.calibration->brier;
  }
  double seconds = 0;
  std::map<std::string, double> by_template;
  for (const auto& pass : row.passes) {
    seconds += pass.seconds;
    by_template[pass.template_name] = right_share(pass);
  }
  phase["seconds"] = seconds;
  phase["cost"] = {{"answers", static_cast<std::int64_t>(row.passes.size()) * data.count()},
                   {"flops", scores.flops_shared},
                   {"flops_alone", scores.flops_alone}};
  if (!scores.spread || data.task.generates()) return phase;
  phase["templates"] = {{"median", scores.spread->value},
                        {"first_quartile", scores.spread->low},
                        {"third_quartile", scores.spread->high},
                        {"accuracy", by_template}};
  return phase;
}

Prediction in_context_prediction(const EvalData& data, const EvalPass& pass, std::size_t q) {
  std::vector<std::size_t> slices(data.task.slices.size());
  std::iota(slices.begin(), slices.end(), 0);
  Prediction prediction = asked_question(data.questions[pass.place][q], data.task, slices);
  if (!data.task.generates()) {
    set_answer(pass.ranked[q], prediction);
  } else if (data.writes) {
    prediction.output = pass.outputs[q];
    prediction.written = pass.texts[q];
  }
  return prediction;
}

// Those of the first template, as a tuning run has them.
std::vector<Prediction> first_predictions(const EvalData& data, const EvalRow& row) {
  std::vector<Prediction> predictions;
  for (std::size_t q = 0; q < row.passes.front().ranked.size(); ++q)
    predictions.push_back(in_context_prediction(data, row.passes.front(), q));
  return predictions;
}

void tell_notes(const EvalData& data) {
  for (const auto& note : data.notes)
    std::fprintf(stderr, "graft: note: %s: %s\n", data.task.name.c_str(), note.c_str());
}

[[noreturn]] void refuse_other_ground(const std::string& folder, const char* what) {
  fail(Category::InvalidArgument, folder,
       "holds a run {} (summary.json): the model, the data or the task has changed since; choose another --output",
       what);
}

}  // namespace

bool is_in_context(const RunConfig& config) {
  return config.method.name == kInContext;
}

EvalSettings in_context_settings(const RunConfig& config) {
  const adapters::Options options(kInContext, method_options(config), {"shots"});
  if (!config.method.start_from.empty())
    fail(Category::InvalidArgument, "method.start_from", "{} trains nothing and begins from no adapter; leave it out",
         kInContext);
  EvalSettings settings;
  settings.training_rows = true;
  if (const std::int64_t shots = options.integer("shots", 0, 0); shots > 0) settings.shots.push_back(shots);
  const Task task = task_of(config);
  if (task.rolls())
    fail(Category::InvalidArgument, "task " + task.name,
         "has running text, which is read alone; graft eval tells its perplexity");
  settings.layout = task_layout(task);
  return settings;
}

InContextRun::InContextRun(const RunConfig& config, const Base& base)
    : config_(config),
      base_(base),
      settings_(in_context_settings(config)),
      data_(open_eval_data(config_, settings_, *base.tokenizer)) {}

nlohmann::json InContextRun::asked(const ModelHashes& hashes) const {
  return {{"weights", hashes.weights},
          {"settings", hashes.settings},
          {"candidates", data_.candidates_hash},
          {"questions", data_.questions_hash}};
}

void InContextRun::refuse_changed(const ModelHashes& hashes) const {
  const nlohmann::json summary = read_summary(config_.run.output);
  const nlohmann::json then = summary.is_object() ? summary.value("asked", nlohmann::json::object()) : summary;
  const nlohmann::json now = asked(hashes);
  const auto changed = [&](const char* key) {
    return !then.is_object() || then.value(key, "") != now.at(key).get<std::string>();
  };
  if (changed("weights") || changed("settings"))
    refuse_other_ground(config_.run.output, "that began with another base model");
  if (changed("candidates")) refuse_other_ground(config_.run.output, "with other rows to demonstrate");
  if (changed("questions")) refuse_other_ground(config_.run.output, "that was scored on other held-out examples");
}

std::vector<EvalRow> InContextRun::rows(EvalScorer& scorer) const {
  return evaluate_rows(data_, settings_, config_, {&scorer});
}

nlohmann::json InContextRun::summary(const std::vector<EvalRow>& rows, const EvaluatedTask& scores,
                                     const ModelHashes& hashes) const {
  const EvalPass& shown = rows.back().passes.front();
  const EvalPass::Losses losses = shown.losses();
  nlohmann::json result = {{"graft", GRAFT_VERSION},
                           {"commit", build_commit()},
                           {"steps", 0},
                           {"train_seconds", 0.0},
                           {"train_flops", 0.0},
                           {"load_seconds", base_.load_seconds},
                           {"trainable_parameters", 0},
                           {"base_parameters", base_.model->parameters().elements()},
                           {"base_weights", base_.model->parameters().storage()},
                           {"base_bytes", base_.model->parameters().bytes()},
                           {"device", base_.model->device().str()},
                           {"peak_memory_bytes", peak_memory()},
                           {"before", phase_json(data_, rows.front(), scores.rows.front())},
                           {"after", phase_json(data_, rows.back(), scores.rows.back())},
                           {"asked", asked(hashes)}};
  result["in_context"] = {{"shots", rows.back().shots},
                          {"demonstrations", shown.demonstrations},
                          {"dropped_demonstrations", losses.demonstrations},
                          {"questions_that_lost_demonstrations", losses.questions},
                          {"cut_prompts", losses.prompts}};
  if (rows.back().shots > 0 && !data_.overlaps.empty()) {
    const Overlap& overlap = data_.overlaps.front().overlap;
    result["overlap"] = {{"ngram", overlap.order}, {"held_out", overlap.examples}, {"shared", overlap.shared}};
  }
  return result;
}

EvaluationReport InContextRun::report(const EvaluatedTask& scores, const ModelHashes& hashes,
                                      const std::string& started) const {
  EvaluationReport report;
  report.model = config_.model.path;
  report.started = started;
  report.version = build_version();
  report.tasks = {scores};
  report.reproducibility = model_lines(model_json(config_.model.path, base_, hashes));
  report.reproducibility.emplace_back("settings", json_text(settings_json(settings_, config_)));
  return report;
}

void InContextRun::finish(EvalScorer& scorer, const ModelHashes& hashes) {
  const std::time_t now = std::time(nullptr);
  RunFolder folder = open_run_folder(config_);
  tell_notes(data_);
  note_overlaps(data_, {});
  const std::vector<EvalRow> answered = rows(scorer);
  const EvaluatedTask scores = evaluated(data_, answered);
  folder.write_predictions("before", first_predictions(data_, answered.front()));
  folder.write_predictions("after", first_predictions(data_, answered.back()));
  folder.write_summary(summary(answered, scores, hashes));
  const EvaluationReport page = report(scores, hashes, fmt::format("{:%F %H:%M} UTC", fmt::gmtime(now)));
  folder.write_report(render_evaluation(page));
  record_evaluation(folder.path(), now, page);
}

}  // namespace graft
