// The task YAML: strict keys, and everything that can be checked without the data is checked here.
#include "data/task.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/suggest.h"
#include "config/shipped.h"
#include "config/yaml.h"
#include "data/lm_eval_task.h"
#include "data/task_yaml.h"
#include "data/template.h"
#include "statistics/text_metric.h"

namespace graft {
namespace {

const std::vector<std::string> kFormats = {"jsonl", "csv",   "tsv",    "parquet", "folder",
                                           "text",  "lines", "webnlg", "dart"};
const std::vector<std::string> kSplits = {"train", "validation", "test", "pool"};
const std::vector<std::string> kNormalisations = {"none", "tokens", "chars", "bytes", "pmi"};

void check_known(const std::string& what, const std::string& value, const std::vector<std::string>& known,
                 const std::string& where) {
  if (!contains(known, value)) {
    fail(Category::InvalidArgument, where, "unknown {} '{}'{}", what, value, did_you_mean(value, known));
  }
}

bool has_key(const YamlNode& map, const std::string& key) {
  return contains(map.keys, key);
}

void refuse_key(YamlMap& map, const std::string& key, const std::string& why) {
  if (const YamlNode* node = map.find(key)) fail(Category::InvalidArgument, node->where(), "'{}' {}", key, why);
}

void check_relative(const std::filesystem::path& path, const std::string& where) {
  const bool leaves = std::find(path.begin(), path.end(), "..") != path.end();
  if (path.empty() || path.is_absolute() || leaves) {
    fail(Category::InvalidArgument, where, "the path '{}' must lie inside the data folder", path.string());
  }
}

// A path, or a list of them.
std::vector<std::string> read_paths(const YamlNode& node, const std::string& split) {
  const bool several = node.kind == YamlNode::Kind::List;
  const auto paths = several ? yaml_texts(node, split) : std::vector<std::string>{yaml_text(node, split)};
  if (paths.empty()) fail(Category::InvalidArgument, node.where(), "'{}' names no file; name one", split);
  for (const auto& path : paths) check_relative(path, node.where());
  return paths;
}

void read_splits(const YamlNode& node, Task& task) {
  yaml_map(node, "splits");
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const std::string& split = node.keys[i];
    check_known("split", split, kSplits, node.items[i].where());
    const auto paths = read_paths(node.items[i], split);
    task.splits[split] = paths.front();
    if (paths.size() > 1) task.other_names[split].assign(paths.begin() + 1, paths.end());
  }
  if (task.splits.empty())
    fail(Category::InvalidArgument, node.where(), "'splits' is empty; give train and validation, or pool");
  if (task.is_pool() && task.splits.size() > 1) {
    fail(Category::InvalidArgument, node.where(), "'pool' stands for data without splits; leave the other splits out");
  }
}

std::map<std::string, std::int64_t> read_max_tokens(const YamlNode& node) {
  std::map<std::string, std::int64_t> limits;
  yaml_map(node, "max_tokens");
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const std::int64_t limit = yaml_integer(node.items[i], node.keys[i]);
    if (limit < 1)
      fail(Category::InvalidArgument, node.items[i].where(), "max_tokens of '{}' must be at least 1", node.keys[i]);
    limits[node.keys[i]] = limit;
  }
  return limits;
}

WordTable read_word_table(const YamlNode& node, const std::string& name) {
  YamlMap map(node, "words '" + name + "'");
  WordTable table;
  table.field = yaml_text(map.at("field"), "field");
  const YamlNode& values = yaml_map(map.at("values"), "values");
  for (std::size_t i = 0; i < values.keys.size(); ++i) {
    table.values[values.keys[i]] = yaml_text(values.items[i], values.keys[i]);
  }
  map.finish();
  return table;
}

std::map<std::string, WordTable> read_words(const YamlNode& node) {
  std::map<std::string, WordTable> words;
  yaml_map(node, "words");
  for (std::size_t i = 0; i < node.keys.size(); ++i) words[node.keys[i]] = read_word_table(node.items[i], node.keys[i]);
  return words;
}

