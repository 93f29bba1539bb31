// Tuning on a file without a task YAML: the YAML is written here, so that such a run keeps a task it can be repeated
// with.
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "base/error.h"
#include "config/yaml.h"
#include "data/parquet.h"
#include "data/split.h"
#include "data/task.h"
#include "data/unicode.h"

namespace graft {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kManyLabels = 20;

std::set<std::string> distinct_labels(const std::vector<Row>& rows, const std::string& column, const fs::path& data) {
  std::set<std::string> labels;
  for (const auto& row : rows) {
    const auto field = row.fields.find(column);
    if (field != row.fields.end() && !is_blank(field->second)) labels.insert(field->second);
  }
  if (labels.size() < 2) {
    fail(Category::InvalidArgument, data.string(), "'{}' holds {} distinct label; at least two are needed", column,
         labels.size());
  }
  if (labels.size() > kManyLabels && labels.size() * 2 > rows.size()) {
    fail(Category::InvalidArgument, data.string(),
         "'{}' holds {} distinct values in {} rows, it looks like free text; name the label column", column,
         labels.size(), rows.size());
  }
  return labels;
}

bool is_all_digits(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

// What a Parquet file calls the classes whose numbers it holds. None where these are not the numbers of all classes (a
// class without rows cannot be learnt, and -1 is none), or where a name would itself be read as such a number.
std::vector<std::string> noted_labels(const fs::path& data, const std::string& column,
                                      const std::set<std::string>& numbers) {
  auto names = ParquetReader(named_files(data).front()).class_names(column);
  bool all = names.size() == numbers.size() && std::none_of(names.begin(), names.end(), is_all_digits);
  for (std::size_t i = 0; i < names.size(); ++i) all = all && numbers.contains(std::to_string(i));
  if (!all) names.clear();
  return names;
}

std::vector<std::string> labels_of(const std::vector<Row>& rows, const std::string& column, const std::string& format,
                                   const fs::path& data) {
  const auto found = distinct_labels(rows, column, data);
  auto labels = format == "parquet" ? noted_labels(data, column, found) : std::vector<std::string>();
  if (labels.empty()) labels.assign(found.begin(), found.end());
  return labels;
}

// A brace in a column name cannot be written in a template.
void check_name(const std::string& column, const fs::path& data) {
  if (column.find_first_of("{}") != std::string::npos || column.empty()) {
    fail(Category::InvalidArgument, data.string(),
         "the column name '{}' cannot be used in a template; rename the column", column);
  }
}

std::vector<Row> rows_with(const std::string& format, const fs::path& data, const std::vector<std::string>& columns) {
  Task task;
  task.format = format;
  auto rows = read_files(task, data);
  for (const auto& column : columns) require_field(rows.front(), column, format);
  return rows;
}

// What the task is called: as the file or the folder is, for a pattern as the folder that holds its files.
std::string name_for(const fs::path& data) {
  fs::path whole = fs::absolute(data).lexically_normal();
  if (!whole.has_filename() || is_file_pattern(data)) whole = whole.parent_path();  // "articles/"
  const std::string name = whole.stem().string();
  return name.empty() ? "data" : name;
}

}  // namespace

Task ad_hoc_generation_task(const fs::path& data, const std::string& prompt_column, const std::string& target_column) {
  const std::string format = format_of(data);
  for (const auto& column : {prompt_column, target_column}) check_name(column, data);
  rows_with(format, data, {prompt_column, target_column});
  const std::string yaml =
      fmt::format("name: {}\nformat: {}\nsplits: {{pool: .}}\ntemplates:\n  - prompt: {}\n    target: {}\n",
                  yaml_quoted(name_for(data)), format, yaml_quoted("{" + prompt_column + "}\n"),
                  yaml_quoted("{" + target_column + "}"));
  return parse_task(yaml, "task made for " + data.string());
}

Task ad_hoc_task(const fs::path& data, const std::string& text_column, const std::string& label_column) {
  const std::string format = format_of(data);
  const auto rows = rows_with(format, data, {text_column, label_column});
  check_name(text_column, data);
  std::vector<std::string> labels;
  for (const auto& label : labels_of(rows, label_column, format, data)) labels.push_back(yaml_quoted(label));
  const std::string yaml = fmt::format(
      "name: {}\nformat: {}\nsplits: {{pool: .}}\nlabel: {}\nlabels: [{}]\ntemplates:\n  - prompt: {}\n"
      "metrics: [accuracy, balanced_accuracy, macro_f1]\n",
      yaml_quoted(name_for(data)), format, yaml_quoted(label_column), fmt::join(labels, ", "),
      yaml_quoted("{" + text_column + "}\n\nLabel:"));
  return parse_task(yaml, "task made for " + data.string());
}

}  // namespace graft
