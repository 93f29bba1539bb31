#include "cli/core/lm_eval_results.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <span>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/hash.h"
#include "cli/core/lm_eval_samples.h"
#include "statistics/text_metric.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// The harness's sanitize_model_name(), spaces too: it names a folder.
std::string as_file_name(const std::string& text) {
  std::string name;
  for (const char character : text) {
    const bool taken = std::string_view("\"<>:/|\\?*[] ").find(character) != std::string_view::npos;
    if (!taken) name += character;
    if (taken && !name.ends_with("__")) name += "__";
  }
  return name;
}

Json directions_of(const Json& metrics) {
  Json directions = Json::object();
  for (const auto& [key, value] : metrics.items()) {
    const std::string name = key.substr(0, key.find(','));
    if (key.ends_with(",none") && !name.ends_with("_stderr"))
      directions[name] = is_text_metric(name) ? text_metric(name).higher_is_better
                                              : !name.ends_with("perplexity") && name != "bits_per_byte";
  }
  return directions;
}

// As graft's own tasks compare texts.
Json space_filter() {
  Json steps = Json::array();
  for (const char* function : {"remove_whitespace", "take_first"})
    steps.push_back(Json::object({{"function", function}}));
  Json filter = Json::object();
  filter["name"] = "none";
  filter["filter"] = steps;
  Json filters = Json::array();
  filters.push_back(filter);
  return filters;
}

const char* type_of(const EvalData& data) {
  if (data.task.rolls()) return "loglikelihood_rolling";
  if (data.writes) return "generate_until";
  return data.task.generates() ? "loglikelihood" : "multiple_choice";
}

// A configuration with which the harness itself would read the documents of the samples.
Json config_of(const EvalData& data, const EvalRow& row, const EvalPass& pass, const PromptLayout& layout,
               const Json& directions) {
  const bool partial = is_partial(data.questions.front().front());
  Json config = {{"task", data.task.name},
                 {"output_type", type_of(data)},
                 {"doc_to_text", data.task.rolls() ? ""
                                 : partial         ? "label"
                                                   : "prompt"},
                 {"doc_to_target", !data.task.has_choices() || partial ? "target" : "label"}};
  if (data.task.has_choices()) config["doc_to_choice"] = "choices";
  if (data.writes) {
    config["generation_kwargs"] = lm_eval_generation(pass);
    if (data.task.documents == nullptr) config["filter_list"] = space_filter();
  }
  config["description"] = instruction_text(layout);
  config["target_delimiter"] = !data.task.has_choices() || partial ? "" : data.task.delimiter;
  config["fewshot_delimiter"] = layout.separator;
  config["num_fewshot"] = row.shots;
  config["metric_list"] = Json::array();
  for (const auto& [name, higher] : directions.items())
    config["metric_list"].push_back({{"metric", name}, {"higher_is_better", higher}});
  config["repeats"] = 1;
  config["should_decontaminate"] = false;
  config["metadata"] = {{"version", sha256(data.task.text).substr(0, 12)},
                        {"template", pass.template_name},
                        {"normalisation", data.task.normalisation},
                        {"data", data.path}};
  return config;
}

// "0-shot", "8-shot seed 3", "8-shot colon", "8-shot seed 3 order 1"
std::string name_of(const EvalData& data, const EvalRow& row, const EvalPass& pass) {
  std::string name = row.name;
  if (data.templates.size() > 1) name += " " + pass.template_name;
  if (row.passes.size() > data.templates.size()) name += fmt::format(" seed {}", pass.seed);
  const bool ordered =
      std::any_of(row.passes.begin(), row.passes.end(), [](const EvalPass& other) { return other.order > 0; });
  if (ordered) name += fmt::format(" order {}", pass.order);
  return name;
}

// The question as the model read it, with what of the demonstrations fitted.
std::string whole_prompt(const Demonstrator& demonstrator, const PromptLayout& layout, const Example& question,
                         std::int64_t dropped) {
  const auto shown = demonstrator.before(question);
  const auto kept = shown.size() - static_cast<std::size_t>(dropped);
  return prompt_behind(layout, std::span(shown).last(kept), question.prompt);
}

}  // namespace

LmEvalResults::LmEvalResults(fs::path folder, Json head, std::chrono::system_clock::time_point started)
    : folder_(std::move(folder)),
      head_(std::move(head)),
      started_(started),
      time_(fmt::format("{:%Y-%m-%dT%H-%M-%S}", fmt::gmtime(std::chrono::system_clock::to_time_t(started)))) {}

