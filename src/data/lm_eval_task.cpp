#include "data/lm_eval_task.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/suggest.h"
#include "data/lm_eval_decoding.h"
#include "data/lm_eval_documents.h"
#include "data/lm_eval_yaml.h"
#include "statistics/text_metric.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostIncludes = 32;  // files that include others

// Have no say in what is asked and how it is scored.
const std::vector<std::string> kPassedOver = {
    "task_alias",           "tag",          "group",        "metadata",
    "should_decontaminate", "dataset_path", "dataset_name", "doc_to_decontamination_query"};
// What they would change, and what to do.
const std::vector<std::pair<const char*, const char*>> kRefused = {
    {"process_docs", "changes the documents; write the changed documents to a file and leave it out"},
    {"process_results", "scores by a function; leave it out to score by 'metric_list'"},
    {"custom_dataset", "makes the documents; write them to a file and leave it out"},
    {"class", "is a task written in Python"},
    {"use_prompt", "takes its prompts from promptsource; write 'doc_to_text' out"},
    {"doc_to_image", "reads images"},
    {"doc_to_audio", "reads sound"},
    {"unsafe_code", "runs what a model writes"},
    {"gen_prefix", "begins the answer; end 'doc_to_text' with it"},
    {"aggregate_metric_list", "belongs to a list of tasks; name them one by one"}};
const std::vector<std::pair<std::string, std::string>> kNormalisationOf = {
    {"acc", "none"}, {"acc_norm", "chars"}, {"acc_bytes", "bytes"}, {"acc_mutual_info", "pmi"}};

bool has_key(const YamlNode& map, const char* key) {
  return std::find(map.keys.begin(), map.keys.end(), key) != map.keys.end();
}

const YamlNode& needed(YamlMap& map, const std::string& key) {
  const YamlNode& node = map.at(key);
  if (node.kind == YamlNode::Kind::Null) fail(Category::InvalidArgument, node.where(), "'{}' is empty", key);
  return node;
}

// In braces that stand for themselves in a template of graft's.
std::string literal(const std::string& text) {
  std::string made;
  for (const char character : text) {
    made += character;
    if (character == '{' || character == '}') made += character;
  }
  return made;
}

class LmEvalReader {
 public:
  LmEvalReader(const YamlNode& root, std::string text) : root_(root), map_(root, "the task of lm-evaluation-harness") {
    task_.text = std::move(text);
  }

  Task read() {
    refuse_what_is_not_known();
    read_name();
    read_splits();
    task_.format = "jsonl";
    task_.citation = "a task file of lm-evaluation-harness";
    output_ = text_or(map_, "output_type", "generate_until");
    const bool known =
        output_ == "multiple_choice" || output_ == "loglikelihood" || output_ == "generate_until" || rolls();
    if (!known)
      refuse(*map_.find("output_type"), "output_type: " + output_,
             "is none of multiple_choice, loglikelihood, loglikelihood_rolling and generate_until");
    read_in_context();
    read_documents();
    read_metrics();
    read_generation();
    map_.finish();
    return std::move(task_);
  }

 private:
  bool writes() const { return output_ != "multiple_choice" && !rolls(); }
  bool rolls() const { return output_ == "loglikelihood_rolling"; }

  void refuse_what_is_not_known() {
    if (const YamlNode* node = map_.find("include"))
      fail(Category::InvalidArgument, node->where(), "'include' names another file; give the path of the file itself");
    for (const auto& key : kPassedOver) map_.find(key);
    for (const auto& [key, why] : kRefused) {
      const YamlNode* node = given(map_, key);
      if (node != nullptr && !is_off(*node)) refuse(*node, key, why);
    }
    const YamlNode* repeats = given(map_, "repeats");
    if (repeats != nullptr && yaml_integer(*repeats, "repeats") != 1)
      refuse(*repeats, "repeats", "asks more than once");
  }

  void read_name() {
    const YamlNode& name = needed(map_, "task");
    if (name.kind == YamlNode::Kind::List) refuse(name, "task", "is a list of tasks; name them one by one");
    task_.name = yaml_text(name, "task");
    task_.description = text_or(map_, "dataset_path", task_.name);
    const std::string part = text_or(map_, "dataset_name", "");
    if (!part.empty()) task_.description += " " + part;
  }

