#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/progress.h"
#include "cli/core/columns.h"
#include "cli/core/comparison_costs.h"
#include "cli/core/comparison_run.h"
#include "cli/core/evaluation.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

std::optional<double> number_in(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
}

// Where each question reads all of its text itself, one number is both.
AnswerCost answer_cost(const nlohmann::json& summary, const char* phase) {
  AnswerCost cost;
  if (!summary.contains(phase) || !summary.at(phase).contains("cost")) return cost;
  const nlohmann::json& told = summary.at(phase).at("cost");
  const auto answers = number_in(told, "answers"), seconds = number_in(summary.at(phase), "seconds");
  if (answers && seconds && *answers > 0) cost.seconds = *seconds / *answers;
  cost.flops = number_in(told, "flops");
  cost.flops_alone = told.contains("flops_alone") ? number_in(told, "flops_alone") : cost.flops;
  return cost;
}

MeasuredRun measured_run(const PlannedRun& run) {
  MeasuredRun result;
  const nlohmann::json summary = read_summary(run.config.run.output);
  if (!summary.is_object()) return result;
  result.before = compared_score(summary, "before", run.metric);
  result.after = compared_score(summary, "after", run.metric);
  result.parameters = summary.value("trainable_parameters", std::int64_t{0});
  result.base_parameters = summary.value("base_parameters", std::int64_t{0});
  const auto steps = summary.value("steps", std::int64_t{0});
  if (steps > 0) result.step_seconds = summary.value("train_seconds", 0.0) / static_cast<double>(steps);
  result.train_seconds = number_in(summary, "train_seconds");
  result.train_flops = number_in(summary, "train_flops");
  result.asked_before = answer_cost(summary, "before");
  result.asked_after = answer_cost(summary, "after");
  if (summary.contains("in_context")) {
    result.dropped = summary.at("in_context").value("dropped_demonstrations", std::int64_t{0});
    result.lost_questions = summary.at("in_context").value("questions_that_lost_demonstrations", std::int64_t{0});
  }
  if (summary.contains("overlap")) {
    const nlohmann::json& overlap = summary.at("overlap");
    result.overlap = Overlap{overlap.at("ngram").get<std::size_t>(), overlap.at("held_out").get<std::int64_t>(),
                             overlap.at("shared").get<std::int64_t>()};
  }
  return result;
}

// "3", or "0 to 3".
std::string counts_text(std::vector<std::int64_t> counts) {
  std::sort(counts.begin(), counts.end());
  return counts.front() == counts.back() ? grouped(counts.front())
                                         : grouped(counts.front()) + " to " + grouped(counts.back());
}

template <typename Value>
std::vector<Value> distinct(const std::vector<PlannedRun>& plan, Value PlannedRun::*member) {
  std::vector<Value> values;
  for (const auto& run : plan) {
    if (std::find(values.begin(), values.end(), run.*member) == values.end()) values.push_back(run.*member);
  }
  return values;
}

// In the order of the plan.
std::vector<std::pair<std::string, std::int64_t>> variants_of(const std::vector<PlannedRun>& plan) {
  std::vector<std::pair<std::string, std::int64_t>> variants;
  for (const auto& run : plan) {
    const std::pair<std::string, std::int64_t> one{run.variant, run.shots};
    if (std::find(variants.begin(), variants.end(), one) == variants.end()) variants.push_back(one);
  }
  return variants;
}

class Collector {
 public:
  Collector(const std::vector<PlannedRun>& plan, const std::vector<MeasuredRun>& measured)
      : plan_(plan), measured_(measured) {}

  ComparedTask task(const std::string& name) const {
    ComparedTask result;
    std::string answered;  // the first variant whose base has: others ask it the same, by other passes
    std::vector<double> before;
    std::vector<Overlap> overlaps;
    for (std::size_t i = 0; i < plan_.size(); ++i) {
      if (plan_[i].task != name) continue;
      result = {name, plan_[i].metric, plan_[i].percent, std::nullopt};
      if (measured_[i].before && answered.empty()) answered = plan_[i].variant;
      if (measured_[i].before && answered == plan_[i].variant) before.push_back(*measured_[i].before);
      if (measured_[i].overlap) overlaps.push_back(*measured_[i].overlap);
    }
    result.overlap = overlap_over_runs(overlaps);
    if (!before.empty()) result.before = quartiles_of(before).value;
    return result;
  }

  ComparedVariant variant(const std::string& name, std::int64_t shots, const std::vector<ComparedTask>& tasks) const {
    ComparedVariant result;
    result.name = name;
    result.shots = shots;
    std::vector<double> seconds;
    for (const auto& task : tasks) {
      std::vector<double> scores;
      for (std::size_t i = 0; i < plan_.size(); ++i) {
        if (plan_[i].variant != name || plan_[i].shots != shots || plan_[i].task != task.name) continue;
        result.method = plan_[i].config.method.name;
        const MeasuredRun& found = measured_[i];
        if (!found.after) continue;
        scores.push_back(*found.after);
        seconds.push_back(found.step_seconds);
        result.parameters = found.parameters;
        if (found.base_parameters > 0)
          result.fraction = static_cast<double>(found.parameters) / static_cast<double>(found.base_parameters);
      }
      result.scores.push_back(scores.empty() ? std::nullopt : std::optional(quartiles_of(scores)));
    }
    if (!seconds.empty()) result.step_seconds = quartiles_of(seconds).value;
    result.mean = mean_of(result.scores, tasks);
    return result;
  }

