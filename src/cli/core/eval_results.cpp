#include "cli/core/eval_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "cli/core/columns.h"
#include "cli/core/eval_slices.h"
#include "cli/core/evaluation.h"
#include "report/markup.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

Json score_json(const ReportScore& score) {
  return {{"value", score.value}, {"bootstrap_95", {score.low, score.high}}};
}

Json spread_json(const ReportScore& spread) {
  return {{"median", spread.value}, {"first_quartile", spread.low}, {"third_quartile", spread.high}};
}

Json orders_json(const ReportScore& orders) {
  return {{"median", orders.value}, {"lowest", orders.low}, {"highest", orders.high}};
}

// The metric at a place of EvaluatedTask::metrics.
Json metric_json(const EvaluatedRow& scores, std::size_t place) {
  Json json = score_json(scores.metrics[place]);
  const EvaluatedMetric& further = scores.further[place];
  if (further.spread) json["over_runs"] = spread_json(*further.spread);
  if (further.orders) json["over_orders"] = orders_json(*further.orders);
  if (!further.difference) return json;
  const ReportScore& difference = further.difference->score;
  json["against_first"] = {{"difference", difference.value},
                           {"bootstrap_95", {difference.low, difference.high}},
                           {"bootstrap_p", further.difference->bootstrap_p}};
  return json;
}

Json pass_json(const EvalPass& pass, bool graded) {
  const auto right = std::count_if(pass.ranked.begin(), pass.ranked.end(),
                                   [](const RankedExample& example) { return example.prediction == example.label; });
  const EvalPass::Losses losses = pass.losses();
  Json json = {{"seed", pass.seed},
               {"template", pass.template_name},
               {"order", pass.order},
               {"dropped_demonstrations", losses.demonstrations},
               {"questions_that_lost_demonstrations", losses.questions},
               {"cut_prompts", losses.prompts},
               {"seconds", pass.seconds}};
  if (graded) json["accuracy"] = static_cast<double>(right) / static_cast<double>(pass.ranked.size());
  if (!pass.demonstrations.empty()) json["demonstrations"] = pass.demonstrations;
  if (!pass.texts.empty()) json["texts"] = {{"stop", pass.stop}, {"max_new_tokens", pass.max_new_tokens}};
  return json;
}

