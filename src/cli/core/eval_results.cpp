#include "cli/core/eval_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/hash.h"
#include "base/progress.h"
#include "cli/core/columns.h"
#include "cli/core/evaluation.h"
#include "report/markup.h"
#include "statistics/bootstrap.h"
#include "statistics/metrics.h"
#include "statistics/proportion.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

std::int64_t sum_of(const std::vector<std::int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

std::int64_t above_zero(const std::vector<std::int64_t>& values) {
  return std::count_if(values.begin(), values.end(), [](std::int64_t value) { return value > 0; });
}

template <typename Value>
double mean_over(const std::vector<EvalPass>& passes, Value value) {
  double sum = 0;
  for (const auto& pass : passes) sum += value(pass);
  return sum / static_cast<double>(passes.size());
}

std::vector<std::int64_t> predictions_of(const EvalPass& pass) {
  std::vector<std::int64_t> predictions;
  for (const auto& example : pass.ranked) predictions.push_back(example.prediction);
  return predictions;
}

class Scorer {
 public:
  explicit Scorer(const EvalData& data) : data_(data), classes_(data.task.labels.size()) {
    for (const auto& example : data.questions.front()) {
      truth_.push_back(example.label);
      chance_ += 1 / (static_cast<double>(example.choices.size()) * static_cast<double>(data.count()));
    }
    for (const auto& questions : data.questions)
      for (const auto& example : questions) classes_ = std::max(classes_, example.choices.size());
  }

  double chance() const { return chance_; }

  EvaluatedRow row(const EvalRow& given) const {
    EvaluatedRow row;
    row.name = given.name;
    row.shots = given.shots;
    row.adapted = given.adapter != nullptr;
    const Answers answers = answers_of(given);
    row.accuracy = score("accuracy", answers.runs);
    const Interval interval = wilson(row.accuracy.value, data_.count());
    row.wilson_low = interval.low;
    row.wilson_high = interval.high;
    for (std::size_t m = 1; m < data_.metrics.size(); ++m) row.metrics.push_back(score(data_.metrics[m], answers.runs));
    row.runs = static_cast<std::int64_t>(given.passes.size());
    if (row.runs > 1) row.spread = quartiles_of(accuracies(answers.runs));
    const auto count = static_cast<double>(data_.count());
    row.seconds = mean_over(given.passes, [&](const EvalPass& pass) { return pass.seconds / count; });
    row.flops_alone = mean_over(given.passes, [](const EvalPass& pass) { return pass.flops_alone; });
    row.flops_shared = mean_over(given.passes, [](const EvalPass& pass) { return pass.flops_shared; });
    row.prompt_tokens = mean_over(given.passes, [](const EvalPass& pass) { return pass.prompt_tokens; });
    for (const auto& pass : given.passes) {
      row.dropped += sum_of(pass.dropped);
      row.cut += above_zero(pass.cut);
    }
    return row;
  }

  EvaluatedDifference difference(const EvalRow& base, const EvalRow& row) const {
    const Answers first = answers_of(base), second = answers_of(row);
    const auto paired = paired_bootstrap_runs("accuracy", truth_, first.runs, second.runs, classes_);
    const McNemar test = mcnemar(right(first.runs.front()), right(second.runs.front()));
    return {{paired.difference, paired.interval.low, paired.interval.high},
            paired.p_value,
            test.p_value,
            test.only_first,
            test.only_second};
  }

 private:
  // `runs` are views of `lists`.
  struct Answers {
    std::vector<std::vector<std::int64_t>> lists;
    Runs runs;
  };

  static Answers answers_of(const EvalRow& row) {
    Answers answers;
    for (const auto& pass : row.passes) answers.lists.push_back(predictions_of(pass));
    for (const auto& list : answers.lists) answers.runs.emplace_back(list);
    return answers;
  }

  double value(const std::string& metric, std::span<const std::int64_t> predicted) const {
    return metric_value(metric, confusion_matrix(truth_, predicted, classes_));
  }

  ReportScore score(const std::string& metric, const Runs& runs) const {
    double mean = 0;
    for (const auto& predicted : runs) mean += value(metric, predicted) / static_cast<double>(runs.size());
    const Interval interval = bootstrap_runs(metric, truth_, runs, classes_);
    return {std::min(mean, 1.0), interval.low, interval.high};  // a sum of thirds may be a bit above 1
  }

  std::vector<double> accuracies(const Runs& runs) const {
    std::vector<double> values;
    for (const auto& predicted : runs) values.push_back(value("accuracy", predicted));
    return values;
  }

  std::vector<std::uint8_t> right(std::span<const std::int64_t> predicted) const {
    std::vector<std::uint8_t> result;
    for (std::size_t i = 0; i < truth_.size(); ++i) result.push_back(predicted[i] == truth_[i] ? 1 : 0);
    return result;
  }

  const EvalData& data_;
  std::vector<std::int64_t> truth_;
  std::size_t classes_;
  double chance_ = 0;
};

// "3 seeds", "2 templates", "3 seeds × 2 templates"
std::string runs_text(const EvalData& data, const std::vector<EvalRow>& rows) {
  std::size_t most = 0;
  for (const auto& row : rows) most = std::max(most, row.passes.size());
  const std::size_t templates = data.templates.size(), seeds = most / templates;
  std::string text = seeds > 1 ? fmt::format("{} seeds", seeds) : "";
  if (templates > 1) text += fmt::format("{}{} templates", text.empty() ? "" : " × ", templates);
  return text;
}

Json score_json(const ReportScore& score) {
  return {{"value", score.value}, {"bootstrap_95", {score.low, score.high}}};
}

Json pass_json(const EvalPass& pass) {
  const auto right = std::count_if(pass.ranked.begin(), pass.ranked.end(),
                                   [](const RankedExample& example) { return example.prediction == example.label; });
  Json json = {{"seed", pass.seed},
               {"template", pass.template_name},
               {"accuracy", static_cast<double>(right) / static_cast<double>(pass.ranked.size())},
               {"dropped_demonstrations", sum_of(pass.dropped)},
               {"questions_that_lost_demonstrations", above_zero(pass.dropped)},
               {"cut_prompts", above_zero(pass.cut)},
               {"seconds", pass.seconds}};
  if (!pass.demonstrations.empty()) json["demonstrations"] = pass.demonstrations;
  return json;
}

Json adapter_json(const EvalData& data, const EvalAdapter* adapter) {
  if (adapter == nullptr) return nullptr;
  Json json = {{"path", adapter->path}, {"method", adapter->loaded.method}, {"sha256", adapter->hash}};
  const auto& manifest = adapter->loaded.manifest;
  if (manifest.is_object() && manifest.contains("data_hash")) {
    json["trained_on"] = manifest.at("data_hash");
    json["trained_on_the_candidates"] = manifest.at("data_hash") == data.candidates_hash;
  }
  return json;
}

Json difference_json(const EvaluatedDifference& difference) {
  return {{"accuracy", difference.accuracy.value},
          {"bootstrap_95", {difference.accuracy.low, difference.accuracy.high}},
          {"bootstrap_p", difference.bootstrap_p},
          {"mcnemar_first_runs",
           {{"only_base", difference.only_base}, {"only_this", difference.only_this}, {"p", difference.mcnemar_p}}}};
}

Json row_json(const EvalData& data, const EvalRow& row, const EvaluatedRow& scores) {
  Json json = {{"setting", row.name}, {"shots", row.shots}, {"adapter", adapter_json(data, row.adapter)}};
  json["accuracy"] = score_json(scores.accuracy);
  json["accuracy"]["wilson_95"] = {scores.wilson_low, scores.wilson_high};
  for (std::size_t m = 1; m < data.metrics.size(); ++m) json[data.metrics[m]] = score_json(scores.metrics[m - 1]);
  if (scores.spread)
    json["accuracy_over_runs"] = {{"median", scores.spread->value},
                                  {"first_quartile", scores.spread->low},
                                  {"third_quartile", scores.spread->high}};
  json["against_first"] = scores.difference ? difference_json(*scores.difference) : Json();
  json["prompt_tokens"] = scores.prompt_tokens;
  json["seconds_per_question"] = scores.seconds;
  json["flops_per_question"] = scores.flops_shared;
  json["flops_per_question_alone"] = scores.flops_alone;
  for (const auto& pass : row.passes) json["runs"].push_back(pass_json(pass));
  return json;
}

std::string range_text(double low, double high) {
  return fmt::format("{:.1f}–{:.1f}", 100 * low, 100 * high);
}

std::vector<std::string> cells_of(const EvaluatedTask& task, const EvaluatedRow& row) {
  std::vector<std::string> cells = {row.name, percent(row.accuracy.value), range_text(row.wilson_low, row.wilson_high),
                                    range_text(row.accuracy.low, row.accuracy.high)};
  for (const auto& metric : row.metrics) cells.push_back(percent_with_interval(metric));
  if (!task.runs.empty()) cells.push_back(row.spread ? percent_with_interval(*row.spread) : "-");
  const auto& difference = row.difference;
  cells.push_back(difference ? points_text(difference->accuracy) : "-");
  cells.push_back(difference ? p_value_text(difference->bootstrap_p) : "-");
  cells.push_back(difference ? p_value_text(difference->mcnemar_p) : "-");
  cells.push_back(number(row.seconds));
  cells.push_back(si(row.flops_shared));
  cells.push_back(si(row.flops_alone));
  return cells;
}

}  // namespace

