#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "report/evaluation.h"
#include "report/markup.h"

namespace graft {
namespace {

using Line = std::vector<std::string>;

Line line_of(const EvaluatedTask& task, const EvaluatedRow& row) {
  const auto& difference = row.difference;
  return {task.name,
          row.name,
          task.graded ? percent(row.accuracy.value) : "-",
          task.graded ? fmt::format("{:.1f}–{:.1f}", 100 * row.wilson_low, 100 * row.wilson_high) : "-",
          difference ? points_text(difference->accuracy) : "-",
          difference ? p_value_text(difference->bootstrap_p) : "-",
          number(row.seconds),
          si(row.flops_shared)};
}

const EvaluatedRow* named(const EvaluatedTask& task, const std::string& name) {
  const auto found =
      std::find_if(task.rows.begin(), task.rows.end(), [&](const EvaluatedRow& row) { return row.name == name; });
  return found == task.rows.end() ? nullptr : &*found;
}

// Of a task with one adapter, that behind so many demonstrations.
const EvaluatedRow* adapted(const EvaluatedTask& task, std::int64_t shots) {
  const auto is_wanted = [shots](const EvaluatedRow& row) { return row.adapted() && row.shots == shots; };
  if (std::count_if(task.rows.begin(), task.rows.end(), is_wanted) != 1) return nullptr;
  return &*std::find_if(task.rows.begin(), task.rows.end(), is_wanted);
}

// "adapted, 8-shot" of "runs/rte (ia3), 8-shot"
std::string adapted_name(const EvaluatedRow& row) {
  return "adapted" + (row.name.starts_with(row.adapter) ? row.name.substr(row.adapter.size()) : std::string());
}

// Nothing where a task has no such row.
template <typename RowOf>
Line mean_line(const std::vector<EvaluatedTask>& tasks, const std::string& name, const RowOf& row_of) {
  EvaluatedRow mean;
  for (const auto& task : tasks) {
    const EvaluatedRow* row = row_of(task);
    if (row == nullptr) return {};
    mean.accuracy.value += row->accuracy.value / static_cast<double>(tasks.size());
    mean.seconds += row->seconds / static_cast<double>(tasks.size());
    mean.flops_shared += row->flops_shared / static_cast<double>(tasks.size());
  }
  return {fmt::format("mean of {}", tasks.size()),
          name,
          percent(mean.accuracy.value),
          "-",
          "-",
          "-",
          number(mean.seconds),
          si(mean.flops_shared)};
}

// What a right answer is, is not the same where texts are written: there is no mean over both.
bool alike(const std::vector<EvaluatedTask>& tasks) {
  return std::all_of(tasks.begin(), tasks.end(),
                     [&](const EvaluatedTask& task) { return task.graded && task.percent == tasks.front().percent; });
}

}  // namespace

std::vector<Line> overview_of(const std::vector<EvaluatedTask>& tasks) {
  if (tasks.size() < 2) return {};
  std::vector<Line> lines = {
      {"task", "setting", "accuracy", "Wilson 95%", "difference (95%)", "p", "seconds", "FLOPs"}};
  for (const auto& task : tasks)
    for (const auto& row : task.rows) lines.push_back(line_of(task, row));
  if (!alike(tasks)) return lines;
  const auto add = [&](const Line& line) {
    if (!line.empty()) lines.push_back(line);
    return !line.empty();
  };
  std::set<std::int64_t> told;  // demonstrations of adapters that have a mean by their name
  for (const auto& row : tasks.front().rows) {
    const auto same = [&row](const EvaluatedTask& task) { return named(task, row.name); };
    if (add(mean_line(tasks, row.name, same)) && row.adapted()) told.insert(row.shots);
  }
  for (const auto& row : tasks.front().rows) {
    const auto same = [&row](const EvaluatedTask& task) { return adapted(task, row.shots); };
    if (row.adapted() && told.insert(row.shots).second) add(mean_line(tasks, adapted_name(row), same));
  }
  return lines;
}

}  // namespace graft
