#include "config/run_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/suggest.h"
#include "checkpoint/weight_format.h"
#include "config/shipped.h"
#include "config/yaml.h"

namespace graft {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kMaxCount = 1'000'000'000;
constexpr std::string_view kMethod = "method.name";
constexpr std::string_view kOptions = "method.options";
constexpr std::string_view kMixture = "task.mixture";

// What a setting accepts. Words limit a text; the bounds limit a number.
struct Rule {
  std::vector<std::string> words;
  double low = -kInfinity;
  double high = kInfinity;
  bool above_low = false;
  bool below_high = false;
};

Rule any() {
  return {};
}
Rule one_of(std::vector<std::string> words) {
  Rule rule;
  rule.words = std::move(words);
  return rule;
}
Rule between(double low, double high) {
  Rule rule;
  rule.low = low;
  rule.high = high;
  return rule;
}
Rule above(double low, double high) {
  Rule rule = between(low, high);
  rule.above_low = true;
  return rule;
}
Rule from_below(double low, double high) {
  Rule rule = between(low, high);
  rule.below_high = true;
  return rule;
}

// The one list. `visit(reference to the value, name, rule, explanation)`.
template <typename Config, typename Visit>
void visit_fields(Config& c, Visit&& visit) {
  visit(c.model.path, "model.path", any(), "model folder, .safetensors or .gguf file");
  visit(c.model.dtype, "model.dtype", one_of({"auto", "float32", "bfloat16"}), "type of the base weights in memory");
  visit(c.model.weights, "model.weights", one_of(weight_names()),
        "how the base's matrices are kept: dense; packed, frozen in the blocks of a GGUF file; or in blocks of this "
        "type, "
        "quantised while loading: less memory");
  visit(c.method.name, "method.name", any(),
        "how the model is adapted, one of `graft list` or several: [lora, bitfit], lora+bitfit");
  visit(c.method.options, "method.options", any(),
        "settings of the method, e.g. rank, alpha, roles; of several: {lora: {rank: 4}}");
  visit(c.method.start_from, "method.start_from", any(),
        "an adapter of this method whose values training begins with; empty: fresh ones");
  visit(c.task.name, "task.name", any(),
        "a shipped task or the path of a task YAML; empty: text_column and label_column");
  visit(c.task.mixture, "task.mixture", any(), "several tasks and their data, instead of one: {rte: rte/, cb: cb/}");
  visit(c.data.path, "data.path", any(), "file or folder with the rows");
  visit(c.data.text_column, "data.text_column", any(), "column with the text, for data without a task YAML");
  visit(c.data.label_column, "data.label_column", any(), "column with the label, for data without a task YAML");
  visit(c.data.prompt_column, "data.prompt_column", any(), "column with the prompt, for data without a task YAML");
  visit(c.data.target_column, "data.target_column", any(), "column with the text to write after it");
  visit(c.data.train_split, "data.train_split", one_of({"train", "validation", "test"}),
        "split of the task that trains");
  visit(c.data.held_out_split, "data.held_out_split", one_of({"", "train", "validation", "test"}),
        "split that is held out; empty: validation, else test");
  visit(c.data.held_out_share, "data.held_out_share", from_below(0, 1),
        "of data in one pool with shots 0: share of each class that is held out, at most 200 rows; 0: all rows train");
  visit(c.data.shots, "data.shots", between(0, kMaxCount),
        "training examples of each class (in total where the task has no classes); 0: all rows");
  visit(c.data.balanced, "data.balanced", any(),
        "whether data.shots counts those of each class; false: all together, drawn whatever their labels");
  visit(c.data.seed, "data.seed", between(0, kMaxCount), "seed of the few-shot sample");
  visit(c.data.eval_rows, "data.eval_rows", between(0, kMaxCount),
        "held-out rows to evaluate, of a generation task held-out prompts; 0: all");
  visit(c.data.max_prompt_tokens, "data.max_prompt_tokens", between(0, kMaxCount),
        "longer prompts lose their beginning; 0: the model's context, or 1024 for a model without one (T5)");
  visit(c.data.mixture_cap, "data.mixture_cap", between(0, kMaxCount),
        "training examples of one task of a mixture at most, each template's counted; 0: all");
  visit(c.data.prompt_template, "data.template", any(),
        "prompt template of the task: its number from 0 or its name; all: drawn anew for each example and epoch, "
        "evaluated in each");
  visit(c.objective.name, "objective.name", one_of({"auto", "tfew", "lm"}),
        "what is minimised: tfew, the T-Few losses below over choices; lm, the mean cross-entropy of the right text's "
        "tokens; auto: lm for a generation task, else tfew");
  visit(c.objective.label_smoothing, "objective.label_smoothing", from_below(0, 1),
        "lm: share of each target that is spread over the vocabulary");
  visit(c.objective.lm, "objective.lm", any(), "tfew: language model loss of the right choice");
  visit(c.objective.lm_weight, "objective.lm_weight", between(0, 1e6), "its weight");
  visit(c.objective.unlikelihood, "objective.unlikelihood", any(), "unlikelihood loss of the wrong choices");
  visit(c.objective.unlikelihood_weight, "objective.unlikelihood_weight", between(0, 1e6), "its weight");
  visit(c.objective.unlikelihood_variant, "objective.unlikelihood_variant", one_of({"paper", "authors"}),
        "the formula of the T-Few paper or that of its authors' code");
  visit(c.objective.length_norm, "objective.length_norm", any(), "softmax over length-normalised choice scores");
  visit(c.objective.length_norm_weight, "objective.length_norm_weight", between(0, 1e6), "its weight");
  visit(c.optimizer.name, "optimizer.name", one_of({"adafactor", "adamw"}), "the optimiser");
  visit(c.optimizer.lr, "optimizer.lr", above(0, 10), "highest learning rate");
  visit(c.optimizer.weight_decay, "optimizer.weight_decay", between(0, 1), "decoupled weight decay");
  visit(c.optimizer.beta1, "optimizer.beta1", from_below(0, 1), "AdamW: decay of the mean");
  visit(c.optimizer.beta2, "optimizer.beta2", from_below(0, 1), "AdamW: decay of the mean square");
  visit(c.optimizer.eps, "optimizer.eps", above(0, 1), "AdamW: added to the root of the mean square");
  visit(c.optimizer.scale_parameter, "optimizer.scale_parameter", any(),
        "Adafactor: a tensor's learning rate is times its root mean square, at least 0.001");
  visit(c.optimizer.clip_norm, "optimizer.clip_norm", between(0, 1e9),
        "largest norm of all gradients together; 0: no limit");
  visit(c.optimizer.schedule, "optimizer.schedule", one_of({"linear", "constant", "cosine"}),
        "learning rate after the warm-up");
  visit(c.optimizer.warmup_steps, "optimizer.warmup_steps", between(0, kMaxCount),
        "steps in which the learning rate rises");
  visit(c.train.steps, "train.steps", between(1, kMaxCount), "optimiser steps");
  visit(c.train.batch_size, "train.batch_size", between(1, 1e6), "examples of one forward pass");
  visit(c.train.accumulation, "train.accumulation", between(1, 1e6), "forward passes of one step");
  visit(c.train.precision, "train.precision", one_of({"float32", "bfloat16"}), "type of the computation");
  visit(c.train.eval_every, "train.eval_every", between(0, kMaxCount), "steps between evaluations; 0: only at the end");
  visit(c.train.save_every, "train.save_every", between(0, kMaxCount),
        "steps between states to resume from; 0: every 10");
  visit(c.train.best_metric, "train.best_metric",
        one_of({"auto", "accuracy", "balanced_accuracy", "macro_f1", "loss", "last"}),
        "which checkpoint becomes the adapter; last: the newest; auto: accuracy, for a generation task loss");
  visit(c.train.seed, "train.seed", between(0, kMaxCount), "seed of initialisation, order and dropout");
  visit(c.train.checkpoint_layers, "train.checkpoint_layers", any(),
        "compute layers again in the backward pass: less memory");
  visit(c.generation.max_new_tokens, "generation.max_new_tokens", between(0, 1e6),
        "generation task: longest text of a held-out prompt, in tokens; 0: what the task says, or 100");
  visit(c.generation.beams, "generation.beams", between(1, 1000), "beams of the search; 1: greedy");
  visit(c.generation.length_penalty, "generation.length_penalty", between(-100, 100),
        "beams: scores are divided by length to this power; above 0 favours longer texts");
  visit(c.generation.no_repeat_ngram, "generation.no_repeat_ngram", between(0, 1000),
        "no n-gram of so many tokens twice in a text (in a decoder, its prompt included); 0: no rule");
  visit(c.generation.early_stopping, "generation.early_stopping", one_of({"false", "true", "never"}),
        "beams: true: stop at as many texts as beams; false: when better ones are unlikely; never: when impossible");
  visit(c.run.output, "run.output", any(), "the run folder");
  visit(c.run.threads, "run.threads", between(0, 4096), "processor threads; 0: all cores");
}

std::string bounds(const char* kind, const Rule& rule) {
  if (rule.low == -kInfinity && rule.high == kInfinity) return kind;
  return fmt::format("{} in {}{}, {}{}", kind, rule.above_low ? '(' : '[', rule.low, rule.high,
                     rule.below_high ? ')' : ']');
}

std::string expected_of(const std::string&, const Rule& rule) {
  return rule.words.empty() ? "text" : fmt::format("one of {}", fmt::join(rule.words, ", "));
}
std::string expected_of(bool, const Rule&) {
  return "true or false";
}
std::string expected_of(std::int64_t, const Rule& rule) {
  return bounds("a whole number", rule);
}
std::string expected_of(double, const Rule& rule) {
  return bounds("a number", rule);
}
std::string expected_of(const std::map<std::string, std::string>&, const Rule&) {
  return "a map of names and values";
}

[[noreturn]] void out_of_range(const YamlNode& node, const std::string& name, const std::string& expected) {
  fail(Category::InvalidArgument, node.where(), "'{}' must be {}, it is '{}'", name, expected, node.scalar);
}

void read(std::string& value, const YamlNode& node, const std::string& name, const Rule& rule) {
  // An empty setting is the same as an empty text: `path:`.
  const std::string text = node.kind == YamlNode::Kind::Null ? "" : yaml_text(node, name);
  if (!rule.words.empty() && std::find(rule.words.begin(), rule.words.end(), text) == rule.words.end()) {
    const std::string close = nearest(text, rule.words);
    out_of_range(node, name, expected_of(text, rule) + (close.empty() ? "" : " (did you mean '" + close + "'?)"));
  }
  value = text;
}

void read(bool& value, const YamlNode& node, const std::string& name, const Rule&) {
  value = yaml_bool(node, name);
}

template <typename Number>
void check_bounds(Number value, const YamlNode& node, const std::string& name, const Rule& rule) {
  const double number = static_cast<double>(value);
  const bool inside = (rule.above_low ? number > rule.low : number >= rule.low) &&
                      (rule.below_high ? number < rule.high : number <= rule.high);
  if (!inside) out_of_range(node, name, expected_of(value, rule));
}

void read(std::int64_t& value, const YamlNode& node, const std::string& name, const Rule& rule) {
  const std::int64_t number = yaml_integer(node, name);
  check_bounds(number, node, name, rule);
  value = number;
}

void read(double& value, const YamlNode& node, const std::string& name, const Rule& rule) {
  const double number = yaml_number(node, name);
  check_bounds(number, node, name, rule);
  value = number;
}

// The options arrive one by one through assign_option.
void read(std::map<std::string, std::string>&, const YamlNode& node, const std::string& name, const Rule&) {
  if (node.kind == YamlNode::Kind::Null) return;
  fail(Category::InvalidArgument, node.where(), "'{}' must be a map of names and values", name);
}

// An entry of task.mixture.
void assign_task(RunConfig& config, const std::string& task, const YamlNode& node) {
  config.task.mixture[task] = yaml_text(node, fmt::format("{}.{}", kMixture, task));
}

void assign_option(RunConfig& config, const std::string& option, const YamlNode& node) {
  const std::string name = fmt::format("{}.{}", kOptions, option);
  config.method.options[option] = node.kind == YamlNode::Kind::List
                                      ? fmt::format("{}", fmt::join(yaml_texts(node, name), ","))
                                      : yaml_text(node, name);
}

bool is_group(const std::string& name, const std::vector<std::string>& known) {
  return std::any_of(known.begin(), known.end(), [&](const auto& field) { return field.starts_with(name + "."); });
}

void assign(RunConfig& config, const std::string& name, const YamlNode& node) {
  if (name.starts_with(std::string(kOptions) + "."))
    return assign_option(config, name.substr(kOptions.size() + 1), node);
  if (name.starts_with(std::string(kMixture) + ".")) return assign_task(config, name.substr(kMixture.size() + 1), node);
  if (name == kMethod && node.kind == YamlNode::Kind::List) {
    config.method.name = fmt::format("{}", fmt::join(yaml_texts(node, name), "+"));
    return;
  }
  std::vector<std::string> known;
  bool found = false;
  visit_fields(config, [&](auto& value, const char* field, const Rule& rule, const char*) {
    known.emplace_back(field);
    if (name != field) return;
    found = true;
    read(value, node, name, rule);
  });
  if (found || (node.kind == YamlNode::Kind::Null && is_group(name, known))) return;
  if (is_group(name, known))
    fail(Category::InvalidArgument, node.where(), "'{}' is a group of settings, not a value", name);
  const std::string close = nearest(name, known);
  fail(Category::InvalidArgument, node.where(), "unknown setting '{}'{}", name,
       close.empty() ? "; `graft tune --help` lists them all" : fmt::format(" (did you mean '{}'?)", close));
}

// A method's option may be a list or a map, and its name a list, which are read as in a file; any other text is the
// value itself, whatever YAML would make of it.
YamlNode value_node(const std::string& name, const std::string& text, const std::string& context) {
  for (const auto& [open, close] : {std::pair('[', ']'), std::pair('{', '}')}) {
    const bool structured = name.starts_with("method.") || name == kMixture;
    if (!structured || !text.starts_with(open)) continue;
    if (!text.ends_with(close)) fail(Category::InvalidArgument, context, "there is no closing '{}'", close);
    return parse_yaml(text, context);
  }
  YamlNode value;
  value.kind = YamlNode::Kind::Scalar;
  value.scalar = text;
  value.file = std::make_shared<const std::string>(context);
  return value;
}

void assign_tree(RunConfig& config, const std::string& prefix, const YamlNode& node) {
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const std::string name = prefix.empty() ? node.keys[i] : prefix + "." + node.keys[i];
    if (node.items[i].kind == YamlNode::Kind::Map) {
      assign_tree(config, name, node.items[i]);
    } else {
      assign(config, name, node.items[i]);
    }
  }
}

