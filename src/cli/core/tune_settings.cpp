#include "cli/core/tune_settings.h"

#include <set>

#include "adapters/core/peft.h"
#include "base/error.h"
#include "base/json_text.h"
#include "base/rng.h"
#include "cli/core/placed_tensors.h"

namespace graft {
namespace {

constexpr const char* kInitText = "init_text";

bool begins_from_labels(const nlohmann::json& options, const Method& method) {
  return options.contains("init") && options.at("init") == "labels" &&
         std::string(method.options).find("|labels") != std::string::npos;
}

// The different choices of the examples, as the model reads them; in the order in which they come.
nlohmann::json labels_of(const std::vector<Example>& examples, const Tokenizer& tokenizer) {
  std::set<std::string> seen;
  nlohmann::json labels = nlohmann::json::array();
  for (const auto& example : examples) {
    if (example.writes)
      fail(Category::InvalidArgument, "method.options.init",
           "labels are a task's choices, and this task has a text to write; choose vocabulary");
    for (const auto& choice : example.choices) {
      if (seen.insert(choice).second) labels.push_back(tokenizer.encode(choice, false));
    }
  }
  return labels;
}

// A method sees token ids and no words.
nlohmann::json with_token_ids(nlohmann::json options, const Method& method, const Job& job) {
  const Tokenizer& tokenizer = *job.tokenizer;
  if (begins_from_labels(options, method)) options["init_labels"] = labels_of(job.train, tokenizer);
  if (!options.contains(kInitText) || std::string(method.options).find(kInitText) == std::string::npos) return options;
  const nlohmann::json text = options.at(kInitText);
  if (!text.is_string() || text.get<std::string>().empty())
    fail(Category::InvalidArgument, "method.options.init_text", "{} is not a text", json_text(text));
  options["init_ids"] = tokenizer.encode(text.get<std::string>(), false);
  options.erase(kInitText);
  return options;
}

nlohmann::json options_of(const Job& job, const MethodChoice& method) {
  nlohmann::json options = method_options(job.config);
  if (method.single()) return with_token_ids(options, *method.parts().front(), job);
  for (const Method* part : method.parts()) {
    if (options.contains(part->name)) options[part->name] = with_token_ids(options[part->name], *part, job);
  }
  return options;
}

// A sum of no losses is no number that depends on the adapter.
void refuse_no_loss(const TrainSettings& settings) {
  const TfewSettings& loss = settings.loss;
  const bool some = loss.lm_weight != 0 || loss.unlikelihood_weight != 0 || loss.length_norm_weight != 0;
  if (settings.lm || some) return;
  fail(Category::InvalidArgument, "objective.lm, objective.unlikelihood, objective.length_norm",
       "every loss is off or weighs 0, so there is nothing to learn from; turn one on, e.g. --set objective.lm=true "
       "--set objective.lm_weight=1");
}

std::unique_ptr<Adapter> started_from(const Job& job, const MethodChoice& method) {
  const std::string start = start_of(job.config).string();
  LoadedAdapter loaded = load_adapter(start, *job.model, *job.tokenizer);
  if (loaded.method != method.name())
    fail(Category::InvalidArgument, "method.start_from",
         "{} is an adapter of {}, and the run's method is {}; set --method {}", start, loaded.method, method.name(),
         loaded.method);
  tell_placed(start, loaded.method, loaded.tensors);
  return std::move(loaded.adapter);
}

}  // namespace

TrainSettings train_settings(const RunConfig& config, const Task& task) {
  TrainSettings settings;
  const auto& objective = config.objective;
  settings.loss.lm_weight = objective.lm ? objective.lm_weight : 0;
  settings.loss.unlikelihood_weight = objective.unlikelihood ? objective.unlikelihood_weight : 0;
  settings.loss.length_norm_weight = objective.length_norm ? objective.length_norm_weight : 0;
  if (objective_of(config, task) == "lm") settings.lm = LmSettings{objective.label_smoothing};
  refuse_no_loss(settings);
  settings.loss.authors_unlikelihood = objective.unlikelihood_variant == "authors";
  settings.optimizer = {config.optimizer.name,  config.optimizer.weight_decay, config.optimizer.beta1,
                        config.optimizer.beta2, config.optimizer.eps,          config.optimizer.scale_parameter};
  settings.lr = config.optimizer.lr;
  settings.schedule = config.optimizer.schedule;
  settings.warmup_steps = config.optimizer.warmup_steps;
  settings.clip_norm = config.optimizer.clip_norm;
  settings.steps = config.train.steps;
  settings.batch_size = config.train.batch_size;
  settings.accumulation = config.train.accumulation;
  settings.eval_every = config.train.eval_every;
  settings.keep_best = best_metric_of(config, task) != "last";
  settings.save_every = config.train.save_every > 0 ? config.train.save_every : 10;
  settings.seed = static_cast<std::uint64_t>(config.train.seed);
  settings.checkpoint_layers = config.train.checkpoint_layers;
  return settings;
}

TrainSettings train_settings(const Job& job) {
  TrainSettings settings = train_settings(job.config, job.task);
  settings.templates = job.templates.size();
  settings.checkpoint_layers = settings.checkpoint_layers || job.memory.recompute_layers;
  if (job.memory.recompute_logits) settings.kept_logit_bytes = 0;
  return settings;
}

std::unique_ptr<Adapter> new_adapter(const Job& job, const MethodChoice& method, std::uint64_t seed) {
  const std::string& start = job.config.method.start_from;
  Rng rng(seed, 1);
  auto adapter = start.empty() ? method.create(*job.model, options_of(job, method), rng) : started_from(job, method);
  // What PEFT's files cannot hold is told now, not when the training is done.
  if (method.has_adapter_file()) adapter->peft_tensors();
  return adapter;
}

std::unique_ptr<Adapter> counted_adapter(const RunConfig& config, const Model& outline) {
  const MethodChoice method(config.method.name);
  nlohmann::json options = method_options(config);
  // Words to begin from cost nothing.
  for (const Method* part : method.parts()) {
    if (std::string(part->options).find(kInitText) == std::string::npos) continue;
    if (!method.single() && !options.contains(part->name)) continue;
    nlohmann::json& own = method.single() ? options : options[part->name];
    if (own.is_object()) own.erase(kInitText);
  }
  Rng rng(0);
  return method.create(outline, options, rng);
}

}  // namespace graft
