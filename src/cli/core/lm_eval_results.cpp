#include "cli/core/lm_eval_results.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/hash.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string dumped(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

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

std::size_t characters_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

std::size_t bytes_of(const std::string& text) {
  return text.size();
}

std::size_t first_highest(const std::vector<double>& values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// mean_stderr() of the harness; "N/A" where it has none.
Json standard_error(const std::vector<double>& values) {
  if (values.size() < 2) return "N/A";
  const double center = mean(values), count = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - center) * (value - center);
  return std::sqrt(squares / (count - 1)) / std::sqrt(count);
}

std::vector<double> over_length(const std::vector<double>& sums, const std::vector<std::string>& choices,
                                std::size_t (*length)(const std::string&)) {
  std::vector<double> normalised;
  for (std::size_t c = 0; c < sums.size(); ++c)
    normalised.push_back(sums[c] / static_cast<double>(std::max<std::size_t>(1, length(choices[c]))));
  return normalised;
}

// As the harness has them: the delimiter stands in its configuration.
std::vector<std::string> plain_choices(const Example& question) {
  std::vector<std::string> plain;
  for (const auto& choice : question.choices) plain.push_back(choice.substr(question.delimiter_bytes));
  return plain;
}

using Scores = std::vector<std::pair<std::string, double>>;  // of one question, by the harness's names

Scores choice_scores_of(const EvalData& data, const EvalPass& pass, const Example& question, std::size_t q) {
  const auto& sums = pass.sums[q];
  const auto label = static_cast<std::size_t>(question.label);
  const auto hit = [&](const std::vector<double>& values) { return first_highest(values) == label ? 1.0 : 0.0; };
  Scores scores = {{"acc", hit(sums)}};
  const auto plain = plain_choices(question);
  scores.emplace_back("acc_norm", hit(over_length(sums, plain, characters_of)));
  scores.emplace_back("acc_bytes", hit(over_length(sums, plain, bytes_of)));
  if (data.task.normalisation == "pmi")
    scores.emplace_back("acc_mutual_info", pass.ranked[q].prediction == pass.ranked[q].label ? 1.0 : 0.0);
  return scores;
}

Scores scores_of(const EvalData& data, const EvalPass& pass, const Example& question, std::size_t q) {
  if (!data.task.generates()) return choice_scores_of(data, pass, question, q);
  return {{"perplexity", pass.sums[q].front()}, {"acc", pass.ranked[q].prediction == 1 ? 1.0 : 0.0}};
}

// What the harness would call a document: the question as it is asked, without what stands in front of it.
Json document_of(const EvalData& data, const Example& question) {
  Json document = {{"id", question.id}, {"where", question.where}, {"prompt", question.prompt}};
  if (data.task.generates()) {
    document["target"] = question.choices.front();
  } else {
    document["choices"] = plain_choices(question);
    document["label"] = question.label;
  }
  return document;
}

Json arguments_of(const EvalData& data, const std::string& prompt, const Example& question) {
  Json arguments = Json::object();
  const std::size_t count = data.task.generates() ? 1 : question.choices.size();
  for (std::size_t c = 0; c < count; ++c)
    arguments[fmt::format("gen_args_{}", c)] = {{"arg_0", prompt}, {"arg_1", question.choices[c]}};
  return arguments;
}

// [log-probability, whether greedy decoding writes it] as texts. Of choices the latter is not looked at.
Json responses_of(const EvalData& data, const EvalPass& pass, std::size_t q) {
  Json responses = Json::array();
  const std::size_t count = data.task.generates() ? 1 : pass.sums[q].size();
  const char* greedy = !data.task.generates() ? "None" : pass.ranked[q].prediction == 1 ? "True" : "False";
  for (std::size_t c = 0; c < count; ++c) responses.push_back(Json::array({Json(pass.sums[q][c]).dump(), greedy}));
  return responses;
}