Json adapter_json(const EvalData& data, const EvalAdapter* adapter) {
  if (adapter == nullptr) return nullptr;
  Json json = {
      {"name", adapter->name}, {"path", adapter->path}, {"method", adapter->loaded.method}, {"sha256", adapter->hash}};
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

Json calibration_json(const ReportCalibration& calibration) {
  Json json = {
      {"expected_calibration_error", calibration.error}, {"brier_score", calibration.brier}, {"bins", Json::array()}};
  for (const auto& bin : calibration.bins)
    json["bins"].push_back({{"answers", bin.count}, {"confidence", bin.confidence}, {"accuracy", bin.accuracy}});
  return json;
}

Json text_difference_json(const std::string& metric, const EvaluatedTextDifference& difference) {
  return {{"metric", metric},
          {"difference", difference.score.value},
          {"bootstrap_95", {difference.score.low, difference.score.high}},
          {"bootstrap_p", difference.bootstrap_p}};
}

Json row_json(const EvalData& data, const EvalRow& row, const EvaluatedRow& scores, const std::string& text_metric) {
  Json json = {{"setting", row.name},
               {"shots", row.shots},
               {"calibrated", row.calibrated},
               {"adapter", adapter_json(data, row.adapter)}};
  const bool graded = !data.task.rolls();
  if (graded) {
    json["accuracy"] = score_json(scores.accuracy);
    json["accuracy"]["wilson_95"] = {scores.wilson_low, scores.wilson_high};
  }
  for (std::size_t m = 1; m < data.metrics.size(); ++m) json[data.metrics[m]] = metric_json(scores, m - 1);
  std::size_t judged = data.metrics.size() - 1;  // their places are behind those of the metrics
  for (const auto& entry : row.passes.front().judged) json["scorer"][entry.first] = metric_json(scores, judged++);
  if (scores.spread) json["accuracy_over_runs"] = spread_json(*scores.spread);
  if (scores.text_spread) json["texts_over_runs"] = spread_json(*scores.text_spread);
  if (scores.orders) json["accuracy_over_orders"] = orders_json(*scores.orders);
  if (scores.calibration) json["calibration"] = calibration_json(*scores.calibration);
  json["against_first"] = scores.difference ? difference_json(*scores.difference) : Json();
  if (scores.text_difference) json["texts_against_first"] = text_difference_json(text_metric, *scores.text_difference);
  json["prompt_tokens"] = scores.prompt_tokens;
  json["seconds_per_question"] = scores.seconds;
  json["flops_per_question"] = scores.flops_shared;
  json["flops_per_question_alone"] = scores.flops_alone;
  for (const auto& pass : row.passes) json["runs"].push_back(pass_json(pass, graded));
  return json;
}

Json prediction_json(const EvalData& data, const EvalRow& row, const EvalPass& pass, const Example& question,
                     std::size_t q) {
  const RankedExample& answer = pass.ranked[q];
  Json json = {{"task", data.task.name},         {"setting", row.name}, {"seed", pass.seed},
               {"template", pass.template_name}, {"order", pass.order}, {"id", question.id},
               {"where", question.where}};
  if (!data.task.has_choices()) {
    if (data.task.generates()) json["right"] = answer.prediction == answer.label;
    json["log_probability"] = answer.scores.front();
    json["reference_tokens"] = pass.reference_tokens[q];
    json["reference_bytes"] = question.choices.front().size();
    if (!pass.texts.empty()) {
      json["written"] = pass.texts[q];
      json["output"] = pass.outputs[q];
      json["references"] = data.references(pass.place, q);
      if (!question.false_references.empty()) json["false_references"] = question.false_references;
    }
    for (const auto& [name, numbers] : pass.judged) json["scorer"][name] = numbers[q];
  } else {
    json["truth"] = answer.label;
    json["prediction"] = answer.prediction;
    json["scores"] = answer.scores;
    json["probabilities"] = answer.probabilities;
    if (!answer.truths.empty()) json["truths"] = answer.truths;
    if (!question.group.empty()) json["group"] = question.group;
  }
  json["dropped"] = pass.dropped[q];
  for (std::size_t f = 0; f < data.task.slices.size(); ++f) json["slices"][data.task.slices[f]] = question.slices[f];
  return json;
}

// The perplexity of a word may be above all numbers (of a text without spaces); JSON has null for that.
double number_of(const nlohmann::json& value) {
  return value.is_null() ? std::numeric_limits<double>::infinity() : value.get<double>();
}

ReportScore score_of(const nlohmann::json& score) {
  const auto& interval = score.at("bootstrap_95");
  return {number_of(score.at("value")), number_of(interval.at(0)), number_of(interval.at(1))};
}

ReportScore spread_of(const nlohmann::json& spread) {
  return {number_of(spread.at("median")), number_of(spread.at("first_quartile")),
          number_of(spread.at("third_quartile"))};
}

ReportScore orders_of(const nlohmann::json& orders) {
  return {number_of(orders.at("median")), number_of(orders.at("lowest")), number_of(orders.at("highest"))};
}

EvaluatedDifference difference_of(const nlohmann::json& json) {
  const auto& interval = json.at("bootstrap_95");
  const auto& test = json.at("mcnemar_first_runs");
  return {{json.at("accuracy").get<double>(), interval.at(0).get<double>(), interval.at(1).get<double>()},
          json.at("bootstrap_p").get<double>(),
          test.at("p").get<double>(),
          test.at("only_base").get<std::int64_t>(),
          test.at("only_this").get<std::int64_t>()};
}

EvaluatedTextDifference text_difference_of(const nlohmann::json& json) {
  const auto& interval = json.at("bootstrap_95");
  return {{json.at("difference").get<double>(), interval.at(0).get<double>(), interval.at(1).get<double>()},
          json.at("bootstrap_p").get<double>()};
}

ReportCalibration calibration_from(const nlohmann::json& json) {
  ReportCalibration calibration{
      json.at("expected_calibration_error").get<double>(), json.at("brier_score").get<double>(), {}};
  for (const auto& bin : json.at("bins"))
    calibration.bins.push_back(
        {bin.at("answers").get<std::int64_t>(), bin.at("confidence").get<double>(), bin.at("accuracy").get<double>()});
  return calibration;
}

// Of a metric; folders of earlier versions have nothing of it.
void add_metric(const nlohmann::json& score, EvaluatedRow& row) {
  row.metrics.push_back(score_of(score));
  EvaluatedMetric& further = row.further.emplace_back();
  if (score.contains("over_runs")) further.spread = spread_of(score.at("over_runs"));
  if (score.contains("over_orders")) further.orders = orders_of(score.at("over_orders"));
  if (score.contains("against_first")) further.difference = text_difference_of(score.at("against_first"));
}

// Its further metrics are left to the task.
EvaluatedRow row_of(const nlohmann::json& json) {
  EvaluatedRow row;
  json.at("setting").get_to(row.name);
  json.at("shots").get_to(row.shots);
  // In folders of earlier versions an adapter has one row, which is called as it is.
  if (const auto& adapter = json.at("adapter"); !adapter.is_null()) row.adapter = adapter.value("name", row.name);
  if (json.contains("accuracy")) {
    row.accuracy = score_of(json.at("accuracy"));
    row.wilson_low = json.at("accuracy").at("wilson_95").at(0).get<double>();
    row.wilson_high = json.at("accuracy").at("wilson_95").at(1).get<double>();
  }
  if (json.contains("accuracy_over_runs")) row.spread = spread_of(json.at("accuracy_over_runs"));
  if (json.contains("texts_over_runs")) row.text_spread = spread_of(json.at("texts_over_runs"));
  if (json.contains("accuracy_over_orders")) row.orders = orders_of(json.at("accuracy_over_orders"));
  if (json.contains("calibration")) row.calibration = calibration_from(json.at("calibration"));
  row.calibrated = json.value("calibrated", false);
  if (!json.at("against_first").is_null()) row.difference = difference_of(json.at("against_first"));
  if (json.contains("texts_against_first")) row.text_difference = text_difference_of(json.at("texts_against_first"));
  json.at("prompt_tokens").get_to(row.prompt_tokens);
  json.at("seconds_per_question").get_to(row.seconds);
  json.at("flops_per_question").get_to(row.flops_shared);
  json.at("flops_per_question_alone").get_to(row.flops_alone);
  row.runs = static_cast<std::int64_t>(json.at("runs").size());
  for (const auto& pass : json.at("runs")) {
    row.dropped += pass.at("dropped_demonstrations").get<std::int64_t>();
    row.cut += pass.at("cut_prompts").get<std::int64_t>();
  }
  return row;
}

// Those that stand in a row beside its accuracy.
std::vector<std::string> metrics_of(const nlohmann::json& row) {
  std::vector<std::string> metrics;
  for (const auto& [name, value] : row.items()) {
    if (name != "accuracy" && name != "scorer" && value.is_object() && value.contains("value") &&
        value.contains("bootstrap_95"))
      metrics.push_back(name);
  }
  return metrics;
}

// What an outside scorer told stands behind the metrics.
void add_judged(const nlohmann::json& rows, EvaluatedTask& task) {
  if (!rows.front().contains("scorer")) return;
  for (const auto& [name, value] : rows.front().at("scorer").items()) {
    task.metrics.push_back(name);
    for (std::size_t r = 0; r < task.rows.size(); ++r) add_metric(rows[r].at("scorer").at(name), task.rows[r]);
  }
}

std::string range_text(double low, double high) {
  return fmt::format("{:.1f}–{:.1f}", 100 * low, 100 * high);
}

std::vector<std::string> cells_of(const EvaluatedTask& task, const EvaluatedRow& row) {
  std::vector<std::string> cells = {row.name};
  if (task.graded)
    cells.insert(cells.end(), {percent(row.accuracy.value), range_text(row.wilson_low, row.wilson_high),
                               range_text(row.accuracy.low, row.accuracy.high)});
  for (std::size_t m = 0; m < row.metrics.size(); ++m) {
    const ReportScore& metric = row.metrics[m];
    cells.push_back(in_percent(task, task.metrics[m])
                        ? percent_with_interval(metric)
                        : fmt::format("{:.4g} ({:.4g}–{:.4g})", metric.value, metric.low, metric.high));
  }
  if (task.graded && !task.runs.empty()) cells.push_back(row.spread ? percent_with_interval(*row.spread) : "-");
  if (has_orders(task)) cells.push_back(row.orders ? percent_with_interval(*row.orders) : "-");
  if (has_calibration(task)) {
    cells.push_back(row.calibration ? percent(row.calibration->error) : "-");
    cells.push_back(row.calibration ? fmt::format("{:.3f}", row.calibration->brier) : "-");
  }
  if (!task.text_metric.empty()) {
    cells.push_back(row.text_difference ? text_difference_text(*row.text_difference) : "-");
    cells.push_back(row.text_difference ? p_value_text(row.text_difference->bootstrap_p) : "-");
  }
  if (const auto& difference = row.difference; task.graded) {
    cells.push_back(difference ? points_text(difference->accuracy) : "-");
    cells.push_back(difference ? p_value_text(difference->bootstrap_p) : "-");
    cells.push_back(difference ? p_value_text(difference->mcnemar_p) : "-");
  }
  cells.push_back(number(row.seconds));
  cells.push_back(si(row.flops_shared));
  cells.push_back(si(row.flops_alone));
  return cells;
}

void print_fields(const EvaluatedTask& task, const std::vector<std::string>& fields) {
  for (const auto& field : fields) {
    fmt::print("{} by {}\n", task.name, field);
    print_columns(slice_lines(task, field));
    fmt::print("\n");
  }
}

// One entry for each set of examples that the questions were compared with.
Json overlaps_json(const EvalData& data) {
  Json all = Json::array();
  for (const auto& [with, overlap] : data.overlaps)
    all.push_back(
        {{"with", with}, {"ngram", overlap.order}, {"questions", overlap.examples}, {"shared", overlap.shared}});
  return all;
}

}  // namespace