std::string written(const std::string& value) {
  return yaml_quoted(value);
}
std::string written(bool value) {
  return value ? "true" : "false";
}
std::string written(std::int64_t value) {
  return std::to_string(value);
}
std::string written(double value) {
  return fmt::format("{}", value);
}
std::string written(const std::map<std::string, std::string>& options) {
  std::vector<std::string> pairs;
  for (const auto& [key, value] : options) pairs.push_back(yaml_quoted(key) + ": " + yaml_quoted(value));
  return fmt::format("{{{}}}", fmt::join(pairs, ", "));
}

// One spelling of a place. Names that are no paths, as a shipped task's, stay apart in the same way.
std::string normal_place(const std::string& text) {
  if (text.empty()) return text;
  std::error_code ignored;
  std::filesystem::path whole = std::filesystem::absolute(text, ignored).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();  // "tiny/"
  return whole.string();
}

struct WrittenSetting {
  std::string name, text, compared;
};

std::vector<WrittenSetting> written_settings(const RunConfig& config) {
  RunConfig places = config;
  for (std::string* path : {&places.model.path, &places.method.start_from, &places.task.name, &places.data.path})
    *path = normal_place(*path);
  places.task.mixture.clear();
  for (const auto& [task, data] : config.task.mixture) places.task.mixture[normal_place(task)] = normal_place(data);
  std::vector<WrittenSetting> settings;
  visit_fields(config, [&](const auto& value, const char* name, const Rule&, const char*) {
    settings.push_back({name, written(value), ""});
  });
  std::size_t at = 0;
  visit_fields(places, [&](const auto& value, const char*, const Rule&, const char*) {
    settings[at++].compared = written(value);
  });
  return settings;
}

}  // namespace