void read_labels(YamlMap& map, Task& task) {
  task.truths_from = map.text("truths_from", "");
  task.answers_from = map.text("answers_from", "");
  if (!task.right_list().empty()) {
    const std::string list = task.truths_from.empty() ? "answers_from" : "truths_from";
    for (const char* key : {"label", "labels", "labels_from", "answers_from"}) {
      if (key != list) refuse_key(map, key, "names the right choice, and so does " + list + "; keep one of them");
    }
    return;
  }
  task.label_field = yaml_text(map.at("label"), "label");
  task.labels_from = map.text("labels_from", "");
  if (!task.labels_from.empty()) refuse_key(map, "labels", "and labels_from both list the labels; keep one of them");
  task.labels = map.texts("labels");
  const std::set<std::string> distinct(task.labels.begin(), task.labels.end());
  if (distinct.size() != task.labels.size()) {
    fail(Category::InvalidArgument, map.at("labels").where(), "'labels' holds a label twice");
  }
  if (task.labels.size() == 1)
    fail(Category::InvalidArgument, map.at("labels").where(), "'labels' needs at least two labels");
}

void read_metrics(YamlMap& map, Task& task, const std::vector<std::string>& known) {
  task.metrics = map.texts("metrics");
  for (const auto& metric : task.metrics) {
    check_known("metric", metric, known, map.at("metrics").where());
    refuse_unmeasurable(task, metric, map.at("metrics").where());
  }
}

// One field, or a list of them.
std::vector<std::string> read_group_by(YamlMap& map) {
  const YamlNode* node = map.find("group_by");
  if (node == nullptr) return {};
  auto fields = node->kind == YamlNode::Kind::List ? yaml_texts(*node, "group_by")
                                                   : std::vector<std::string>{yaml_text(*node, "group_by")};
  if (fields.empty() || contains(fields, ""))
    fail(Category::InvalidArgument, node->where(),
         "'group_by' names no field, or an empty one; write a field or a list");
  return fields;
}

void read_slices(YamlMap& map, Task& task) {
  task.slices = map.texts("slices");
  const std::set<std::string> distinct(task.slices.begin(), task.slices.end());
  if (distinct.size() < task.slices.size())
    fail(Category::InvalidArgument, map.at("slices").where(), "'slices' names a field twice; name each once");
  if (distinct.count("") > 0)
    fail(Category::InvalidArgument, map.at("slices").where(), "'slices' holds an empty name; leave it out");
}

void read_normalisation(YamlMap& map, Task& task) {
  task.normalisation = map.text("normalisation", task.normalisation);
  if (!contains(kNormalisations, task.normalisation)) {
    check_known("normalisation", task.normalisation, kNormalisations, map.at("normalisation").where());
  }
  if (const YamlNode* node = map.find("neutral_prompt")) {
    task.neutral_prompt = yaml_text(*node, "neutral_prompt");
    if (task.normalisation != "pmi")
      fail(Category::InvalidArgument, node->where(), "'neutral_prompt' is for 'normalisation: pmi' only; add that");
    TextTemplate(task.neutral_prompt, node->where() + ": neutral_prompt");
  }
}

void read_decoding(YamlMap& map, Task& task) {
  task.decoding.stop = map.texts("stop");
  if (contains(task.decoding.stop, ""))
    fail(Category::InvalidArgument, map.at("stop").where(), "a text of 'stop' is empty; leave it out");
  const YamlNode* most = map.find("max_new_tokens");
  if (most == nullptr) return;
  task.decoding.max_new_tokens = yaml_integer(*most, "max_new_tokens");
  if (task.decoding.max_new_tokens < 1)
    fail(Category::InvalidArgument, most->where(), "'max_new_tokens' is {}, must be at least 1",
         task.decoding.max_new_tokens);
}

InContext read_demonstrations(const YamlNode& node) {
  YamlMap map(node, "demonstrations");
  InContext shown;
  shown.description = map.text("instruction", "");
  shown.separator = map.text("separator", shown.separator);
  map.finish();
  return shown;
}

void read_classification(YamlMap& map, Task& task) {
  read_labels(map, task);
  for (const char* key : {"references", "false_references", "stop", "max_new_tokens"})
    refuse_key(map, key, "is for tasks whose templates have a target; leave it out");
  task.group_by = read_group_by(map);
  read_slices(map, task);
  read_metrics(map, task, choice_metric_names());
  if (task.metrics.empty()) task.metrics = {"accuracy"};
  read_normalisation(map, task);
}

void refuse_choice_keys(YamlMap& map, const std::string& has) {
  for (const char* key :
       {"label", "labels", "labels_from", "truths_from", "answers_from", "normalisation", "neutral_prompt"})
    refuse_key(map, key, "is for tasks with choices, the templates have a " + has + "; leave it out");
}