EvaluatedTask evaluated(const EvalData& data, const std::vector<EvalRow>& rows) {
  const Scorer scorer(data);
  EvaluatedTask task;
  task.name = data.task.name;
  task.examples = data.count();
  task.chance = scorer.chance();
  task.runs = runs_text(data, rows);
  task.metrics.assign(data.metrics.begin() + 1, data.metrics.end());
  task.notes = data.notes;
  for (const auto& row : rows) {
    task.rows.push_back(scorer.row(row));
    if (&row != &rows.front()) task.rows.back().difference = scorer.difference(rows.front(), row);
  }
  return task;
}

Json results_of(const EvalData& data, const std::vector<EvalRow>& rows, const EvaluatedTask& scores) {
  std::vector<std::string> templates;
  for (const auto index : data.templates) templates.push_back(data.task.templates[index].name);
  Json json = {{"task", data.task.name},
               {"task_sha256", sha256(data.task.text)},
               {"data", data.path},
               {"questions_sha256", data.questions_hash},
               {"candidates_sha256", data.candidates_hash},
               {"questions", data.count()},
               {"candidates", data.candidates.size()},
               {"templates", templates},
               {"normalisation", data.task.normalisation},
               {"chance", scores.chance},
               {"notes", data.notes},
               {"rows", Json::array()}};
  for (std::size_t r = 0; r < rows.size(); ++r) json["rows"].push_back(row_json(data, rows[r], scores.rows[r]));
  return json;
}

