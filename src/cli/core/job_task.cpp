// Which task a configuration means, and what of the task a run uses.
#include <charconv>
#include <numeric>

#include "base/error.h"
#include "base/suggest.h"
#include "cli/core/job.h"

namespace graft {
namespace {

// By name or by number from 0.
std::size_t template_index(const std::string& wanted, const Task& task) {
  std::vector<std::string> names = {"all"};
  for (std::size_t t = 0; t < task.templates.size(); ++t) {
    if (task.templates[t].name == wanted) return t;
    names.push_back(task.templates[t].name);
  }
  std::size_t index = task.templates.size();
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), index);
  if (error == std::errc() && end == wanted.data() + wanted.size() && index < task.templates.size()) return index;
  fail(Category::InvalidArgument, "data.template", "'{}' is none of the {} templates of task {}{}", wanted,
       task.templates.size(), task.name, did_you_mean(wanted, names));
}

// The first of these options that is given; empty where none is.
std::string first_given(const std::vector<std::pair<const char*, std::string>>& options) {
  for (const auto& [option, value] : options) {
    if (!value.empty()) return option;
  }
  return "";
}

void refuse_mixed_columns(const RunConfig::Data& data, const std::string& task) {
  const std::string labelled =
                        first_given({{"--text-column", data.text_column}, {"--label-column", data.label_column}}),
                    written =
                        first_given({{"--prompt-column", data.prompt_column}, {"--target-column", data.target_column}});
  const std::string column = labelled.empty() ? written : labelled;
  if (!task.empty() && !column.empty())
    fail(Category::InvalidArgument, column,
         "stands beside the task {}, which says itself what its rows hold; leave one of them out", task);
  if (!labelled.empty() && !written.empty())
    fail(Category::InvalidArgument, written,
         "stands beside {}: a row has a text and its label, or a prompt and the text to write; leave one pair out",
         labelled);
}

void refuse_half(const char* option, const std::string& given, const char* other, const std::string& missing) {
  if (given.empty() || !missing.empty()) return;
  fail(Category::InvalidArgument, other, "is missing: {} '{}' is half of what a row holds; name the other column too",
       option, given);
}

// A folder of texts by class has no columns to name.
bool is_folder_of_classes(const std::filesystem::path& data) {
  std::error_code ignored;
  return std::filesystem::is_directory(data, ignored);
}

}  // namespace

Task task_of(const RunConfig& config) {
  const RunConfig::Data& data = config.data;
  refuse_mixed_columns(data, config.task.name);
  if (!config.task.name.empty()) return load_task(config.task.name);
  refuse_half("--text-column", data.text_column, "--label-column", data.label_column);
  refuse_half("--label-column", data.label_column, "--text-column", data.text_column);
  refuse_half("--prompt-column", data.prompt_column, "--target-column", data.target_column);
  refuse_half("--target-column", data.target_column, "--prompt-column", data.prompt_column);
  if (!data.prompt_column.empty()) return ad_hoc_generation_task(data.path, data.prompt_column, data.target_column);
  if (!data.text_column.empty()) return ad_hoc_task(data.path, data.text_column, data.label_column);
  if (is_folder_of_classes(data.path)) return ad_hoc_task(data.path, "text", "label");
  fail(Category::InvalidArgument, "--task",
       "name a task (graft list shows them), or the columns of your data (the verb's --help has their options)");
}

std::vector<std::size_t> templates_of(const RunConfig& config, const Task& task) {
  if (config.data.prompt_template != "all") return {template_index(config.data.prompt_template, task)};
  std::vector<std::size_t> all(task.templates.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

std::string objective_of(const RunConfig& config, const Task& task) {
  if (config.objective.name == "auto") return task.generates() ? "lm" : "tfew";
  if (config.objective.name == "tfew" && task.generates()) {
    fail(Category::InvalidArgument, "objective.name",
         "tfew compares choices, and the task {} has a text to write; set lm, or auto", task.name);
  }
  return config.objective.name;
}

std::string best_metric_of(const RunConfig& config, const Task& task) {
  const std::string& wanted = config.train.best_metric;
  if (wanted == "auto") return task.generates() ? "loss" : "accuracy";
  if (task.generates() && wanted != "loss" && wanted != "last") {
    fail(Category::InvalidArgument, "train.best_metric",
         "{} compares choices, and the task {} has a text to write; set loss or last", wanted, task.name);
  }
  return wanted;
}

}  // namespace graft
