#include "report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/progress.h"
#include "report/html_parts.h"
#include "report/markup.h"
#include "report/svg.h"

namespace graft {
namespace {

std::string fraction_text(double fraction) {
  return fmt::format("{:.3g}%", 100 * fraction);
}

std::string score_text(const ComparedTask& task, const ReportScore& score) {
  return fmt::format("{} <small>{}–{}</small>", compared_value(task, score.value), compared_value(task, score.low),
                     compared_value(task, score.high));
}

// 0 where there is one number of training examples.
std::int64_t most_shots(const ComparisonReport& report) {
  std::int64_t most = 0;
  for (const auto& variant : report.variants) most = std::max(most, variant.shots);
  return most;
}

// Behind "examples".
const char* counted_by(const ComparisonReport& report) {
  return report.shots_in_all ? "" : " a class";
}

std::vector<std::string> names_of(const ComparisonReport& report) {
  std::vector<std::string> names;
  for (const auto& variant : report.variants) {
    if (std::find(names.begin(), names.end(), variant.name) == names.end()) names.push_back(variant.name);
  }
  return names;
}

Series curve_of(const ComparisonReport& report, const std::string& name, std::size_t task) {
  Series series{name, {}, false, true};
  for (const auto& variant : report.variants) {
    const auto& score = variant.scores[task];
    if (variant.name != name || !score) continue;
    series.points.push_back({static_cast<double>(variant.shots), score->value});
    series.band.emplace_back(score->low, score->high);
  }
  return series;
}

// The base model, which trains on nothing, lies across.
std::string learning_curve(const ComparisonReport& report, std::size_t index) {
  if (most_shots(report) == 0) return "";
  const ComparedTask& task = report.tasks[index];
  LineChart chart;
  chart.title = fmt::format("{} on {} by the number of training examples", task.metric, task.name);
  chart.x_label = std::string("training examples") + counted_by(report);
  chart.y_label = task.metric;
  chart.percent = task.percent;
  chart.log_x = true;
  chart.width = 720;
  chart.height = 360;
  double first = std::numeric_limits<double>::infinity(), last = 0;
  for (const auto& name : names_of(report)) {
    Series series = curve_of(report, name, index);
    if (series.points.empty()) continue;
    first = std::min(first, series.points.front().x);
    last = std::max(last, series.points.back().x);
    chart.series.push_back(std::move(series));
  }
  if (task.before && !chart.series.empty())
    chart.series.push_back({"base model", {{first, *task.before}, {last, *task.before}}, false, false});
  return figure(draw(chart), escape(task.name) + ": median over seeds by training examples, with quartiles");
}

ScatterPlot plot_of(const ComparedTask& task) {
  ScatterPlot plot;
  plot.title = fmt::format("{} on {} against the fraction of parameters trained", task.metric, task.name);
  plot.x_label = "parameters trained, of the model's";
  plot.y_label = task.metric;
  plot.percent = task.percent;
  if (task.before) plot.lines.push_back({"base model", *task.before});
  return plot;
}

// What trains nothing has no place on an axis of what is trained.
void add_to_plot(const ComparedVariant& variant, const ReportScore& score, ScatterPlot& plot) {
  if (variant.parameters == 0)
    plot.lines.push_back({variant.name, score.value});
  else
    plot.points.push_back({variant.name, variant.fraction, score.value, score.low, score.high});
}

// "16 examples a class" behind `before`; empty where one number of them is compared.
std::string most_examples(const ComparisonReport& report, const char* before) {
  const std::int64_t shots = most_shots(report);
  return shots > 0 ? fmt::format("{}{} examples{}", before, shots, counted_by(report)) : "";
}

std::string task_plot(const ComparisonReport& report, std::size_t index) {
  ScatterPlot plot = plot_of(report.tasks[index]);
  plot.width = 520;
  plot.height = 320;
  const std::int64_t shots = most_shots(report);
  for (const auto& variant : report.variants) {
    if (const auto& score = variant.scores[index]; score && variant.shots == shots) add_to_plot(variant, *score, plot);
  }
  return figure(draw(plot), escape(fmt::format("{}: {}{}", report.tasks[index].name, report.tasks[index].metric,
                                               most_examples(report, ", "))));
}

// Where every task has one.
std::optional<double> mean_before(const std::vector<ComparedTask>& tasks) {
  double mean = 0;
  for (const auto& task : tasks) {
    if (!task.before) return std::nullopt;
    mean += *task.before / static_cast<double>(tasks.size());
  }
  return mean;
}

// Of the variants that have a mean, whose tasks are all in percent.
std::string mean_plot(const ComparisonReport& report) {
  const ComparedTask all{"all tasks", "score", true, mean_before(report.tasks)};
  ScatterPlot plot = plot_of(all);
  for (const auto& variant : report.variants) {
    if (variant.mean && variant.shots == most_shots(report)) add_to_plot(variant, *variant.mean, plot);
  }
  return figure(draw(plot), "Mean over tasks of the median over seeds, with quartiles");
}

// The mean over the tasks, where there are several, and each of them.
std::string scatter_plots(const ComparisonReport& report) {
  std::string plots;
  for (std::size_t i = 0; i < report.tasks.size(); ++i) plots += task_plot(report, i);
  if (plots.empty())
    return fmt::format(
        "<p class=\"note\">No variant that trains parameters has a score{}, so there is no plot over the fraction of "
        "parameters trained. The table below has every score.</p>",
        most_examples(report, " with "));
  if (report.tasks.size() == 1) return plots;
  return mean_plot(report) + "<div class=\"grid2 plots\">" + plots + "</div>";
}

std::string overlap_notes(const ComparisonReport& report) {
  std::string notes;
  for (const auto& task : report.tasks) {
    if (!task.overlap.empty())
      notes += "<p class=\"note\">" + escape(fmt::format("{}: {}.", task.name, task.overlap)) + "</p>";
  }
  return notes;
}

std::string result_section(const ComparisonReport& report) {
  std::string body;
  for (std::size_t i = 0; i < report.tasks.size(); ++i) body += learning_curve(report, i);
  body += scatter_plots(report);
  body += overlap_notes(report);
  if (!report.description.empty()) body = "<p class=\"note\">" + escape(report.description) + "</p>" + body;
  return section("result", "Result", body);
}

std::string table_section(const ComparisonReport& report) {
  const bool mean = report.tasks.size() > 1;
  const bool sizes = most_shots(report) > 0;
  std::string head = "<th scope=\"col\">variant</th><th scope=\"col\">method</th>";
  if (sizes)
    head += fmt::format("<th scope=\"col\" class=\"n\">examples{}</th>", report.shots_in_all ? "" : "<br>a class");
  head += "<th scope=\"col\" class=\"n\">trained</th>";
  for (const auto& task : report.tasks)
    head += fmt::format("<th scope=\"col\" class=\"n\">{}<br>{}</th>", escape(task.name), escape(task.metric));
  if (mean) head += "<th scope=\"col\" class=\"n\">mean</th>";
  head += "<th scope=\"col\" class=\"n\">s a step</th>";
  std::string rows;
  for (const auto& variant : report.variants) {
    rows += fmt::format(
        "<tr><th scope=\"row\" class=\"nowrap\">{}</th><td>{}</td>{}<td class=\"n\">{} <small>{}</small></td>",
        escape(variant.name), escape(variant.method),
        sizes ? fmt::format("<td class=\"n\">{}</td>", variant.shots) : "", fraction_text(variant.fraction),
        grouped(variant.parameters));
    for (std::size_t i = 0; i < report.tasks.size(); ++i) {
      const auto& score = variant.scores[i];
      rows += fmt::format("<td class=\"n\">{}</td>", score ? score_text(report.tasks[i], *score) : "–");
    }
    if (mean) rows += fmt::format("<td class=\"n\">{}</td>", variant.mean ? percent(variant.mean->value) : "–");
    rows += fmt::format("<td class=\"n\">{}</td></tr>", variant.step_seconds > 0 ? number(variant.step_seconds) : "–");
  }
  return section("table", "Medians and quartiles over seeds",
                 fmt::format("<div class=\"scroll\"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>",
                             head, rows));
}

std::string costs_section(const ComparisonReport& report) {
  constexpr std::size_t kNames = 2;
  const std::string note =
      "<p class=\"note\">Accuracy is that of all seeds together, with the intervals of Wilson and of a bootstrap over "
      "the questions; the difference is to the first variant, paired by question, with a bootstrap interval and the "
      "p-value of McNemar's exact test over the questions (one that several seeds were asked counts once, for the "
      "variant that was right more often). Training and answering a question are medians over the runs. FLOPs are "
      "those of matrix products, demonstrations read once for all questions; alone, by each question itself.</p>";
  const std::string table = text_table(cost_lines(report), kNames);
  std::string notes;
  for (const auto& line : cost_notes(report)) notes += "<p class=\"note\">" + escape(line) + ".</p>";
  return table.empty() ? "" : section("costs", "How sure it is, and what it takes", note + table + notes);
}

std::string run_row(const ComparisonReport& report, const ComparedRun& run) {
  const auto task = std::find_if(report.tasks.begin(), report.tasks.end(),
                                 [&](const ComparedTask& one) { return one.name == run.task; });
  const auto value = [&](const std::optional<double>& score) {
    return score && task != report.tasks.end() ? compared_value(*task, *score) : std::string("–");
  };
  const std::string link =
      run.report.empty() ? escape(run.note) : fmt::format("<a href=\"{}\">report</a>", escape(run.report));
  return fmt::format(
      "<tr><td class=\"nowrap\">{}</td><td class=\"nowrap\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td "
      "class=\"n\">{}</td><td>{}</td></tr>",
      escape(run.task),
      escape(run.shots > 0 ? fmt::format("{}, {} examples{}", run.variant, run.shots, counted_by(report))
                           : run.variant),
      run.seed, value(run.before), value(run.score), link);
}

std::string runs_section(const ComparisonReport& report) {
  std::string rows;
  for (const auto& run : report.runs) rows += run_row(report, run);
  if (rows.empty()) return "";
  return section(
      "runs", "Runs",
      fmt::format("<details><summary>{} runs</summary><div class=\"scroll\"><table><thead><tr><th "
                  "scope=\"col\">task</th><th scope=\"col\">variant</th><th scope=\"col\" class=\"n\">seed</th>"
                  "<th scope=\"col\" class=\"n\">before</th><th scope=\"col\" class=\"n\">after</th><th "
                  "scope=\"col\"></th></tr></thead><tbody>{}</tbody></table></div></details>",
                  report.runs.size(), rows));
}

std::string header(const ComparisonReport& report) {
  std::string tasks;
  for (const auto& task : report.tasks) tasks += (tasks.empty() ? "" : ", ") + task.name;
  return fmt::format(
      "<header><p class=\"brand\">graft comparison</p><h1>{} variants <span class=\"on\">on</span> {}</h1>{}</header>",
      names_of(report).size(), escape(tasks),
      fact_list({{"Model", report.model},
                 {"Tasks", tasks},
                 {"Variants", std::to_string(names_of(report).size())},
                 {"Seeds", std::to_string(report.seeds)},
                 {"Started", report.started}}));
}

}  // namespace

std::string compared_value(const ComparedTask& task, double value) {
  return task.percent ? percent(value) : number(value);
}

std::string render_comparison(const ComparisonReport& report) {
  ReportData shared;
  shared.reproducibility = report.reproducibility;
  shared.commands = report.commands;
  return page({"graft comparison on " + report.model,
               header(report),
               {{"Result", result_section(report)},
                {"Table", table_section(report)},
                {"Costs", costs_section(report)},
                {"Runs", runs_section(report)},
                {"Try it", commands_section(shared)},
                {"Reproduce", reproducibility_section(shared)}},
               report.version,
               ""});
}

}  // namespace graft