void read_running(YamlMap& map, Task& task) {
  refuse_choice_keys(map, "document");
  for (const char* key : {"group_by", "references", "false_references", "stop", "max_new_tokens"})
    refuse_key(map, key, "is for tasks whose templates have a target; leave it out");
  refuse_key(map, "slices", "tells answers apart, and running text is told as a whole; leave it out");
  refuse_key(map, "demonstrations", "stand in front of questions, and running text is read alone; leave it out");
  read_metrics(map, task, running_metric_names());
  if (task.metrics.empty()) task.metrics = {"word_perplexity", "byte_perplexity", "bits_per_byte"};
}

void read_generation(YamlMap& map, Task& task) {
  refuse_choice_keys(map, "target");
  task.group_by = read_group_by(map);
  task.references = map.text("references", "");
  task.false_references = map.text("false_references", "");
  read_decoding(map, task);
  read_slices(map, task);
  read_metrics(map, task, text_metric_names());
  if (task.metrics.empty()) task.metrics = {"bleu", "rougeL"};
}

void read_line_format(YamlMap& map, Task& task) {
  if (task.format != "lines") {
    for (const char* key : {"separator", "fields"}) refuse_key(map, key, "is for 'format: lines'; leave it out");
    return;
  }
  task.separator = yaml_text(map.at("separator"), "separator");
  const YamlNode& fields = map.at("fields");
  task.fields = yaml_texts(fields, "fields");
  const std::set<std::string> distinct(task.fields.begin(), task.fields.end());
  if (task.separator.empty() || task.fields.size() < 2 || distinct.size() != task.fields.size()) {
    fail(Category::InvalidArgument, fields.where(),
         "lines need a separator and two or more fields with different names, e.g. separator: \"||\" and fields: "
         "[source, text]");
  }
}

void read_field_rules(YamlMap& map, Task& task) {
  if (const YamlNode* node = map.find("max_tokens")) task.max_tokens = read_max_tokens(*node);
  task.collapse_whitespace = map.texts("collapse_whitespace");
  const auto used = used_fields(task);
  for (const auto& [field, limit] : task.max_tokens) {
    check_known("field in max_tokens", field, used, map.at("max_tokens").where());
    for (const auto& made : task.templates) {
      if (contains(TextTemplate(made.target, task.name).fields(), field)) {
        fail(Category::InvalidArgument, map.at("max_tokens").where(),
             "'{}' is part of a target, which is not cut: its end would be learnt in the wrong place; leave it out",
             field);
      }
    }
  }
  for (const auto& field : task.collapse_whitespace) {
    check_known("field in collapse_whitespace", field, used, map.at("collapse_whitespace").where());
  }
}

}  // namespace

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

Task parse_task(std::string_view yaml, const std::string& file) {
  const YamlNode root = parse_yaml(yaml, file);
  if (is_lm_eval_task(root)) return lm_eval_task(root, std::string(yaml));
  YamlMap map(root, "the task");
  refuse_key(map, "target", "belongs to a template, beside its prompt: - {prompt: …, target: \"{field}\"}");
  Task task;
  task.text = std::string(yaml);
  task.name = yaml_text(map.at("name"), "name");
  task.description = map.text("description", "");
  task.citation = map.text("citation", "");
  const YamlNode& format = map.at("format");
  task.format = yaml_text(format, "format");
  check_known("format", task.format, kFormats, format.where());
  read_line_format(map, task);
  read_splits(map.at("splits"), task);
  const YamlNode& templates = map.at("templates");
  switch (form_of(templates)) {
    case TaskForm::Choices:
      read_classification(map, task);
      break;
    case TaskForm::Text:
      read_generation(map, task);
      break;
    case TaskForm::Running:
      read_running(map, task);
      break;
  }
  if (const YamlNode* node = map.find("demonstrations")) task.in_context = read_demonstrations(*node);
  task.field_rules = field_rules_of(map);
  if (const YamlNode* node = map.find("words")) task.words = read_words(*node);
  for (const char* later : {"max_tokens", "collapse_whitespace"}) map.find(later);
  // Misspelt keys first: what they were meant to say may be what the templates lack.
  map.finish();
  read_templates(templates, task);
  check_answers(task, root.where());
  read_field_rules(map, task);
  return task;
}

Task load_task(const std::string& path_or_name) {
  const auto path = find_yaml("tasks", path_or_name);
  const std::string yaml = read_file(path);
  const YamlNode root = parse_yaml(yaml, path.string());
  if (!is_lm_eval_task(root) || !has_key(root, "include")) return parse_task(yaml, path.string());
  // What is kept of a task is whole, whatever other files it was put together from.
  const YamlNode whole = with_includes(root, path);
  return lm_eval_task(whole, yaml_flow(whole) + "\n");
}

std::vector<std::string> shipped_tasks() {
  return shipped_names("tasks");
}

}  // namespace graft
