#include "cli/core/tune_report.h"

#include <ATen/Parallel.h>
#include <fmt/chrono.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/build.h"
#include "base/progress.h"
#include "cli/core/eval_slices.h"
#include "statistics/bootstrap.h"
#include "statistics/text_metric.h"
#include "train/flops.h"
#include "train/state.h"

namespace graft {
namespace {

void add_curves(ReportData& data, const TuneResult& run) {
  const std::vector<std::pair<std::string, std::string>> parts = {
      {"lm", "language modelling"}, {"unlikelihood", "unlikelihood"}, {"length_norm", "length-normalised"}};
  data.loss.push_back({"total", {}});
  for (const auto& [key, title] : parts) data.loss.push_back({title, {}});
  data.learning_rate.name = "learning rate";
  ReportCurve accuracy{"accuracy", {}};
  for (const auto& line : read_metrics(run.folder.path())) {
    const auto step = static_cast<double>(line.step);
    if (line.loss) data.loss[0].points.emplace_back(step, *line.loss);
    for (std::size_t p = 0; p < parts.size(); ++p) {
      if (const auto found = line.parts.find(parts[p].first); found != line.parts.end())
        data.loss[p + 1].points.emplace_back(step, found->second);
    }
    if (line.learning_rate) data.learning_rate.points.emplace_back(step, *line.learning_rate);
    if (const auto found = line.scores.find("accuracy"); found != line.scores.end())
      accuracy.points.emplace_back(step, found->second);
  }
  if (!accuracy.points.empty()) data.evaluations.push_back(accuracy);
}

void add_mistakes(ReportData& data, const TuneResult& run) {
  for (std::size_t i = 0; i < run.after->ranked.size(); ++i) {
    const auto& now = run.after->ranked[i];
    if (now.label < 0 || now.prediction == now.label) continue;
    const auto& example = run.job.held_out[i];
    const auto& then = run.before->ranked[i];
    data.mistakes.push_back({example.id, example.where, example.prompt, example.choices, now.probabilities,
                             then.probabilities, now.label, now.prediction, then.prediction});
  }
}

void add_cost(ReportData& data, const TuneResult& run) {
  data.cost.seconds = {{"load", run.job.load_seconds}, {"train", run.trained.seconds}};
  if (run.before) data.cost.seconds.insert(data.cost.seconds.begin() + 1, {"evaluate before", run.before->seconds});
  if (run.after) data.cost.seconds.emplace_back("evaluate after", run.after->seconds);
  data.cost.tokens = run.trained.tokens;
  if (run.trained.seconds > 0)
    data.cost.tokens_per_second = static_cast<double>(run.trained.tokens) / run.trained.seconds;
  data.cost.flops = run.trained.flops;
  data.cost.adapter_parameters = trainable_elements(run.adapter);
  data.cost.base_parameters = run.job.model->parameters().elements();
  const auto file = run.folder.adapter() / "adapter_model.safetensors";
  if (std::filesystem::exists(file))
    data.cost.adapter_bytes = static_cast<std::int64_t>(std::filesystem::file_size(file));
  data.cost.peak_memory_bytes = run.peak_memory;
}

void add_templates(ReportData& data, const TuneResult& run) {
  if (run.after->by_template.empty()) return;
  for (const auto& made : run.job.templates) {
    data.templates.push_back({made.name, run.before->by_template.at(made.name), run.after->by_template.at(made.name)});
  }
  data.templates_before = run.before->spread();
  data.templates_after = run.after->spread();
}

void add_tasks(ReportData& data, const TuneResult& run) {
  const auto before = accuracy_by_task(run.job, *run.before), after = accuracy_by_task(run.job, *run.after);
  for (const auto& [task, accuracy] : after) data.tasks.push_back({task, before.at(task), accuracy});
}

// The share of the labelled examples at these places that are right; nothing where there are none.
std::optional<double> accuracy_at(const std::vector<std::size_t>& places, const std::vector<RankedExample>& ranked) {
  std::int64_t labelled = 0, right = 0;
  for (const auto place : places) {
    const RankedExample& answer = ranked[place];
    labelled += answer.label >= 0;
    right += answer.label >= 0 && answer.label == answer.prediction;
  }
  if (labelled == 0) return std::nullopt;
  return static_cast<double>(right) / static_cast<double>(labelled);
}

// Of one task: those of a mixture have fields of their own.
void add_slices(ReportData& data, const TuneResult& run) {
  if (!run.job.parts.empty()) return;
  for (const auto& slice : slices_of(run.job.task.slices, run.job.held_out)) {
    const bool absent = slice.value.empty() && slice.others == 0 && slice.questions.size() == run.job.held_out.size();
    const auto before = accuracy_at(slice.questions, run.before->ranked);
    const auto after = accuracy_at(slice.questions, run.after->ranked);
    if (absent || !before || !after) continue;
    if (data.slices.empty() || data.slices.back().field != slice.field) data.slices.push_back({slice.field, {}});
    const auto count = static_cast<std::int64_t>(slice.questions.size());
    data.slices.back().values.push_back(
        {fmt::format("{} ({})", slice_name(slice.value, slice.others), grouped(count)), *before, *after});
  }
}

constexpr std::size_t kSamples = 20;

void add_texts(ReportData& data, const TuneResult& run) {
  for (const auto& metric : run.job.task.metrics)
    data.text_scores.push_back(
        {metric, text_metric(metric).unit, run.before->metric(metric), run.after->metric(metric)});
  data.prompts = static_cast<std::int64_t>(run.job.held_out.size());
  for (std::size_t i = 0; i < std::min(kSamples, run.job.held_out.size()); ++i) {
    const Example& example = run.job.held_out[i];
    data.samples.push_back(
        {example.where, example.prompt, example.references, run.before->outputs[i], run.after->outputs[i]});
  }
}

void add_comparison(ReportData& data, const TuneResult& run) {
  if (run.job.task.generates()) return add_texts(data, run);
  data.before = run.before->scores;
  data.after = run.after->scores;
  data.chance = run.after->chance();
  data.calibration_before = calibration_of(run.before->ranked);
  data.calibration_after = calibration_of(run.after->ranked);
  add_mistakes(data, run);
  add_templates(data, run);
  add_tasks(data, run);
  add_slices(data, run);
  const auto& ranked = run.after->ranked;
  if (std::any_of(ranked.begin(), ranked.end(), [](const RankedExample& example) { return example.label < 0; })) return;
  const std::vector<std::int64_t> truth(ranked.size(), 1);
  const auto paired = paired_bootstrap("accuracy", truth, run.before->right_answers(), run.after->right_answers(), 2);
  data.improvement = {{paired.difference, paired.interval.low, paired.interval.high}};
}

}  // namespace

// metrics.jsonl names the examples of every step, those before a stop too.
double trained_flops(const Job& job, const Adapter& adapter, const RunFolder& folder) {
  std::map<std::int64_t, double> by_example;
  double total = 0;
  for (const auto& line : read_metrics(folder.path())) {
    for (const auto index : line.examples) {
      const auto [found, fresh] = by_example.emplace(index, 0);
      if (fresh)
        found->second =
            training_flops(*job.model, adapter, tokens_of(job.train_tokens.at(static_cast<std::size_t>(index))));
      total += found->second;
    }
  }
  return total;
}

std::optional<double> answer_flops(const Job& job, const Adapter* adapter) {
  if (job.task.generates() || job.held_out.empty()) return std::nullopt;
  ExampleTokens mean, neutral;
  for (const auto& made : job.templates) {
    const double share = 1 / static_cast<double>(job.templates.size() * made.held_out.size());
    for (const auto& example : made.held_out) mean.add(tokens_of(example), share);
    for (const auto& example : made.neutral) neutral.add(tokens_of(example), share);
  }
  const double of_neutral = neutral.choices > 0 ? inference_flops(*job.model, adapter, neutral) : 0;
  return inference_flops(*job.model, adapter, mean) + of_neutral;
}

ReportData tune_report(const TuneResult& run, const std::string& next) {
  ReportData data;
  data.model = run.job.config.model.path;
  data.task = run.job.task.name;
  data.method = run.method;
  data.started = fmt::format("{:%F %H:%M} UTC", fmt::gmtime(run.started));
  data.version = build_version();
  data.steps = run.settings.steps;
  data.labels = run.job.labels;
  if (run.overlap) data.overlap = overlap_text(*run.overlap);
  if (run.after) add_comparison(data, run);
  add_curves(data, run);
  add_cost(data, run);
  data.config = write_run_config(run.job.config);
  data.reproducibility = {{"base weights", "sha256 " + base_hash(*run.job.model)},
                          {"kept as", run.job.model->parameters().storage()},
                          {"tokenizer", "sha256 " + run.job.tokenizer->hash()},
                          {"training data", "sha256 " + run.job.data_hash},
                          {"seed", std::to_string(run.settings.seed)},
                          {"threads", std::to_string(at::get_num_threads())}};
  data.commands = {{"Use it", next}};
  return data;
}

}  // namespace graft
