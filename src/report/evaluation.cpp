#include "report/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/progress.h"
#include "report/html_parts.h"
#include "report/markup.h"
#include "report/svg.h"

namespace graft {
namespace {

constexpr const char* kExplanation =
    "Accuracy with its 95% intervals over the examples: Wilson's for a share, and the percentile bootstrap. Several "
    "runs "
    "of a setting are told by their mean (whose intervals are still over examples), and by median and quartiles over "
    "the "
    "runs. Differences are to the first row, on the same examples: paired bootstrap interval and p-value, and "
    "McNemar's "
    "exact test of the first run of both. Seconds and the first FLOPs are of one question when demonstrations that all "
    "share are read once; alone, a question reads them itself. ECE is the expected calibration error in 15 bins: how "
    "far the "
    "probability of an answer is from the share of such answers that are right. Brier's score is the squared distance "
    "of "
    "all probabilities from the truth, 0 to 2. Both are of the answers of all runs. Metrics of texts that were written "
    "are in the unit of docs/metrics.md, with bootstrap intervals over the questions; their differences and p-values "
    "are "
    "of the paired bootstrap, too. Tables by a field tell the accuracy of the questions with one value, with Wilson's "
    "interval; by prompt template that of its runs; by a shared n-gram that of the questions that have one in common "
    "with other examples (yes) and of the others (no).";

std::string range(double low, double high) {
  return fmt::format("<small>{}–{}</small>", percent(low), percent(high));
}

std::string metric_text(const EvaluatedTask& task, const std::string& metric, const ReportScore& score) {
  if (in_percent(task, metric)) return percent(score.value) + " " + range(score.low, score.high);
  return fmt::format("{} <small>{}–{}</small>", number(score.value), number(score.low), number(score.high));
}

std::string cell(const std::string& markup) {
  return "<td class=\"n\">" + markup + "</td>";
}

std::string bars(const EvaluatedTask& task) {
  if (!task.graded) return "";
  const std::string metric = drawn_metric(task);
  const bool accuracy = metric == "accuracy";
  IntervalChart chart;
  chart.title = fmt::format("{} on {} with 95% bootstrap intervals", accuracy ? "Accuracy" : metric, task.name);
  if (accuracy && task.chance > 0) chart.reference = task.chance;
  chart.reference_name = "chance";
  chart.width = 720;
  chart.percent = accuracy;
  BarGroup group{fmt::format("{} questions, {}", grouped(task.examples), accuracy ? scale_text(task) : metric), {}};
  for (const auto& row : task.rows) {
    const ReportScore score = score_of(task, row, metric).value_or(ReportScore{});
    group.bars.push_back({row.name, score.value, score.low, score.high, &row == &task.rows.front() ? 0 : 1});
  }
  chart.groups = {group};
  return figure(draw(chart),
                fmt::format("{}: {}, 95% bootstrap intervals over the examples", escape(task.name), escape(metric)));
}

Series by_shots(const EvaluatedTask& task, const char* name, bool calibrated) {
  Series series{name, {}, false, true};
  for (const auto& row : task.rows) {
    if (!row.adapted() && row.calibrated == calibrated) add_over_runs(series, task, row, drawn_metric(task));
  }
  return series;
}

// An adapter that reads no demonstrations lies across.
std::string curve(const EvaluatedTask& task) {
  if (!task.graded) return "";
  const std::string metric = drawn_metric(task);
  const std::string what = metric == "accuracy" ? "Accuracy" : metric;
  LineChart chart;
  chart.title = what + " on " + task.name + " by the number of demonstrations";
  chart.x_label = "demonstrations";
  chart.y_label = metric;
  chart.percent = metric == "accuracy";
  chart.log_x = true;
  chart.series = {by_shots(task, "in context", false)};
  const auto points = chart.series.front().points;
  if (points.size() < 3) return "";
  if (auto calibrated = by_shots(task, "calibrated", true); !calibrated.points.empty())
    chart.series.push_back(std::move(calibrated));
  for (auto& own : adapter_curves(task, metric)) {
    if (own.points.size() == 1) {
      const double value = own.points.front().y;
      own = {own.name, {{points.front().x, value}, {points.back().x, value}}, false, false};
    }
    chart.series.push_back(std::move(own));
  }
  const std::string over = task.runs.empty() ? "" : ": median over " + escape(task.runs) + ", with quartiles";
  return figure(draw(chart), escape(what) + " by the number of demonstrations" + over);
}

std::string reliability(const EvaluatedTask& task) {
  std::vector<std::pair<std::string, ReportCalibration>> curves;
  for (const auto& row : task.rows) {
    if (row.calibration) curves.emplace_back(row.name, *row.calibration);
  }
  return reliability_figure(task.name, curves);
}

std::string head(const EvaluatedTask& task) {
  std::string cells = "<th scope=\"col\">setting</th>";
  const auto add = [&](const std::string& name) { cells += "<th scope=\"col\" class=\"n\">" + name + "</th>"; };
  if (task.graded) {
    add("accuracy<br>Wilson");
    add("bootstrap");
  }
  for (const auto& metric : task.metrics) add(escape(metric));
  if (task.graded && !task.runs.empty()) add("median, quartiles<br>over " + escape(task.runs));
  if (has_orders(task)) add("over orders<br>lowest, highest");
  if (has_calibration(task)) {
    add("ECE");
    add("Brier");
  }
  if (!task.text_metric.empty()) {
    add(escape(task.text_metric) + "<br>difference");
    add("p");
  }
  if (task.graded) {
    add("difference<br>paired bootstrap");
    add("p");
    add("McNemar p");
  }
  add(task.graded ? "prompt<br>tokens" : "tokens");
  add("seconds");
  add("FLOPs");
  add("FLOPs<br>alone");
  return cells;
}

std::string difference_cells(const EvaluatedRow& row) {
  if (!row.difference) return cell("–") + cell("–") + cell("–");
  const EvaluatedDifference& difference = *row.difference;
  return cell(escape(points_text(difference.accuracy))) + cell(escape(p_value_text(difference.bootstrap_p))) +
         cell(escape(p_value_text(difference.mcnemar_p)) +
              fmt::format(" <small>{}:{}</small>", difference.only_base, difference.only_this));
}

std::string text_difference_cells(const EvaluatedRow& row) {
  if (!row.text_difference) return cell("–") + cell("–");
  return cell(escape(text_difference_text(*row.text_difference))) +
         cell(escape(p_value_text(row.text_difference->bootstrap_p)));
}

std::string table_row(const EvaluatedTask& task, const EvaluatedRow& row) {
  std::string cells = "<th scope=\"row\">" + escape(row.name) + "</th>";
  if (task.graded)
    cells += cell(percent(row.accuracy.value) + " " + range(row.wilson_low, row.wilson_high)) +
             cell(range(row.accuracy.low, row.accuracy.high));
  for (std::size_t m = 0; m < row.metrics.size(); ++m)
    cells += cell(metric_text(task, task.metrics[m], row.metrics[m]));
  if (task.graded && !task.runs.empty())
    cells += cell(row.spread ? percent(row.spread->value) + " " + range(row.spread->low, row.spread->high) : "–");
  if (has_orders(task))
    cells += cell(row.orders ? percent(row.orders->value) + " " + range(row.orders->low, row.orders->high) : "–");
  if (has_calibration(task))
    cells += cell(row.calibration ? percent(row.calibration->error) : "–") +
             cell(row.calibration ? fmt::format("{:.3f}", row.calibration->brier) : "–");
  if (!task.text_metric.empty()) cells += text_difference_cells(row);
  if (task.graded) cells += difference_cells(row);
  cells += cell(number(row.prompt_tokens)) + cell(number(row.seconds)) + cell(si(row.flops_shared)) +
           cell(si(row.flops_alone));
  return "<tr>" + cells + "</tr>";
}

std::string list_of(const std::vector<std::string>& texts) {
  std::string items;
  for (const auto& text : texts) items += "<li>" + escape(text) + "</li>";
  return "<ul>" + items + "</ul>";
}

// What was written for the first questions, a column each setting.
std::string written_table(const EvaluatedTask& task) {
  if (task.texts.empty()) return "";
  std::string head = "<th scope=\"col\">prompt</th><th scope=\"col\">references</th>", rows;
  for (const auto& row : task.rows) head += "<th scope=\"col\">" + escape(row.name) + "</th>";
  for (const auto& text : task.texts) {
    rows += fmt::format("<tr><td><p>{}</p><p class=\"note\">{}</p></td><td>{}</td>", escape(text.prompt),
                        escape(text.where), list_of(text.references));
    for (const auto& output : text.outputs) rows += "<td>" + escape(output) + "</td>";
    rows += "</tr>";
  }
  return "<h3>Texts that were written</h3><p class=\"note\">For the first questions, in the first run of each setting; "
         "predictions.jsonl has them all.</p><div class=\"scroll\"><table><thead><tr>" +
         head + "</tr></thead><tbody>" + rows + "</tbody></table></div>";
}

std::string losses(const EvaluatedRow& row) {
  std::string text;
  if (row.dropped > 0)
    text += fmt::format("<p class=\"note\">{}: {} demonstrations did not fit the context and were left out.</p>",
                        escape(row.name), grouped(row.dropped));
  if (row.cut > 0)
    text += fmt::format("<p class=\"note\">{}: {} prompts alone are too long and lost their beginning.</p>",
                        escape(row.name), grouped(row.cut));
  return text;
}

std::string slice_tables(const EvaluatedTask& task) {
  std::string tables;
  for (const auto& field : sliced_fields(task))
    tables += "<h3>By " + escape(field) + "</h3>" + text_table(slice_lines(task, field), 1);
  return tables;
}

std::string metric_table(const EvaluatedTask& task) {
  constexpr std::size_t kNames = 2;  // metric and setting
  const auto lines = metric_lines(task);
  return lines.empty() ? "" : "<h3>Metrics side by side</h3>" + text_table(lines, kNames);
}

std::string task_section(const EvaluatedTask& task, std::size_t index) {
  std::string rows, notes;
  for (const auto& row : task.rows) {
    rows += table_row(task, row);
    notes += losses(row);
  }
  for (const auto& note : task.notes) notes += "<p class=\"note\">" + escape(note) + ".</p>";
  const std::string table = fmt::format(
      "<div class=\"scroll\"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>", head(task), rows);
  return section(fmt::format("task{}", index), escape(task.name),
                 bars(task) + curve(task) + table + metric_table(task) + slice_tables(task) + reliability(task) +
                     written_table(task) + notes);
}

std::string overview(const std::vector<EvaluatedTask>& tasks) {
  const auto lines = overview_of(tasks);
  if (lines.empty()) return "";
  constexpr std::size_t kNames = 2;  // task and setting
  return section("overview", "All tasks", text_table(lines, kNames));
}

std::string header(const EvaluationReport& report) {
  std::string tasks;
  for (const auto& task : report.tasks) tasks += (tasks.empty() ? "" : ", ") + task.name;
  return fmt::format(
      "<header><p class=\"brand\">graft evaluation</p><h1>{} <span class=\"on\">on</span> {}</h1>{}</header>",
      escape(report.model), escape(tasks),
      fact_list({{"Model", report.model}, {"Tasks", tasks}, {"Started", report.started}}));
}

}  // namespace

std::string drawn_metric(const EvaluatedTask& task) {
  const auto& metrics = task.metrics;
  if (std::find(metrics.begin(), metrics.end(), task.text_metric) != metrics.end()) return task.text_metric;
  if (task.graded) return "accuracy";
  return metrics.empty() ? "" : metrics.front();
}

bool in_percent(const EvaluatedTask& task, const std::string& metric) {
  return task.percent && metric != "choice_entropy";
}

std::optional<ReportScore> score_of(const EvaluatedTask& task, const EvaluatedRow& row, const std::string& metric) {
  if (task.graded && metric == "accuracy") return row.accuracy;
  const auto found = std::find(task.metrics.begin(), task.metrics.end(), metric);
  if (found == task.metrics.end()) return std::nullopt;
  return row.metrics.at(static_cast<std::size_t>(found - task.metrics.begin()));
}

void add_over_runs(Series& series, const EvaluatedTask& task, const EvaluatedRow& row, const std::string& metric) {
  const auto score = score_of(task, row, metric);
  if (!score) return;
  std::optional<ReportScore> spread;
  const auto found = std::find(task.metrics.begin(), task.metrics.end(), metric);
  const auto place = static_cast<std::size_t>(found - task.metrics.begin());
  if (place < row.further.size()) spread = row.further[place].spread;
  if (metric == "accuracy") spread = row.spread;
  if (metric == task.text_metric) spread = row.text_spread;
  const ReportScore told = spread.value_or(ReportScore{score->value, score->value, score->value});
  series.points.push_back({static_cast<double>(row.shots), told.value});
  series.band.emplace_back(told.low, told.high);
}

std::vector<Series> adapter_curves(const EvaluatedTask& task, const std::string& metric) {
  std::vector<Series> curves;
  for (const auto& row : task.rows) {
    if (!row.adapted()) continue;
    if (curves.empty() || curves.back().name != row.adapter) curves.push_back({row.adapter, {}, false, true});
    add_over_runs(curves.back(), task, row, metric);
  }
  return curves;
}

bool has_orders(const EvaluatedTask& task) {
  return std::any_of(task.rows.begin(), task.rows.end(), [](const auto& row) { return row.orders.has_value(); });
}

bool has_calibration(const EvaluatedTask& task) {
  return std::any_of(task.rows.begin(), task.rows.end(), [](const auto& row) { return row.calibration.has_value(); });
}

std::string scale_text(const EvaluatedTask& task) {
  if (!task.graded) return "running text, each token scored once";
  return task.chance > 0 ? percent(task.chance) + " by chance" : "right where greedy decoding begins with a reference";
}

std::string p_value_text(double p) {
  return p < 0.001 ? "<0.001" : fmt::format("{:.3f}", p);
}

std::string points_text(const ReportScore& difference) {
  return fmt::format("{} ({} to {})", percentage_points(difference.value), percentage_points(difference.low),
                     percentage_points(difference.high));
}

std::string text_difference_text(const EvaluatedTextDifference& difference) {
  const auto signed_number = [](double value) {
    return (value < 0 ? "−" : "+") + (std::isfinite(value) ? number(std::abs(value)) : std::string("–"));
  };
  const ReportScore& score = difference.score;
  return fmt::format("{} ({} to {})", signed_number(score.value), signed_number(score.low), signed_number(score.high));
}

std::string render_evaluation(const EvaluationReport& report) {
  ReportData shared;
  shared.reproducibility = report.reproducibility;
  shared.commands = report.commands;
  Page parts;
  parts.title = "graft evaluation of " + report.model;
  parts.header = header(report);
  parts.version = report.version;
  std::string tasks;
  for (std::size_t t = 0; t < report.tasks.size(); ++t) tasks += task_section(report.tasks[t], t);
  parts.sections = {{"All tasks", overview(report.tasks)},
                    {"Tasks", tasks},
                    {"How to read it",
                     section("reading", "How to read it", std::string("<p class=\"note\">") + kExplanation + "</p>")},
                    {"Try it", commands_section(shared)},
                    {"Reproduce", reproducibility_section(shared)}};
  return page(parts);
}

}  // namespace graft
