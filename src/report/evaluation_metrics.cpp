// What is told of a task's metrics beside their scores.
#include <fmt/format.h>

#include <algorithm>

#include "report/evaluation.h"
#include "report/markup.h"

namespace graft {
namespace {

std::string in_unit(const EvaluatedTask& task, const std::string& metric, const std::optional<ReportScore>& score) {
  if (!score) return "-";
  if (in_percent(task, metric))
    return fmt::format("{} ({:.1f}–{:.1f})", percent(score->value), 100 * score->low, 100 * score->high);
  return fmt::format("{} ({}–{})", number(score->value), number(score->low), number(score->high));
}

std::string difference_in_unit(const EvaluatedTask& task, const std::string& metric,
                               const EvaluatedTextDifference& difference) {
  return in_percent(task, metric) ? points_text(difference.score) : text_difference_text(difference);
}

}  // namespace

std::vector<std::vector<std::string>> metric_lines(const EvaluatedTask& task) {
  std::vector<std::vector<std::string>> lines = {{"metric", "setting", "difference (95%)", "p"}};
  if (!task.runs.empty()) lines[0].push_back("median (quartiles) over " + task.runs);
  if (has_orders(task)) lines[0].emplace_back("over orders (lowest–highest)");
  for (std::size_t m = 0; m < task.metrics.size(); ++m) {
    for (const auto& row : task.rows) {
      if (m >= row.further.size()) continue;
      const EvaluatedMetric& further = row.further[m];
      if (!further.spread && !further.orders && !further.difference) continue;
      const std::string& metric = task.metrics[m];
      lines.push_back({metric, row.name,
                       further.difference ? difference_in_unit(task, metric, *further.difference) : "-",
                       further.difference ? p_value_text(further.difference->bootstrap_p) : "-"});
      if (!task.runs.empty()) lines.back().push_back(in_unit(task, metric, further.spread));
      if (has_orders(task)) lines.back().push_back(in_unit(task, metric, further.orders));
    }
  }
  if (lines.size() == 1) lines.clear();
  return lines;
}

}  // namespace graft