Json results_of(const EvalData& data, const std::vector<EvalRow>& rows, const EvaluatedTask& scores) {
  std::vector<std::string> templates;
  for (const auto index : data.templates) templates.push_back(data.task.templates[index].name);
  Json json = {{"task", data.task.name},
               {"task_sha256", sha256(data.task.text)},
               {"task_yaml", data.task.text},
               {"data", data.path},
               {"questions_sha256", data.questions_hash},
               {"candidates_sha256", data.candidates_hash},
               {"questions", data.count()},
               {"candidates", data.candidates.size()},
               {"templates", templates},
               {"normalisation", data.task.normalisation},
               {"chance", scores.chance},
               {"notes", data.notes},
               {"overlaps", overlaps_json(data)},
               {"rows", Json::array()}};
  for (std::size_t r = 0; r < rows.size(); ++r)
    json["rows"].push_back(row_json(data, rows[r], scores.rows[r], scores.text_metric));
  if (!scores.text_metric.empty()) json["text_metric"] = scores.text_metric;
  if (!scores.slices.empty()) json["slices"] = slices_json(scores, scores.slices);
  if (!scores.parts.empty()) json["parts"] = slices_json(scores, scores.parts);
  return json;
}

EvaluatedTask evaluated_of(const nlohmann::json& entry) {
  EvaluatedTask task;
  entry.at("task").get_to(task.name);
  entry.at("questions").get_to(task.examples);
  entry.at("chance").get_to(task.chance);
  entry.at("notes").get_to(task.notes);
  task.percent = task.chance > 0;
  if (entry.contains("slices")) task.slices = slices_from(entry.at("slices"));
  if (entry.contains("parts")) task.parts = slices_from(entry.at("parts"));
  std::size_t runs = 0;
  for (const auto& row : entry.at("rows")) {
    task.rows.push_back(row_of(row));
    runs = std::max(runs, row.at("runs").size());
  }
  if (runs > 1) task.runs = fmt::format("{} runs", runs);
  if (task.rows.empty()) return task;
  task.graded = entry.at("rows").front().contains("accuracy");
  task.metrics = metrics_of(entry.at("rows").front());
  const auto& last = entry.at("rows").back();
  if (last.contains("texts_against_first")) last.at("texts_against_first").at("metric").get_to(task.text_metric);
  task.text_metric = entry.value("text_metric", task.text_metric);  // which folders of earlier versions do not say
  for (std::size_t r = 0; r < task.rows.size(); ++r)
    for (const auto& metric : task.metrics) add_metric(entry.at("rows")[r].at(metric), task.rows[r]);
  add_judged(entry.at("rows"), task);
  return task;
}