 private:
  static std::optional<ReportScore> mean_of(const std::vector<std::optional<ReportScore>>& scores,
                                            const std::vector<ComparedTask>& tasks) {
    ReportScore mean;
    const auto count = static_cast<double>(scores.size());
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (!scores[i] || !tasks[i].percent) return std::nullopt;
      mean.value += scores[i]->value / count;
      mean.low += scores[i]->low / count;
      mean.high += scores[i]->high / count;
    }
    return mean;
  }

  const std::vector<PlannedRun>& plan_;
  const std::vector<MeasuredRun>& measured_;
};

}  // namespace

std::optional<double> compared_score(const nlohmann::json& summary, const char* phase, const std::string& metric) {
  if (!summary.contains(phase)) return std::nullopt;
  const nlohmann::json& scores = summary.at(phase);
  if (metric == "accuracy" && scores.contains("templates")) return scores.at("templates").at("median").get<double>();
  return scores.contains(metric) ? std::optional(scores.at(metric).get<double>()) : std::nullopt;
}

std::string overlap_over_runs(const std::vector<Overlap>& overlaps) {
  if (overlaps.empty()) return "";
  if (overlaps.size() == 1) return overlap_text(overlaps.front());
  std::vector<std::int64_t> shared, examples, orders;
  for (const auto& overlap : overlaps) {
    shared.push_back(overlap.shared);
    examples.push_back(overlap.examples);
    orders.push_back(static_cast<std::int64_t>(overlap.order));
  }
  const bool alike = std::count(orders.begin(), orders.end(), orders.front()) == std::ssize(orders);
  return fmt::format("{} of {} held-out examples share {} with the tuning examples of a run ({} runs)",
                     counts_text(shared), counts_text(examples),
                     alike ? one_gram(overlaps.front().order) : fmt::format("{} words in a row", counts_text(orders)),
                     overlaps.size());
}

std::vector<MeasuredRun> measured_runs(const std::vector<PlannedRun>& plan) {
  std::vector<MeasuredRun> measured;
  for (const auto& run : plan) measured.push_back(measured_run(run));
  return measured;
}

ComparisonReport compared(const std::vector<PlannedRun>& plan, const std::vector<MeasuredRun>& measured,
                          const std::map<std::string, std::string>& failures, const fs::path& home) {
  const Collector collector(plan, measured);
  ComparisonReport report;
  report.seeds = static_cast<std::int64_t>(distinct(plan, &PlannedRun::seed).size());
  report.shots_in_all =
      std::none_of(plan.begin(), plan.end(), [](const auto& run) { return run.config.data.balanced; });
  for (const auto& name : distinct(plan, &PlannedRun::task)) report.tasks.push_back(collector.task(name));
  for (const auto& [name, shots] : variants_of(plan))
    report.variants.push_back(collector.variant(name, shots, report.tasks));
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const PlannedRun& run = plan[i];
    ComparedRun row{run.task, run.variant, run.seed, measured[i].before, measured[i].after, "", "", run.shots};
    const fs::path page = fs::path(run.config.run.output) / "report.html";
    if (fs::exists(page)) row.report = page.lexically_relative(home).string();
    if (const auto failed = failures.find(run.config.run.output); failed != failures.end()) row.note = failed->second;
    report.runs.push_back(row);
  }
  report.costs = compared_costs(plan, measured);
  return report;
}

std::string comparison_csv(const std::vector<PlannedRun>& plan, const std::vector<MeasuredRun>& measured) {
  std::string text = csv_line({"task", "variant", "method", "shots", "seed", "metric", "before", "after",
                               "trained_parameters", "step_seconds", "train_seconds", "train_flops",
                               "seconds_a_question", "flops_a_question", "flops_a_question_alone", "folder"});
  const auto value = [](const std::optional<double>& score) { return score ? fmt::format("{}", *score) : ""; };
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const PlannedRun& run = plan[i];
    text += csv_line({run.task, run.variant, run.config.method.name, std::to_string(run.config.data.shots),
                      std::to_string(run.seed), run.metric, value(measured[i].before), value(measured[i].after),
                      std::to_string(measured[i].parameters), fmt::format("{}", measured[i].step_seconds),
                      value(measured[i].train_seconds), value(measured[i].train_flops),
                      value(measured[i].asked_after.seconds), value(measured[i].asked_after.flops),
                      value(measured[i].asked_after.flops_alone), run.config.run.output});
  }
  return text;
}

}  // namespace graft
