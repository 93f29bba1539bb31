// graft tune: adapt a model to a task, report before and after.
#include <fmt/chrono.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>

#include "adapters/core/combination.h"
#include "adapters/core/peft.h"
#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/core/evaluation.h"
#include "cli/core/tune_report.h"
#include "cli/core/usage.h"
#include "cli/core/verb.h"
#include "convert/merge.h"
#include "report/runs.h"
#include "train/loop.h"
#include "train/state.h"

namespace graft {
namespace {

struct Arguments {
  std::string model, task, data, recipe = "tfew", output, text_column, label_column, prompt_column, target_column,
                                 method;
  std::vector<std::string> sets;
  std::int64_t shots = -1, eval_rows = -1, seed = -1, steps = -1;
};
Arguments arguments;

CLI::Range count_from(std::int64_t least) {
  return CLI::Range(least, std::int64_t{1'000'000'000});
}

void declare(CLI::App& app) {
  Arguments& a = arguments;
  app.add_option("--model", a.model, "model folder (Hugging Face) or .gguf file")->required();
  app.add_option("--data", a.data, "file or folder with the examples")->required();
  app.add_option("--task", a.task, "a shipped task or a task YAML (graft list shows them)");
  app.add_option("--text-column", a.text_column, "without --task: the column that holds the text");
  app.add_option("--label-column", a.label_column, "without --task: the column that holds the label");
  app.add_option("--prompt-column", a.prompt_column, "without --task: the column that holds what the model reads …");
  app.add_option("--target-column", a.target_column, "… and the one with the text that it learns to write");
  app.add_option("--recipe", a.recipe, "tfew, tfew-cpu, lora, lora-e2e, prefix-tuning-e2e, e2e-cpu, or a YAML file")
      ->capture_default_str();
  app.add_option("--method", a.method, "one that graft list shows, or several: lora+bitfit (default: the recipe's)");
  app.add_option("--output", a.output, "run folder; an interrupted run there goes on")->required();
  app.add_option(
         "--shots", a.shots,
         "training examples per class (in total where the task has no classes); 0, which is the default: all rows")
      ->check(count_from(0));
  app.add_option("--eval-rows", a.eval_rows, "held-out examples (prompts, where texts are written) to score, 0: all")
      ->check(count_from(0));
  app.add_option("--seed", a.seed, "of the sample and of training")->check(count_from(0));
  app.add_option("--steps", a.steps, "training steps")->check(count_from(1));
  app.add_option("--set", a.sets, "any setting below, e.g. --set optimizer.lr=1e-3");
  app.footer(app.get_footer() + "\nSettings (the keys of a recipe and of --set):\n" + settings_text());
}

RunConfig resolve() {
  const Arguments& a = arguments;
  RunConfig config = load_recipe(a.recipe);
  config.model.path = a.model;
  config.data.path = a.data;
  config.task.name = a.task;
  config.data.text_column = a.text_column;
  config.data.label_column = a.label_column;
  config.data.prompt_column = a.prompt_column;
  config.data.target_column = a.target_column;
  config.run.output = a.output;
  choose_method(config, a.method);
  if (a.shots >= 0) config.data.shots = a.shots;
  if (a.eval_rows >= 0) config.data.eval_rows = a.eval_rows;
  if (a.seed >= 0) config.data.seed = config.train.seed = a.seed;
  if (a.steps >= 0) config.train.steps = a.steps;
  for (const auto& set : a.sets) set_run_field(config, set);
  return config;
}

// A method sees token ids and no words.
nlohmann::json with_token_ids(nlohmann::json options, const Method& method, const Tokenizer& tokenizer) {
  const std::string text = "init_text";
  if (!options.contains(text) || std::string(method.options).find(text) == std::string::npos) return options;
  if (!options.at(text).is_string() || options.at(text).get<std::string>().empty())
    fail(Category::InvalidArgument, "method.options.init_text", "{} is not a text", options.at(text).dump());
  options["init_ids"] = tokenizer.encode(options.at(text).get<std::string>(), false);
  options.erase(text);
  return options;
}

nlohmann::json options_of(const RunConfig& config, const MethodChoice& method, const Tokenizer& tokenizer) {
  nlohmann::json options = method_options(config);
  if (method.single()) return with_token_ids(options, *method.parts().front(), tokenizer);
  for (const Method* part : method.parts()) {
    if (options.contains(part->name)) options[part->name] = with_token_ids(options[part->name], *part, tokenizer);
  }
  return options;
}

TrainSettings train_settings(const RunConfig& config, const Task& task) {
  TrainSettings settings;
  const auto& objective = config.objective;
  settings.loss.lm_weight = objective.lm ? objective.lm_weight : 0;
  settings.loss.unlikelihood_weight = objective.unlikelihood ? objective.unlikelihood_weight : 0;
  settings.loss.length_norm_weight = objective.length_norm ? objective.length_norm_weight : 0;
  if (objective_of(config, task) == "lm") settings.lm = LmSettings{objective.label_smoothing};
  settings.loss.authors_unlikelihood = objective.unlikelihood_variant == "authors";
  settings.optimizer = {config.optimizer.name, config.optimizer.weight_decay, config.optimizer.beta1,
                        config.optimizer.beta2, config.optimizer.eps};
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

// A folder with a run of the same configuration goes on; another configuration is refused, before anything is loaded.
void check_folder(const RunConfig& config) {
  const std::filesystem::path path = config.run.output, file = path / "config.yaml";
  if (!RunFolder::is_run(path)) return refuse_occupied(path);
  if (std::filesystem::exists(file) && read_file(file) != write_run_config(config)) {
    fail(Category::InvalidArgument, path.string(),
         "holds a run with other settings (see its config.yaml); choose another --output");
  }
}

RunFolder open_folder(const RunConfig& config) {
  const std::filesystem::path path = config.run.output;
  RunFolder folder = RunFolder::is_run(path) ? RunFolder::open(path) : RunFolder::create(path);
  folder.write_config(write_run_config(config));
  return folder;
}

class Tune {
 public:
  explicit Tune(const RunConfig& config)
      : job_((check_folder(config), open_job(config))),
        settings_(train_settings(config, job_.task)),
        method_(config.method.name),
        adapter_(new_adapter()),
        // Last, so that a slip in anything above leaves no folder behind.
        folder_((refuse_unscorable(job_), open_folder(config))) {
    settings_.templates = job_.templates.size();
  }

  int run() {
    announce();
    write_train();
    if (!job_.held_out.empty()) evaluate_before();
    train_adapter();
    if (before_) after_ = evaluate_templates(job_, adapter_.get(), "evaluate after");
    if (after_) folder_.write_predictions("after", predictions_of(job_, *after_));
    save();
    folder_.write_summary(summary());
    const TuneResult result{job_, settings_, method_.name(), *adapter_, folder_, started_, before_, after_, trained_};
    folder_.write_report(render_report(tune_report(result, generate_command())));
    record();
    close();
    return 0;
  }

 private:
  // A run goes on with the model and the examples it began with, or not at all.
  void write_train() {
    const auto examples = training_examples(job_);
    if (!std::filesystem::exists(state_file())) return folder_.write_train(examples);
    refuse_other_base(state_file(), base_hash(*job_.model));
    if (folder_.has_train(examples)) return;
    fail(
        Category::InvalidArgument, folder_.path().string(),
        "holds a run on other training examples (train.jsonl): the data or the task has changed since it began; choose "
        "another --output");
  }

  // The base model answers once: a run that goes on reads its answers, if nothing they follow from has changed.
  void evaluate_before() {
    const std::string key = evaluation_key(job_);
    before_ = recorded_before(key);
    if (!before_) {
      before_ = evaluate_templates(job_, nullptr, "evaluate before");
      folder_.write_predictions("before", predictions_of(job_, *before_));
      folder_.write_summary({{"before", summary_of(*before_)}, {"before_key", key}});
    }
    const std::string metric = job_.task.generates() ? job_.task.metrics.front() : "accuracy";
    std::fprintf(stderr, "before: %s %s\n", metric.c_str(), told(job_, *before_, metric).c_str());
  }

  std::optional<Evaluation> recorded_before(const std::string& key) const {
    const nlohmann::json summary = read_summary(folder_.path());
    if (!summary.is_object() || summary.value("before_key", "") != key) return std::nullopt;
    std::vector<Prediction> predictions;
    for (auto& prediction : read_predictions(folder_.path())) {
      if (prediction.phase == "before") predictions.push_back(std::move(prediction));
    }
    auto evaluation = evaluation_of(job_, predictions);
    if (!evaluation) return std::nullopt;
    const nlohmann::json& before = summary.at("before");
    evaluation->seconds = before.value("seconds", 0.0);
    if (before.contains("templates")) before.at("templates").at("accuracy").get_to(evaluation->by_template);
    return evaluation;
  }

  std::filesystem::path state_file() const { return folder_.state() / "state.safetensors"; }

  void announce() const {
    std::fprintf(stderr,
                 "model: %s, %s parameters (%s)\ntask: %s, %zu training examples, %zu held out\nmethod: %s, %s "
                 "trainable parameters\n",
                 job_.config.model.path.c_str(), grouped(job_.model->parameters().elements()).c_str(),
                 job_.model->parameters().storage().c_str(), job_.task.name.c_str(),
                 job_.train.size() / job_.templates.size(), job_.held_out.size(), method_.name().c_str(),
                 grouped(trainable_elements(*adapter_)).c_str());
    if (job_.held_out.empty()) {
      std::fprintf(stderr,
                   "graft: note: every row trains, nothing is held out, so there will be no score; --shots 8 trains on "
                   "8 rows of each class and holds out the rest\n");
    }
    if (settings_.warmup_steps > settings_.steps) {
      std::fprintf(
          stderr,
          "graft: note: the warm-up of %lld steps is longer than the run of %lld, the learning rate ends at "
          "%.2g of %.2g; set optimizer.warmup_steps\n",
          static_cast<long long>(settings_.warmup_steps), static_cast<long long>(settings_.steps),
          learning_rate(settings_.schedule, settings_.lr, settings_.steps - 1, settings_.steps, settings_.warmup_steps),
          settings_.lr);
    }
    if (settings_.eval_every > 0 && settings_.keep_best) {
      std::fprintf(
          stderr,
          "graft: note: the best adapter is chosen on the held-out examples, so its score there is optimistic; "
          "--set train.best_metric=last keeps the last one\n");
    }
  }

  void train_adapter() {
    // From before the first step, whose time counts too.
    auto progress = std::make_unique<Progress>("tune", settings_.steps);
    TrainCallbacks callbacks;
    callbacks.on_resume = [&](std::int64_t step) {
      std::fprintf(stderr, "going on from step %lld\n", static_cast<long long>(step));
      for (const auto& line : read_metrics(folder_.path())) {
        if (line.step != step || !line.loss) continue;  // an evaluation has a line of its own
        trained_.seconds = line.seconds.value_or(0);
        trained_.tokens = line.tokens.value_or(0);
      }
      folder_.drop_metrics_after(step);
      progress = std::make_unique<Progress>("tune", settings_.steps, step);
    };
    callbacks.evaluate = [&](std::int64_t step) {
      const bool texts = job_.task.generates();
      const Evaluation evaluation =
          texts ? evaluate_references(job_, adapter_.get(), "evaluate") : evaluate(job_, adapter_.get(), "evaluate");
      Metrics line;
      line.step = step;
      line.scores = {{texts ? "log_likelihood" : "accuracy", evaluation.metric(texts ? "loss" : "accuracy")}};
      folder_.append(line);
      const std::string best = best_metric_of(job_.config, job_.task);
      return evaluation.metric(best == "last" ? "loss" : best);
    };
    callbacks.on_step = [&](const StepReport& step) {
      trained_.seconds += step.seconds;
      trained_.tokens += step.tokens;
      Metrics line{step.step, step.loss, step.parts, step.lr, trained_.seconds, trained_.tokens, {}, step.examples};
      folder_.append(line);
      progress->update(step.step, fmt::format("loss {:.3f}", step.loss));
    };
    const auto state = state_file();
    // Killed before its first state, the run begins anew.
    if (!std::filesystem::exists(state)) folder_.drop_metrics_after(0);
    train(*job_.model, {*adapter_, job_.train_tokens, settings_, state, callbacks});
  }

  bool has_adapter_file() const { return method_.has_adapter_file(); }

  // What the run leaves to use: a PEFT folder, or where PEFT does not have the method the whole model.
  void save() {
    if (!has_adapter_file()) {
      std::filesystem::remove_all(folder_.model());
      write_merged(*job_.model, job_.config.model.path, *adapter_, folder_.model());
      return;
    }
    Manifest manifest;
    manifest.fields = {{"recipe", write_run_config(job_.config)},  {"task", job_.task.text},
                       {"weights", job_.config.model.weights},     {"data_hash", job_.data_hash},
                       {"tokenizer_hash", job_.tokenizer->hash()}, {"seed", std::to_string(settings_.seed)}};
    const std::string metric = job_.task.generates() ? job_.task.metrics.front() : "accuracy";
    if (after_) manifest.fields[metric] = fmt::format("{:.6f}", after_->metric(metric));
    save_adapter(folder_.adapter(), *adapter_, *job_.model, manifest);
  }

  nlohmann::json summary() const {
    nlohmann::json result = {{"steps", settings_.steps},
                             {"train_seconds", trained_.seconds},
                             {"train_tokens", trained_.tokens},
                             {"load_seconds", job_.load_seconds},
                             {"trainable_parameters", trainable_elements(*adapter_)},
                             {"base_weights", job_.model->parameters().storage()},
                             {"base_bytes", job_.model->parameters().bytes()},
                             {"peak_memory_bytes", peak_memory()}};
    if (before_) {
      result["before"] = summary_of(*before_);
      result["before_key"] = evaluation_key(job_);
    }
    if (after_) result["after"] = summary_of(*after_);
    return result;
  }

  nlohmann::json summary_of(const Evaluation& evaluation) const {
    nlohmann::json result = {{"seconds", evaluation.seconds}};
    if (!job_.task.generates()) result["accuracy"] = evaluation.accuracy();
    for (const auto& metric : job_.task.metrics) result[metric] = evaluation.metric(metric);
    if (evaluation.by_template.empty()) return result;
    const Spread spread = evaluation.spread();
    result["templates"] = {{"median", spread.median},
                           {"first_quartile", spread.low},
                           {"third_quartile", spread.high},
                           {"accuracy", evaluation.by_template}};
    return result;
  }

  // The list of runs stands beside the run folders; a run does not fail because it cannot be written.
  void record() const {
    const auto folder = std::filesystem::canonical(folder_.path());
    const std::string started = fmt::format("{:%FT%TZ}", fmt::gmtime(started_));
    RunRecord run{folder.string(), folder.string(), started,         "done", job_.config.model.path,
                  job_.task.name,  method_.name(),  settings_.steps, {}};
    for (const auto& metric : job_.task.metrics) {
      if (before_) run.scores[metric + "_before"] = before_->metric(metric);
      if (after_) run.scores[metric] = after_->metric(metric);
    }
    const std::string why = record_run(folder.parent_path() / "runs.db", run);
    if (!why.empty()) std::fprintf(stderr, "graft: note: %s\n", why.c_str());
  }

  std::string generate_command() const {
    const std::string model = has_adapter_file() ? fmt::format("{} --adapter {}", shell_word(job_.config.model.path),
                                                               shell_word(folder_.adapter().string()))
                                                 : shell_word(folder_.model().string());
    const std::string& weights = job_.config.model.weights;
    return fmt::format("graft generate --model {}{} --prompt \"…\"", model,
                       weights == "dense" ? "" : " --weights " + weights);
  }

  void close() const {
    if (after_) {
      for (const auto& metric : job_.task.metrics) {
        const auto count =
            job_.task.generates() ? static_cast<std::int64_t>(job_.held_out.size()) : after_->scores.examples;
        std::printf("%s before %s, after %s on %lld held-out %s\n", metric.c_str(),
                    told(job_, *before_, metric).c_str(), told(job_, *after_, metric).c_str(),
                    static_cast<long long>(count), job_.task.generates() ? "prompts" : "examples");
      }
    }
    if (after_ && !after_->by_template.empty()) {
      std::printf("over %zu templates, median (quartiles): before %s, after %s\n", after_->by_template.size(),
                  percent(before_->spread()).c_str(), percent(after_->spread()).c_str());
    }
    std::printf("trained in %s (%.2f s a step, %s peak memory)\nreport:  %s\n%s %s\nnext:    %s\n",
                human_seconds(trained_.seconds).c_str(),
                trained_.seconds / static_cast<double>(std::max<std::int64_t>(1, settings_.steps)),
                human_bytes(static_cast<double>(peak_memory())).c_str(), folder_.report_file().c_str(),
                has_adapter_file() ? "adapter:" : "model:  ",
                (has_adapter_file() ? folder_.adapter() : folder_.model()).c_str(), generate_command().c_str());
    if (has_adapter_file())
      std::printf("         graft verify --run %s\n", shell_word(folder_.path().string()).c_str());
  }

  static std::string percent(const Spread& spread) {
    return percent_with_interval({spread.median, spread.low, spread.high});
  }

  std::unique_ptr<Adapter> new_adapter() const {
    Rng rng(settings_.seed, 1);
    auto adapter = method_.create(*job_.model, options_of(job_.config, method_, *job_.tokenizer), rng);
    // What PEFT's files cannot hold is told now, not when the training is done.
    if (has_adapter_file()) adapter->peft_tensors();
    return adapter;
  }

  Job job_;
  TrainSettings settings_;
  MethodChoice method_;
  std::unique_ptr<Adapter> adapter_;
  RunFolder folder_;
  std::time_t started_ = std::time(nullptr);
  std::optional<Evaluation> before_, after_;
  Trained trained_;
};

int run() {
  return Tune(resolve()).run();
}

}  // namespace

namespace cli {
extern const Verb tune;
const Verb tune{
    "tune", "adapt a model to a task; report before and after",
    "  graft tune --model SmolLM2.gguf --task bbc_news --data articles/ --shots 8 --eval-rows 200 --recipe tfew-cpu "
    "--output runs/bbc\n"
    "  graft tune --model ./smollm2 --data mine.csv --text-column text --label-column label --output runs/mine\n"
    "  graft tune --model SmolLM2.gguf --task e2e --data e2e/ --shots 100 --recipe e2e-cpu --method prefix_tuning "
    "--output runs/e2e\n"
    "  graft tune --model ./smollm2 --data pairs.csv --prompt-column question --target-column answer --output "
    "runs/pairs\n"
    "  graft tune --model ./t0 --task rte --data rte/ --method lora --set method.options.rank=4 --output runs/rte\n",
    declare, run};
}  // namespace cli
}  // namespace graft
