// Scores by the values of a field.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/progress.h"
#include "report/evaluation.h"
#include "report/markup.h"

namespace graft {
namespace {

constexpr std::size_t kLongestValue = 60;

std::string accuracy_text(const ReportScore& score) {
  return fmt::format("{} ({:.1f}–{:.1f})", percent(score.value), 100 * score.low, 100 * score.high);
}

std::string metric_text(const ReportScore& score) {
  return fmt::format("{} ({}–{})", number(score.value), number(score.low), number(score.high));
}

void add_slice_fields(const std::vector<EvaluatedSlice>& slices, std::vector<std::string>& fields) {
  for (const auto& slice : slices) {
    if (std::find(fields.begin(), fields.end(), slice.field) == fields.end()) fields.push_back(slice.field);
  }
}

}  // namespace

std::vector<std::string> sliced_fields(const EvaluatedTask& task) {
  std::vector<std::string> fields;
  add_slice_fields(task.slices, fields);
  add_slice_fields(task.parts, fields);
  return fields;
}

std::vector<std::string> part_fields(const EvaluatedTask& task) {
  std::vector<std::string> fields;
  add_slice_fields(task.parts, fields);
  return fields;
}

std::vector<std::vector<std::string>> slice_lines(const EvaluatedTask& task, const std::string& field) {
  const bool written = !task.text_metric.empty();
  std::vector<std::vector<std::string>> lines = {{field, "questions"}};
  for (const auto& row : task.rows) {
    lines[0].push_back(written ? row.name + " accuracy" : row.name);
    if (written) lines[0].push_back(row.name + " " + task.text_metric);
  }
  for (const auto* slices : {&task.slices, &task.parts}) {
    for (const auto& slice : *slices) {
      if (slice.field != field) continue;
      std::vector<std::string> line = {slice_name(slice.value, slice.others), grouped(slice.examples)};
      for (const auto& score : slice.rows) {
        line.push_back(accuracy_text(score.accuracy));
        if (written) line.push_back(score.metric ? metric_text(*score.metric) : "-");
      }
      lines.push_back(std::move(line));
    }
  }
  return lines;
}

std::string slice_name(const std::string& value, std::int64_t others) {
  if (others > 0) return fmt::format("{} other {}", grouped(others), others == 1 ? "value" : "values");
  std::string line = value;  // which may be lines of text, and is shown as one cell
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return std::iscntrl(c) != 0; }, ' ');
  return line.empty() ? "(none)" : excerpt(line, kLongestValue);
}

}  // namespace graft