LmEvalResults::Setting& LmEvalResults::setting_of(const EvalRow& row, const EvalPass& pass, const std::string& name) {
  const auto [found, fresh] = settings_.emplace(name, Setting{});
  if (!fresh) return found->second;
  Json& results = found->second.results;
  const Json& model = head_.at("model");
  const std::string path = model.at("path").get<std::string>();
  for (const char* part :
       {"results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples"})
    results[part] = Json::object();
  std::string arguments = fmt::format("pretrained={},dtype={}", path, model.at("dtype").get<std::string>());
  if (row.adapter != nullptr) arguments += ",peft=" + row.adapter->path;
  const Json& limit = head_.at("settings").at("eval_rows");
  results["config"] = {{"model", "graft"},
                       {"model_args", arguments},
                       {"model_num_parameters", model.at("parameters")},
                       {"model_dtype", model.at("dtype")},
                       {"model_sha", model.at("sha256")},
                       {"batch_size", nullptr},
                       {"device", nullptr},
                       {"limit", limit == 0 ? Json() : limit},
                       {"bootstrap_iters", 0},
                       {"gen_kwargs", nullptr},
                       {"fewshot_seed", pass.seed}};
  results["graft_version"] = head_.at("graft");
  results["git_hash"] = head_.at("commit");
  results["date"] = std::chrono::duration<double>(started_.time_since_epoch()).count();
  results["task_hashes"] = Json::object();
  results["model_source"] = "graft";
  results["model_name"] = path;
  results["model_name_sanitized"] = as_file_name(path);
  for (const char* absent : {"system_instruction", "system_instruction_sha", "chat_template", "chat_template_sha"})
    results[absent] = nullptr;
  results["fewshot_as_multiturn"] = false;
  return found->second;
}

// Gives the hashes of all samples behind each other.
std::string LmEvalResults::write_samples(const EvalData& data, const EvalPass& pass, const PromptLayout& layout,
                                         const Demonstrator& demonstrator, const std::string& setting) const {
  const auto& questions = data.questions[pass.place];
  std::string hashes;
  AtomicFile samples(folder_ / as_file_name(setting) /
                     fmt::format("samples_{}_{}.jsonl", as_file_name(data.task.name), time_));
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const std::string prompt = whole_prompt(demonstrator, layout, questions[q], pass.dropped[q]);
    const Json sample = lm_eval_sample(data, pass, questions[q], prompt, q);
    samples.write(lm_eval_dump(sample) + "\n");
    for (const char* hash : {"doc_hash", "prompt_hash", "target_hash"}) hashes += sample.at(hash).get<std::string>();
  }
  samples.commit();
  return hashes;
}

void LmEvalResults::add_pass(const EvalData& data, const EvalRow& row, const EvalPass& pass, const PromptLayout& layout,
                             const Demonstrator& demonstrator) {
  const std::string name = name_of(data, row, pass);
  const std::string& task = data.task.name;
  Setting& setting = setting_of(row, pass, name);
  setting.seconds += pass.seconds;
  Json& results = setting.results;
  results["task_hashes"][task] = sha256(write_samples(data, pass, layout, demonstrator, name));
  const Json metrics = lm_eval_metrics(data, pass);
  const Json directions = directions_of(metrics);
  const Json config = config_of(data, row, pass, layout, directions);
  results["results"][task] = metrics;
  results["configs"][task] = config;
  results["versions"][task] = config.at("metadata").at("version");
  results["n-shot"][task] = row.shots;
  results["higher_is_better"][task] = directions;
  results["n-samples"][task] = {{"original", data.held_out}, {"effective", data.count()}};
}

void LmEvalResults::add(const EvalData& data, const EvalSettings& settings, const Tokenizer& tokenizer,
                        const std::vector<EvalRow>& rows) {
  for (const EvalRow& row : rows) {
    // The harness has no calibrated answers: its scores would be those of the row before once more.
    if (row.calibrated) continue;
    const PromptLayout layout = layout_of(row, settings);
    for (const EvalPass& pass : row.passes) {
      const auto seed = static_cast<std::uint64_t>(pass.seed);
      const Demonstrator drawn(data, settings, tokenizer, data.templates[pass.place], row.shots, seed);
      const auto orders = demonstration_orders(drawn.ids().size(), pass.order + 1, seed);
      add_pass(data, row, pass, layout, pass.order == 0 ? drawn : drawn.reordered(orders.back()));
    }
  }
}

void LmEvalResults::finish() const {
  for (const auto& [name, setting] : settings_) {
    Json results = setting.results;
    results["total_evaluation_time_seconds"] = Json(setting.seconds).dump();  // a text, as the harness has it
    write_file(folder_ / as_file_name(name) / fmt::format("results_{}.json", time_), lm_eval_dump(results, 2) + "\n");
  }
}

}  // namespace graft