// With the hashes by which the harness tells whether two runs asked the same.
Json sample_of(const EvalData& data, const EvalPass& pass, const Example& question, const std::string& prompt,
               std::size_t q) {
  const Json document = document_of(data, question);
  const std::string target = data.task.generates() ? question.choices.front() : std::to_string(question.label);
  const Json responses = responses_of(data, pass, q);
  Json each = Json::array();
  for (const auto& response : responses) each.push_back(Json::array({response}));
  Json sample = {{"doc_id", q},
                 {"doc", document},
                 {"target", target},
                 {"arguments", arguments_of(data, prompt, question)},
                 {"resps", each},
                 {"filtered_resps", responses},
                 {"filter", "none"},
                 {"metrics", Json::array()},
                 {"doc_hash", sha256(dumped(document, 2))},
                 {"prompt_hash", sha256(prompt)},
                 {"target_hash", sha256(target)}};
  for (const auto& score : scores_of(data, pass, question, q)) {
    sample["metrics"].push_back(score.first);
    sample[score.first] = score.second;
  }
  return sample;
}

// Scores over the questions, with the harness's aggregation.
Json metrics_of(const EvalData& data, const EvalPass& pass) {
  std::vector<std::pair<std::string, std::vector<double>>> values;
  const auto& questions = data.questions[pass.place];
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const Scores scores = scores_of(data, pass, questions[q], q);
    values.resize(scores.size());
    for (std::size_t m = 0; m < scores.size(); ++m) {
      values[m].first = scores[m].first;
      values[m].second.push_back(scores[m].second);
    }
  }
  Json metrics = {{"name", data.task.name}, {"alias", data.task.name}, {"sample_len", data.count()}};
  for (const auto& [metric, all] : values) {
    const bool perplexity = metric == "perplexity";
    metrics[metric + ",none"] = perplexity ? std::exp(-mean(all)) : mean(all);
    metrics[metric + "_stderr,none"] = perplexity ? Json("N/A") : standard_error(all);
  }
  return metrics;
}

Json directions_of(const Json& metrics) {
  Json directions = Json::object();
  for (const auto& [key, value] : metrics.items()) {
    const std::string name = key.substr(0, key.find(','));
    if (key.ends_with(",none") && !name.ends_with("_stderr")) directions[name] = name != "perplexity";
  }
  return directions;
}

// A configuration with which the harness itself would read the documents of the samples.
Json config_of(const EvalData& data, const EvalRow& row, const PromptLayout& layout, const std::string& template_name,
               const Json& directions) {
  Json config = {{"task", data.task.name},
                 {"output_type", data.task.generates() ? "loglikelihood" : "multiple_choice"},
                 {"doc_to_text", "prompt"},
                 {"doc_to_target", data.task.generates() ? "target" : "label"}};
  if (!data.task.generates()) config["doc_to_choice"] = "choices";
  config["description"] = instruction_text(layout);
  config["target_delimiter"] = data.task.generates() ? "" : data.task.delimiter;
  config["fewshot_delimiter"] = layout.separator;
  config["num_fewshot"] = row.shots;
  config["metric_list"] = Json::array();
  for (const auto& [name, higher] : directions.items())
    config["metric_list"].push_back({{"metric", name}, {"higher_is_better", higher}});
  config["repeats"] = 1;
  config["should_decontaminate"] = false;
  config["metadata"] = {{"version", sha256(data.task.text).substr(0, 12)},
                        {"template", template_name},
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
  results["git_hash"] = nullptr;
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
    const Json sample = sample_of(data, pass, questions[q], prompt, q);
    samples.write(dumped(sample) + "\n");
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
  const Json metrics = metrics_of(data, pass);
  const Json directions = directions_of(metrics);
  const Json config = config_of(data, row, layout, pass.template_name, directions);
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
    // An adapter reads its prompts as in training.
    const PromptLayout layout = row.adapter == nullptr ? settings.layout : PromptLayout{};
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
    write_file(folder_ / as_file_name(name) / fmt::format("results_{}.json", time_), dumped(results, 2) + "\n");
  }
}

}  // namespace graft