  // The file of one of the data set's splits, in the folder that the user gives.
  std::string file_of(const std::string& split) {
    const std::string standard = split + ".*";
    const YamlNode* arguments = given(map_, "dataset_kwargs");
    if (arguments == nullptr) return standard;
    YamlMap known(*arguments, "dataset_kwargs");
    known.find("trust_remote_code");
    const YamlNode* files = given(known, "data_files");
    known.finish();
    if (files == nullptr) return standard;
    const YamlNode* file = files;
    if (files->kind == YamlNode::Kind::Map) {
      YamlMap splits(*files, "data_files");
      file = given(splits, split);
      if (file == nullptr) return standard;
    }
    const auto items = items_of(*file);
    if (items.size() != 1) refuse(*file, "data_files", "names several files; give them as one pattern with --data");
    const std::string path = yaml_text(*items.front(), "data_files");
    if (path.find("://") != std::string::npos) return standard;
    const bool leaves = path.starts_with('/') || path.find("..") != std::string::npos;
    if (path.empty() || leaves)
      refuse(*file, "data_files", "leads out of the data's folder; give the file with --data and leave it out");
    return path;
  }

  void read_splits() {
    const std::string test = text_or(map_, "test_split", ""), validation = text_or(map_, "validation_split", "");
    const std::string training = text_or(map_, "training_split", "");
    const std::string asked = !test.empty() ? test : validation;
    if (asked.empty())
      fail(Category::InvalidArgument, root_.where(), "the task names neither test_split nor validation_split");
    std::string shown = fewshot_split();
    if (shown.empty()) shown = !training.empty() ? training : test.empty() ? "" : validation;
    if (shown.empty() || shown == asked) {
      task_.splits["pool"] = file_of(asked);
      return;
    }
    task_.splits["train"] = file_of(shown);
    task_.splits[test.empty() ? "validation" : "test"] = file_of(asked);
  }

  std::string fewshot_split() {
    std::string split = text_or(map_, "fewshot_split", "");
    const YamlNode* config = given(map_, "fewshot_config");
    if (config == nullptr) return split;
    YamlMap known(*config, "fewshot_config");
    if (const YamlNode* own = given(known, "split")) split = yaml_text(*own, "split");
    known.find("sampler");
    for (std::size_t i = 0; i < config->keys.size(); ++i) {
      const std::string& key = config->keys[i];
      if (key != "split" && key != "sampler" && config->items[i].kind != YamlNode::Kind::Null)
        refuse(config->items[i], "fewshot_config: " + key, "gives demonstrations a form of their own");
    }
    return split;
  }

  void read_in_context() {
    InContext shown;
    shown.description = text_or(map_, "description", "");
    shown.as_is = true;
    if (shown.description.find("{{") != std::string::npos || shown.description.find("{%") != std::string::npos)
      refuse(*map_.find("description"), "description", "changes from document to document");
    shown.separator = text_or(map_, "fewshot_delimiter", "\n\n");
    if (const YamlNode* shots = given(map_, "num_fewshot")) shown.shots = yaml_integer(*shots, "num_fewshot");
    if (rolls()) shown.shots = 0;  // there it is read and has no say
    if (shown.shots < 0) fail(Category::InvalidArgument, map_.at("num_fewshot").where(), "'num_fewshot' is negative");
    if (const YamlNode* config = given(map_, "fewshot_config")) {
      YamlMap known(*config, "fewshot_config");
      const std::string sampler = text_or(known, "sampler", "default");
      if (sampler != "default" && sampler != "first_n")
        refuse(*known.find("sampler"), "sampler: " + sampler, "is neither default nor first_n");
      shown.first = sampler == "first_n";
    }
    task_.in_context = shown;
  }

  LmEvalField field(const std::string& key) {
    const YamlNode& node = needed(map_, key);
    if (node.kind == YamlNode::Kind::List) refuse(node, key, "is a list, the same for every document");
    return {yaml_text(node, key), context_of(node, key)};
  }