bool RunConfig::operator==(const RunConfig& other) const {
  return write_run_config(*this) == write_run_config(other);
}

std::vector<RunField> run_fields() {
  std::vector<RunField> fields;
  const RunConfig standard;
  visit_fields(standard, [&](const auto& value, const char* name, const Rule& rule, const char* doc) {
    fields.push_back({name, expected_of(value, rule), written(value), doc});
  });
  return fields;
}

RunConfig parse_run_config(std::string_view yaml, const std::string& file, RunConfig base) {
  const YamlNode root = parse_yaml(yaml, file);
  return with_settings(root, std::move(base));
}

RunConfig load_recipe(const std::string& path_or_name, RunConfig base) {
  const auto path = find_yaml("recipes", path_or_name);
  return parse_run_config(read_file(path), path.string(), std::move(base));
}

RunConfig with_settings(const YamlNode& settings, RunConfig base) {
  if (settings.kind == YamlNode::Kind::Null) return base;
  if (settings.kind != YamlNode::Kind::Map)
    fail(Category::InvalidArgument, settings.where(), "must be a map of settings, as in a recipe");
  RunConfig named = base;
  assign_tree(named, "", settings);
  choose_method(base, named.method.name);
  assign_tree(base, "", settings);
  return base;
}

void choose_method(RunConfig& config, const std::string& name) {
  if (name.empty() || name == config.method.name) return;
  config.method.name = name;
  config.method.options.clear();
  config.method.start_from.clear();
}

