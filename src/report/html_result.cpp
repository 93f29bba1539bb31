#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/progress.h"
#include "report/html_parts.h"
#include "report/markup.h"
#include "report/svg.h"

namespace graft {
namespace {

std::string interval(const ReportScore& score) {
  return fmt::format("{} to {}", percent(score.low), percent(score.high));
}

std::string verdict(const ReportData& data) {
  if (!data.before || !data.after) return "";
  const double difference =
      data.improvement ? data.improvement->value : data.after->accuracy.value - data.before->accuracy.value;
  std::string text = fmt::format("<p class=\"verdict\"><strong>{} points</strong>", percentage_points(difference));
  if (data.improvement) {
    const bool clear = data.improvement->low > 0 || data.improvement->high < 0;
    text += fmt::format(" <span>95% interval {} to {}, paired over the same examples: {}</span>",
                        percentage_points(data.improvement->low), percentage_points(data.improvement->high),
                        clear ? "a clear difference" : "may be chance, more held-out examples would tell");
  }
  return text + "</p>";
}

std::string big_number(const char* name, const ReportEvaluation& evaluation, const char* kind) {
  return fmt::format(
      "<div class=\"big {}\"><span class=\"name\">{}</span><span class=\"figure\">{}</span>"
      "<span class=\"interval\">{}</span></div>",
      kind, name, percent(evaluation.accuracy.value), interval(evaluation.accuracy));
}

BarGroup group(const char* name, const std::optional<ReportScore>& before, const std::optional<ReportScore>& after) {
  BarGroup bars{name, {}};
  if (before) bars.bars.push_back({"before", before->value, before->low, before->high, 0});
  if (after) bars.bars.push_back({"after", after->value, after->low, after->high, 1});
  return bars;
}

template <typename Member>
std::optional<ReportScore> score_of(const std::optional<ReportEvaluation>& evaluation, Member member) {
  if (!evaluation) return std::nullopt;
  return (*evaluation).*member;
}

std::string interval_chart(const ReportData& data) {
  IntervalChart chart;
  chart.title = "Held-out scores before and after tuning, with 95% confidence intervals";
  chart.groups = {group("Accuracy", score_of(data.before, &ReportEvaluation::accuracy),
                        score_of(data.after, &ReportEvaluation::accuracy)),
                  group("Balanced accuracy", score_of(data.before, &ReportEvaluation::balanced_accuracy),
                        score_of(data.after, &ReportEvaluation::balanced_accuracy)),
                  group("Macro F1", score_of(data.before, &ReportEvaluation::macro_f1),
                        score_of(data.after, &ReportEvaluation::macro_f1))};
  chart.reference = data.chance;
  chart.reference_name = "chance";
  return draw(chart);
}

/// The pairs of classes the model confuses most, in words: a matrix of 77 classes needs it.
std::string top_confusions(const ReportData& data, const ReportEvaluation& evaluation) {
  struct Pair {
    std::int64_t count;
    std::size_t truth, prediction;
  };
  std::vector<Pair> pairs;
  for (std::size_t truth = 0; truth < evaluation.confusion.size(); ++truth) {
    for (std::size_t prediction = 0; prediction < evaluation.confusion[truth].size(); ++prediction) {
      const std::int64_t count = evaluation.confusion[truth][prediction];
      if (truth != prediction && count > 0) pairs.push_back({count, truth, prediction});
    }
  }
  if (pairs.empty()) return "";
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.count > b.count; });
  pairs.resize(std::min<std::size_t>(pairs.size(), 8));
  const auto label = [&](std::size_t i) { return escape(i < data.labels.size() ? data.labels[i] : std::to_string(i)); };
  std::string rows;
  for (const Pair& pair : pairs) {
    rows += fmt::format("<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>", label(pair.truth),
                        label(pair.prediction), grouped(pair.count));
  }
  return "<div class=\"table\"><h3>Most frequent confusions after tuning</h3><div "
         "class=\"scroll\"><table><thead><tr><th scope=\"col\">Truth</th>"
         "<th scope=\"col\">Predicted</th><th scope=\"col\" class=\"n\">Examples</th></tr></thead><tbody>" +
         rows + "</tbody></table></div></div>";
}

LineChart chart_of(const char* title, const std::vector<ReportCurve>& curves) {
  LineChart chart;
  chart.title = title;
  chart.x_label = "step";
  chart.whole_x = true;
  for (const ReportCurve& curve : curves) {
    Series series{curve.name, {}, false, false};
    for (const auto& [x, y] : curve.points) series.points.push_back({x, y});
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  return chart;
}

std::string accuracy_row(const std::string& name, const std::string& before, const std::string& after) {
  return fmt::format("<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>", escape(name),
                     before, after);
}

std::string accuracy_table(const std::string& what, const std::string& rows) {
  return fmt::format(
      "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">{}</th><th scope=\"col\" class=\"n\">Before</th><th "
      "scope=\"col\" class=\"n\">After</th></tr></thead><tbody>{}</tbody></table></div>",
      escape(what), rows);
}

}  // namespace