  // What stands in front of running text has no say there.
  void read_running_documents() {
    LmEvalTemplates made{field("doc_to_target"), field("doc_to_target"), std::nullopt, {}, "", false, true};
    for (const char* key : {"doc_to_text", "doc_to_choice", "target_delimiter"}) map_.find(key);
    PromptTemplate whole;
    whole.name = "doc_to_target";
    whole.document = "{document}";
    task_.templates = {whole};
    task_.documents = std::make_shared<const LmEvalDocuments>(std::move(made));
  }

  void read_documents() {
    if (rolls()) return read_running_documents();
    LmEvalTemplates made{field("doc_to_text"), field("doc_to_target"), std::nullopt, {}, "", writes(), false};
    // The harness puts no delimiter in front of the text of a log-likelihood.
    made.delimiter = output_ == "loglikelihood" ? "" : text_or(map_, "target_delimiter", " ");
    map_.find("target_delimiter");
    if (const YamlNode* choices = given(map_, "doc_to_choice")) read_choices(*choices, made);
    if (!writes() && !made.choice && made.fixed_choices.empty()) needed(map_, "doc_to_choice");
    task_.delimiter = made.delimiter;
    PromptTemplate prompt;
    prompt.name = "doc_to_text";
    prompt.prompt = "{prompt}";
    if (writes()) {
      prompt.target = "{target}";
      task_.references = kLmEvalTargets;
    } else {
      task_.label_field = "label";
      if (made.choice) prompt.choices_from = "choices";
      for (const auto& choice : made.fixed_choices) prompt.choices.push_back(literal(made.delimiter + choice));
      task_.labels = made.fixed_choices;
    }
    task_.templates = {prompt};
    task_.documents = std::make_shared<const LmEvalDocuments>(std::move(made));
  }

  static void read_choices(const YamlNode& node, LmEvalTemplates& made) {
    if (node.kind == YamlNode::Kind::Scalar) {
      made.choice.emplace(node.scalar, context_of(node, "doc_to_choice"));
      return;
    }
    for (const auto& item : node.items) made.fixed_choices.push_back(yaml_text(item, "doc_to_choice"));
    const std::set<std::string> distinct(made.fixed_choices.begin(), made.fixed_choices.end());
    if (distinct.size() != made.fixed_choices.size() || distinct.size() < 2)
      fail(Category::InvalidArgument, node.where(), "'doc_to_choice' needs at least two choices that differ");
  }

  void read_metrics() {
    const YamlNode* list = given(map_, "metric_list");
    if (rolls()) {
      task_.metrics = running_metrics();
    } else if (writes()) {
      task_.metrics = {"exact_match"};
    } else {
      task_.metrics = {"accuracy"};
      task_.normalisation = "none";
    }
    task_.neutral_prompt = "";  // of acc_mutual_info: the choice alone
    if (list == nullptr) return;
    if (list->kind != YamlNode::Kind::List || list->items.empty())
      fail(Category::InvalidArgument, list->where(), "'metric_list' must be a list: - metric: acc");
    std::vector<std::string> metrics;
    for (const auto& item : list->items) metrics.push_back(metric_of(item));
    if (output_ == "generate_until" || rolls()) task_.metrics = metrics;
    if (output_ == "multiple_choice") task_.normalisation = normalisation_of_metric(metrics.front());
  }

  std::string metric_of(const YamlNode& item) {
    YamlMap known(item, "metric_list");
    const YamlNode& node = known.at("metric");
    const std::string metric = yaml_text(node, "metric");
    for (std::size_t i = 0; i < item.keys.size(); ++i) {
      const std::string& key = item.keys[i];
      const bool heard =
          key == "metric" || key == "aggregation" || key == "higher_is_better" || key == "weight_by_size";
      if (heard || item.items[i].kind == YamlNode::Kind::Null || is_off(item.items[i])) continue;
      if (metric == "exact_match" && output_ == "generate_until" && map_.at("metric_list").items.size() == 1 &&
          read_lm_eval_ignored(key, item.items[i], task_.decoding))
        continue;
      refuse(item.items[i], "metric_list: " + key, "changes what " + metric + " compares");
    }
    const auto names = known_metrics();
    if (std::find(names.begin(), names.end(), metric) == names.end()) {
      fail(Category::Unsupported, node.where(), "metric '{}' of lm-evaluation-harness is not supported for {}{}",
           metric, output_, did_you_mean(metric, names));
    }
    return metric;
  }