std::string prediction_lines(const EvalData& data, const std::vector<EvalRow>& rows) {
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t p = 0; p < row.passes.size(); ++p) {
      const EvalPass& pass = row.passes[p];
      const auto& questions = data.questions[p / (row.passes.size() / data.templates.size())];
      for (std::size_t q = 0; q < questions.size(); ++q) {
        const RankedExample& answer = pass.ranked[q];
        const Json line = {{"task", data.task.name},    {"setting", row.name},
                           {"seed", pass.seed},         {"template", pass.template_name},
                           {"id", questions[q].id},     {"where", questions[q].where},
                           {"truth", answer.label},     {"prediction", answer.prediction},
                           {"scores", answer.scores},   {"probabilities", answer.probabilities},
                           {"dropped", pass.dropped[q]}};
        text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
      }
    }
  }
  return text;
}

void print_evaluated(const EvaluatedTask& task) {
  fmt::print("{}: {} questions, {} by chance\n", task.name, grouped(task.examples), percent(task.chance));
  std::vector<std::vector<std::string>> lines = {{"setting", "accuracy", "Wilson 95%", "bootstrap 95%"}};
  for (const auto& metric : task.metrics) lines[0].push_back(metric);
  if (!task.runs.empty()) lines[0].push_back("median (quartiles) over " + task.runs);
  for (const char* name : {"difference (95%)", "p", "McNemar p", "seconds", "FLOPs", "alone"})
    lines[0].emplace_back(name);
  for (const auto& row : task.rows) lines.push_back(cells_of(task, row));
  print_columns(lines);
  for (const auto& row : task.rows) {
    if (row.dropped > 0)
      fmt::print("{}: {} demonstrations did not fit the context and were left out\n", row.name, grouped(row.dropped));
    if (row.cut > 0)
      fmt::print("{}: {} prompts alone are too long and lost their beginning\n", row.name, grouped(row.cut));
  }
  fmt::print("\n");
}

}  // namespace graft
