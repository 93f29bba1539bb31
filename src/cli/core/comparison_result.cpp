#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/core/columns.h"
#include "cli/core/comparison_run.h"
#include "cli/core/job.h"
#include "statistics/bootstrap.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

// What a finished run measured.
struct Measured {
  std::optional<double> before, after;
  std::int64_t parameters = 0, base_parameters = 0;
  double step_seconds = 0;
};

// The median over all templates where there are several, as the T-Few paper reports it.
std::optional<double> score_in(const nlohmann::json& summary, const char* phase, const std::string& metric) {
  if (!summary.contains(phase)) return std::nullopt;
  const nlohmann::json& scores = summary.at(phase);
  if (metric == "accuracy" && scores.contains("templates")) return scores.at("templates").at("median").get<double>();
  return scores.contains(metric) ? std::optional(scores.at(metric).get<double>()) : std::nullopt;
}

Measured measured(const PlannedRun& run, const std::string& metric) {
  const fs::path folder = run.config.run.output;
  Measured result;
  if (!fs::exists(folder / "summary.json")) return result;
  const nlohmann::json summary = read_summary(folder);
  if (!summary.is_object()) return result;
  result.before = score_in(summary, "before", metric);
  result.after = score_in(summary, "after", metric);
  result.parameters = summary.value("trainable_parameters", std::int64_t{0});
  result.base_parameters = summary.value("base_parameters", std::int64_t{0});
  const auto steps = summary.value("steps", std::int64_t{0});
  if (steps > 0) result.step_seconds = summary.value("train_seconds", 0.0) / static_cast<double>(steps);
  return result;
}

double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return quantile(values, 0.5);
}

ReportScore spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75)};
}

template <typename Key>
std::vector<std::string> in_order(const std::vector<PlannedRun>& plan, Key key) {
  std::vector<std::string> names;
  for (const auto& run : plan) {
    if (std::find(names.begin(), names.end(), run.*key) == names.end()) names.push_back(run.*key);
  }
  return names;
}

class Collector {
 public:
  Collector(const std::vector<PlannedRun>& plan, const std::map<std::string, std::string>& failures, fs::path home)
      : plan_(plan), failures_(failures), home_(std::move(home)) {}

  ComparisonReport collect() {
    for (const auto& name : in_order(plan_, &PlannedRun::task)) report_.tasks.push_back(task(name));
    for (const auto& run : plan_) add_run(run);
    for (const auto& name : in_order(plan_, &PlannedRun::variant)) report_.variants.push_back(variant(name));
    report_.seeds = static_cast<std::int64_t>(seeds_.size());
    return std::move(report_);
  }

 private:
  ComparedTask task(const std::string& name) const {
    const auto first = std::find_if(plan_.begin(), plan_.end(), [&](const auto& run) { return run.task == name; });
    const Task task = task_of(first->config);
    ComparedTask result{name, task.metrics.front(), !task.generates(), std::nullopt};
    std::vector<double> before;
    for (const auto& run : plan_) {
      if (run.task != name) continue;
      if (const auto score = measured(run, result.metric).before) before.push_back(*score);
    }
    if (!before.empty()) result.before = middle(before);
    return result;
  }

  std::size_t task_index(const PlannedRun& run) const {
    const auto found = std::find_if(report_.tasks.begin(), report_.tasks.end(),
                                    [&](const ComparedTask& task) { return task.name == run.task; });
    return static_cast<std::size_t>(found - report_.tasks.begin());
  }

  void add_run(const PlannedRun& run) {
    if (std::find(seeds_.begin(), seeds_.end(), run.seed) == seeds_.end()) seeds_.push_back(run.seed);
    const fs::path folder = run.config.run.output;
    const Measured scores = measured(run, report_.tasks[task_index(run)].metric);
    ComparedRun row{run.task, run.variant, run.seed, scores.before, scores.after, "", ""};
    if (fs::exists(folder / "report.html")) row.report = (folder / "report.html").lexically_relative(home_).string();
    if (const auto failed = failures_.find(run.config.run.output); failed != failures_.end()) row.note = failed->second;
    report_.runs.push_back(row);
  }

  ComparedVariant variant(const std::string& name) const {
    ComparedVariant result;
    result.name = name;
    std::vector<std::vector<double>> scores(report_.tasks.size());
    std::vector<double> seconds;
    for (const auto& run : plan_) {
      if (run.variant != name) continue;
      result.method = run.config.method.name;
      const std::size_t index = task_index(run);
      const Measured found = measured(run, report_.tasks[index].metric);
      if (!found.after) continue;
      scores[index].push_back(*found.after);
      seconds.push_back(found.step_seconds);
      result.parameters = found.parameters;
      if (found.base_parameters > 0)
        result.fraction = static_cast<double>(found.parameters) / static_cast<double>(found.base_parameters);
    }
    if (!seconds.empty()) result.step_seconds = middle(seconds);
    for (const auto& values : scores)
      result.scores.push_back(values.empty() ? std::nullopt : std::optional(spread_of(values)));
    result.mean = mean_of(result.scores);
    return result;
  }

  std::optional<ReportScore> mean_of(const std::vector<std::optional<ReportScore>>& scores) const {
    ReportScore sum;
    const auto count = static_cast<double>(scores.size());
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (!scores[i] || !report_.tasks[i].percent) return std::nullopt;
      sum.value += scores[i]->value / count;
      sum.low += scores[i]->low / count;
      sum.high += scores[i]->high / count;
    }
    return sum;
  }

  const std::vector<PlannedRun>& plan_;
  const std::map<std::string, std::string>& failures_;
  fs::path home_;
  std::vector<std::int64_t> seeds_;
  ComparisonReport report_;
};

}  // namespace

ComparisonReport compared(const std::vector<PlannedRun>& plan, const std::map<std::string, std::string>& failures,
                          const fs::path& home) {
  return Collector(plan, failures, home).collect();
}

std::string comparison_csv(const std::vector<PlannedRun>& plan) {
  std::string text = csv_line({"task", "variant", "method", "seed", "metric", "before", "after", "trained_parameters",
                               "step_seconds", "folder"});
  const auto value = [](const std::optional<double>& score) { return score ? fmt::format("{}", *score) : ""; };
  for (const auto& run : plan) {
    const std::string metric = task_of(run.config).metrics.front();
    const Measured found = measured(run, metric);
    text += csv_line({run.task, run.variant, run.config.method.name, std::to_string(run.seed), metric,
                      value(found.before), value(found.after), std::to_string(found.parameters),
                      fmt::format("{}", found.step_seconds), run.config.run.output});
  }
  return text;
}

}  // namespace graft
