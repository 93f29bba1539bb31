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
#include "data/template.h"
#include "statistics/text_metric.h"

namespace graft {
namespace {

const std::vector<std::string> kFormats = {"jsonl", "csv", "tsv", "folder", "text", "lines", "webnlg", "dart"};
const std::vector<std::string> kSplits = {"train", "validation", "test", "pool"};
const std::vector<std::string> kNormalisations = {"none", "tokens", "chars", "bytes", "pmi"};

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

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

enum class Form { Choices, Text, Running };

// A target in one template makes it a generation task, a document one of running text.
Form form_of(const YamlNode& templates) {
  const auto any_has = [&](const char* key) {
    return std::any_of(templates.items.begin(), templates.items.end(),
                       [key](const YamlNode& made) { return has_key(made, key); });
  };
  if (any_has("document")) return Form::Running;
  return any_has("target") ? Form::Text : Form::Choices;
}

void check_relative(const std::filesystem::path& path, const std::string& where) {
  const bool leaves = std::find(path.begin(), path.end(), "..") != path.end();
  if (path.empty() || path.is_absolute() || leaves) {
    fail(Category::InvalidArgument, where, "the path '{}' must lie inside the data folder", path.string());
  }
}

std::map<std::string, std::string> read_splits(const YamlNode& node) {
  std::map<std::string, std::string> splits;
  yaml_map(node, "splits");
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const auto where = node.items[i].where();
    check_known("split", node.keys[i], kSplits, where);
    const std::string path = yaml_text(node.items[i], node.keys[i]);
    check_relative(path, where);
    splits[node.keys[i]] = path;
  }
  if (splits.empty())
    fail(Category::InvalidArgument, node.where(), "'splits' is empty; give train and validation, or pool");
  if (splits.count("pool") > 0 && splits.size() > 1) {
    fail(Category::InvalidArgument, node.where(), "'pool' stands for data without splits; leave the other splits out");
  }
  return splits;
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

void check_document(const PromptTemplate& made, const std::string& where) {
  if (!made.prompt.empty() || !made.choices.empty() || !made.choices_from.empty() || !made.choice.empty() ||
      !made.continuation.empty())
    fail(Category::InvalidArgument, where, "has a document, which is scored as a whole; leave everything else out");
  if (TextTemplate(made.document, where + ": document").fields().empty())
    fail(Category::InvalidArgument, where, "its document holds no field; write document: \"{{text}}\"");
}

void check_target(const PromptTemplate& made, const std::string& where) {
  if (!made.choices.empty() || !made.choices_from.empty() || !made.choice.empty() || !made.continuation.empty())
    fail(Category::InvalidArgument, where, "has a target and choices; keep one of them");
  if (TextTemplate(made.target, where + ": target").fields().empty()) {
    fail(Category::InvalidArgument, where,
         "its target holds no field, so every row would have the same text to write; write target: \"{{field}}\"");
  }
}

// All choices of a row would read the same.
void check_wording(const PromptTemplate& made, const std::string& where) {
  if (made.choice.empty()) return;
  if (!contains(TextTemplate(made.choice, where + ": choice").fields(), kChoiceField))
    fail(Category::InvalidArgument, where, "its 'choice' does not hold {{choice}}, the item of '{}'",
         made.choices_from);
}

void check_choices(const PromptTemplate& made, const Task& task, const std::string& where) {
  const std::size_t count = made.choices.size();
  if (!made.choices_from.empty() && count > 0) {
    fail(Category::InvalidArgument, where, "has choices and choices_from; keep one of them");
  }
  TextTemplate(made.continuation, where + ": continuation");
  if (!made.choice.empty() && made.choices_from.empty())
    fail(Category::InvalidArgument, where, "'choice' words the items of choices_from; name that list, or leave it out");
  if (!made.choices_from.empty()) return check_wording(made, where);
  if (count == 0 && task.labels.empty())
    fail(Category::InvalidArgument, where, "needs choices, as the task lists no labels");
  if (count == 1) fail(Category::InvalidArgument, where, "needs at least two choices");
  if (count > 0 && !task.labels.empty() && count != task.labels.size()) {
    fail(Category::InvalidArgument, where, "has {} choices for {} labels; give one for each label, in the same order",
         count, task.labels.size());
  }
}

PromptTemplate read_template(const YamlNode& node, std::size_t index, const Task& task, Form form) {
  YamlMap map(node, fmt::format("template {}", index));
  PromptTemplate made;
  made.name = map.text("name", std::to_string(index));
  made.prompt = form == Form::Running ? map.text("prompt", "") : yaml_text(map.at("prompt"), "prompt");
  made.choices = map.texts("choices");
  made.choices_from = map.text("choices_from", "");
  made.choice = map.text("choice", "");
  made.continuation = map.text("continuation", "");
  if (form == Form::Text) made.target = yaml_text(map.at("target"), "target");
  if (form == Form::Running) made.document = yaml_text(map.at("document"), "document");
  map.finish();
  const std::string where = fmt::format("{}: template '{}'", node.where(), made.name);
  if (form == Form::Choices) check_choices(made, task, where);
  if (form == Form::Text) check_target(made, where);
  if (form == Form::Running) check_document(made, where);
  TextTemplate(made.prompt, where + ": prompt");
  for (const auto& choice : made.choices) TextTemplate(choice, where + ": choice '" + choice + "'");
  return made;
}

// Where the right choices are told by their texts, a template says whose.
void check_answers(const Task& task, const std::string& where) {
  if (task.answers_from.empty()) return;
  const std::string& list = task.templates.front().choices_from;
  const bool same = std::all_of(task.templates.begin(), task.templates.end(),
                                [&](const PromptTemplate& made) { return made.choices_from == list; });
  if (list.empty() || !same)
    fail(Category::InvalidArgument, where,
         "'answers_from' tells the right items of choices_from, which must name the same list in every template");
}

void read_templates(const YamlNode& node, Task& task) {
  if (node.kind != YamlNode::Kind::List || node.items.empty()) {
    fail(Category::InvalidArgument, node.where(), "'templates' must be a list with at least one template");
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    task.templates.push_back(read_template(node.items[i], i, task, form_of(node)));
    if (!names.insert(task.templates.back().name).second) {
      fail(Category::InvalidArgument, node.items[i].where(), "a second template is named '{}'",
           task.templates.back().name);
    }
  }
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

std::vector<std::string> fields_of(const Task& task, const std::vector<std::string>& sources) {
  std::set<std::string> used;
  for (const auto& source : sources) {
    for (const auto& field : TextTemplate(source, task.name).fields()) {
      const auto table = task.words.find(field);
      used.insert(table == task.words.end() ? field : table->second.field);
    }
  }
  return {used.begin(), used.end()};
}

}  // namespace

bool Task::has_classes() const {
  return has_choices() && right_list().empty() && labels_from.empty() &&
         std::all_of(templates.begin(), templates.end(),
                     [](const PromptTemplate& made) { return made.choices_from.empty(); });
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
  task.splits = read_splits(map.at("splits"));
  const YamlNode& templates = map.at("templates");
  switch (form_of(templates)) {
    case Form::Choices:
      read_classification(map, task);
      break;
    case Form::Text:
      read_generation(map, task);
      break;
    case Form::Running:
      read_running(map, task);
      break;
  }
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

std::vector<std::string> used_fields(const Task& task) {
  std::vector<std::string> sources;
  if (task.normalisation == "pmi") sources.push_back(task.neutral_prompt);
  for (const auto& made : task.templates) {
    sources.insert(sources.end(), {made.prompt, made.target, made.continuation, made.document});
    sources.insert(sources.end(), made.choices.begin(), made.choices.end());
  }
  const auto named = fields_of(task, sources);
  std::set<std::string> used(named.begin(), named.end());
  for (const auto& made : task.templates) {
    if (made.choices_from.empty()) continue;
    used.insert(made.choices_from + ".0");
    for (const auto& field : fields_of(task, {made.choice})) {
      if (field != kChoiceField) used.insert(field);
    }
  }
  used.insert(task.group_by.begin(), task.group_by.end());
  return {used.begin(), used.end()};
}

std::vector<std::string> prompt_fields(const Task& task) {
  std::vector<std::string> sources;
  for (const auto& made : task.templates) sources.push_back(made.prompt);
  return fields_of(task, sources);
}

}  // namespace graft