void set_run_field(RunConfig& config, const std::string& assignment) {
  const std::string context = "--set " + assignment;
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    fail(Category::InvalidArgument, context, "must be key=value, e.g. optimizer.lr=1e-3");
  }
  const std::string name = assignment.substr(0, equals);
  const YamlNode node = value_node(name, assignment.substr(equals + 1), context);
  node.kind == YamlNode::Kind::Map ? assign_tree(config, name, node) : assign(config, name, node);
}

std::string write_run_config(const RunConfig& config) {
  std::string text;
  std::string group;
  visit_fields(config, [&](const auto& value, const char* field, const Rule&, const char*) {
    const std::string name = field;
    const std::size_t dot = name.find('.');
    if (name.substr(0, dot) != group) {
      group = name.substr(0, dot);
      text += group + ":\n";
    }
    text += fmt::format("  {}: {}\n", name.substr(dot + 1), written(value));
  });
  return text;
}

std::optional<SettingDifference> first_difference(const RunConfig& before, const RunConfig& now) {
  const auto then = written_settings(before), here = written_settings(now);
  for (std::size_t i = 0; i < then.size(); ++i) {
    if (then[i].name == "run.output" || then[i].compared == here[i].compared) continue;
    return SettingDifference{then[i].name, then[i].text, here[i].text};
  }
  return std::nullopt;
}

}  // namespace graft