std::string prediction_lines(const EvalData& data, const std::vector<EvalRow>& rows) {
  std::string text;
  for (const auto& row : rows) {
    for (const EvalPass& pass : row.passes) {
      const auto& questions = data.questions[pass.place];
      for (std::size_t q = 0; q < questions.size(); ++q) {
        text += json_text(prediction_json(data, row, pass, questions[q], q));
        text += "\n";
      }
    }
  }
  return text;
}

void print_evaluated(const EvaluatedTask& task) {
  fmt::print("{}: {} questions, {}\n", task.name, grouped(task.examples), scale_text(task));
  std::vector<std::vector<std::string>> lines = {{"setting"}};
  if (task.graded) lines[0].insert(lines[0].end(), {"accuracy", "Wilson 95%", "bootstrap 95%"});
  for (const auto& metric : task.metrics) lines[0].push_back(metric);
  if (task.graded && !task.runs.empty()) lines[0].push_back("median (quartiles) over " + task.runs);
  if (has_orders(task)) lines[0].emplace_back("over orders (lowest–highest)");
  if (has_calibration(task)) {
    lines[0].emplace_back("ECE");
    lines[0].emplace_back("Brier");
  }
  if (!task.text_metric.empty()) {
    lines[0].push_back(task.text_metric + " difference (95%)");
    lines[0].emplace_back("p");
  }
  if (task.graded) lines[0].insert(lines[0].end(), {"difference (95%)", "p", "McNemar p"});
  lines[0].insert(lines[0].end(), {"seconds", "FLOPs", "alone"});
  for (const auto& row : task.rows) lines.push_back(cells_of(task, row));
  print_columns(lines);
  if (const auto metrics = metric_lines(task); !metrics.empty()) print_columns(metrics);
  for (const auto& row : task.rows) {
    if (row.dropped > 0)
      fmt::print("{}: {} demonstrations did not fit the context and were left out\n", row.name, grouped(row.dropped));
    if (row.cut > 0)
      fmt::print("{}: {} prompts alone are too long and lost their beginning\n", row.name, grouped(row.cut));
  }
  fmt::print("\n");
}

void print_slices(const EvaluatedTask& task) {
  print_fields(task, sliced_fields(task));
}

void print_parts(const EvaluatedTask& task) {
  print_fields(task, part_fields(task));
}

void print_overview(const std::vector<EvaluatedTask>& tasks) {
  const auto lines = overview_of(tasks);
  if (lines.empty()) return;
  fmt::print("all tasks\n");
  print_columns(lines);
  fmt::print("\n");
}

}  // namespace graft