  static std::vector<std::string> running_metrics() { return {"word_perplexity", "byte_perplexity", "bits_per_byte"}; }

  std::vector<std::string> known_metrics() const {
    if (rolls()) return running_metrics();
    if (output_ == "loglikelihood") return {"acc", "perplexity"};
    if (output_ == "generate_until") return text_metric_names();
    std::vector<std::string> names;
    for (const auto& pair : kNormalisationOf) names.push_back(pair.first);
    return names;
  }

  static std::string normalisation_of_metric(const std::string& metric) {
    for (const auto& [name, normalisation] : kNormalisationOf) {
      if (name == metric) return normalisation;
    }
    return "none";
  }

  void read_generation() {
    Decoding decoding = task_.decoding;
    read_lm_eval_decoding(given(map_, "generation_kwargs"), given(map_, "filter_list"), task_.in_context->separator,
                          decoding);
    task_.only_scored = output_ == "loglikelihood";
    if (output_ == "generate_until") task_.decoding = std::move(decoding);
  }

  const YamlNode& root_;
  YamlMap map_;
  Task task_;
  std::string output_;
};

YamlNode merged(const YamlNode& root, const fs::path& path, std::set<fs::path>& known) {
  const auto found = std::find(root.keys.begin(), root.keys.end(), "include");
  if (found == root.keys.end()) return root;
  const YamlNode& include = root.items[static_cast<std::size_t>(found - root.keys.begin())];
  std::error_code ignored;
  // Each once, as in the harness: a few files that include each other often would be read millions of times.
  if (known.size() >= kMostIncludes || !known.insert(fs::weakly_canonical(path, ignored)).second)
    fail(Category::InvalidArgument, include.where(), "the files include each other or one twice, or are more than {}",
         kMostIncludes);
  YamlNode whole = root;
  whole.keys.clear();
  whole.items.clear();
  const auto put = [&whole](const YamlNode& from, bool skips_task_list) {
    for (std::size_t i = 0; i < from.keys.size(); ++i) {
      if (from.keys[i] == "include" || (skips_task_list && from.keys[i] == "task_list")) continue;
      const auto place = std::find(whole.keys.begin(), whole.keys.end(), from.keys[i]);
      if (place != whole.keys.end()) {
        whole.items[static_cast<std::size_t>(place - whole.keys.begin())] = from.items[i];
      } else {
        whole.keys.push_back(from.keys[i]);
        whole.items.push_back(from.items[i]);
      }
    }
  };
  for (const YamlNode* item : items_of(include)) {
    const fs::path other = path.parent_path() / yaml_text(*item, "include");
    const YamlNode node = parse_yaml(read_file(other), other.string());
    if (node.kind != YamlNode::Kind::Map)
      fail(Category::InvalidArgument, other.string(), "is included and must be a map of keys and values");
    put(merged(node, other, known), true);
  }
  put(root, false);
  return whole;
}

}  // namespace

bool is_lm_eval_task(const YamlNode& root) {
  if (root.kind != YamlNode::Kind::Map || has_key(root, "templates")) return false;
  constexpr const char* kTheirs[] = {"doc_to_text", "doc_to_target", "output_type", "dataset_path", "include", "task"};
  return std::any_of(std::begin(kTheirs), std::end(kTheirs), [&](const char* key) { return has_key(root, key); });
}

YamlNode with_includes(const YamlNode& root, const fs::path& path) {
  std::set<fs::path> known;
  return merged(root, path, known);
}

Task lm_eval_task(const YamlNode& root, std::string text) {
  return LmEvalReader(root, std::move(text)).read();
}

}  // namespace graft