std::string overlap_note(const ReportData& data) {
  return data.overlap.empty() ? "" : "<p class=\"note\">" + escape(data.overlap) + ".</p>";
}

std::string headline_section(const ReportData& data) {
  if (!data.text_scores.empty()) return written_section(data);
  if (!data.before && !data.after) {
    return section(
        "result", "Result",
        "<p class=\"note\">This run had no held-out examples, so there is no score to show. Name a test split in the "
        "task, or hold examples out, to see how well it does on text it has not been trained on.</p>");
  }
  std::string big;
  if (data.before) big += big_number("Before", *data.before, "before");
  if (data.before && data.after) big += "<span class=\"arrow\" aria-hidden=\"true\">→</span>";
  if (data.after) big += big_number("After", *data.after, "after");
  const std::int64_t examples = data.after ? data.after->examples : data.before->examples;
  const std::string lead = fmt::format(
      "<div class=\"lead\"><p class=\"what\">Accuracy on {} held-out example{}</p><div class=\"bigs\">{}</div>{}</div>",
      grouped(examples), examples == 1 ? "" : "s", big, verdict(data));
  return section("result", "Result",
                 "<div class=\"grid2 result\">" + lead + figure(interval_chart(data), "Scores with 95% intervals") +
                     "</div>" + overlap_note(data));
}

std::string tasks_section(const ReportData& data) {
  std::string rows;
  for (const ReportTemplate& one : data.tasks) rows += accuracy_row(one.name, percent(one.before), percent(one.after));
  return rows.empty() ? "" : section("tasks", "Tasks", accuracy_table("Task", rows));
}

std::string slices_section(const ReportData& data) {
  std::string tables;
  for (const ReportSlices& slices : data.slices) {
    std::string rows;
    for (const ReportTemplate& one : slices.values)
      rows += accuracy_row(one.name, percent(one.before), percent(one.after));
    tables += accuracy_table(slices.field, rows);
  }
  if (tables.empty()) return "";
  return section("slices", "Accuracy by what a field says",
                 "<p class=\"note\">Behind each value is the number of its held-out examples.</p>" + tables);
}

std::string templates_section(const ReportData& data) {
  if (data.templates.empty()) return "";
  const auto middle = [](const std::optional<ReportScore>& score) {
    return score ? fmt::format("{} ({})", percent(score->value), interval(*score)) : "–";
  };
  std::string rows = accuracy_row("Median (quartiles)", middle(data.templates_before), middle(data.templates_after));
  for (const ReportTemplate& one : data.templates)
    rows += accuracy_row(one.name, percent(one.before), percent(one.after));
  return section(
      "templates", "Prompt templates",
      "<p class=\"note\">Accuracy on the same held-out examples in each template of the task. Everything else "
      "on this page is of the first one.</p>" +
          accuracy_table("Template", rows));
}

std::string training_section(const ReportData& data) {
  LineChart total = chart_of("Training loss by step", data.loss);
  if (total.series.size() > 1) total.series.resize(1);
  for (Series& series : total.series) series.smooth = true;
  LineChart parts = chart_of("Parts of the training loss by step, smoothed", data.loss);
  if (!parts.series.empty()) parts.series.erase(parts.series.begin());
  for (Series& series : parts.series) series.smooth = true;
  LineChart evaluations = chart_of("Held-out scores during training", data.evaluations);
  evaluations.percent = true;
  for (Series& series : evaluations.series) series.markers = true;
  LineChart rate = chart_of("Learning rate by step", {data.learning_rate});
  rate.from_zero = true;
  const std::string figures =
      figure(draw(total), "Loss <small>bold: moving average</small>") + figure(draw(parts), "Parts of the loss") +
      figure(draw(evaluations), "Evaluation during training") + figure(draw(rate), "Learning rate");
  return figures.empty() ? "" : section("training", "Training", "<div class=\"grid2\">" + figures + "</div>");
}

std::string confusion_section(const ReportData& data) {
  std::string figures;
  std::size_t classes = 0;
  const auto add = [&](const std::optional<ReportEvaluation>& evaluation, const char* name) {
    if (!evaluation || evaluation->confusion.empty()) return;
    classes = std::max(classes, evaluation->confusion.size());
    figures += figure(draw(ConfusionChart{std::string("Confusion matrix ") + name, data.labels, evaluation->confusion}),
                      std::string(name) == "before" ? "Before tuning" : "After tuning");
  };
  add(data.before, "before");
  add(data.after, "after");
  if (figures.empty()) return "";
  const std::string words = data.after ? top_confusions(data, *data.after) : "";
  return section(
      "confusion", "Confusion matrix",
      fmt::format("<p class=\"note\">Rows are the truth, columns the prediction; colour is the share of the row. "
                  "<span class=\"key hit\"></span> right <span class=\"key miss\"></span> wrong</p>"
                  "<div class=\"{}\">{}</div>{}",
                  classes > 12 ? "stack" : "grid2", figures, words));
}

}  // namespace graft
