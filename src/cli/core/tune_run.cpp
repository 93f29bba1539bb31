#include "cli/core/tune_run.h"

#include <fmt/chrono.h>

#include <cstdio>
#include <map>

#include "adapters/core/peft.h"
#include "base/build.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "cli/core/overlaps.h"
#include "cli/core/tune_settings.h"
#include "cli/core/usage.h"
#include "convert/merge.h"
#include "report/runs.h"
#include "train/state.h"

namespace graft {
namespace {

std::filesystem::path state_in(const std::filesystem::path& folder) {
  return folder / "state" / "state.safetensors";
}

void refuse_other_examples(const RunFolder& folder, const Job& job) {
  if (folder.has_train(training_examples(job))) return;
  fail(Category::InvalidArgument, folder.path().string(),
       "holds a run on other training examples (train.jsonl): the data or the task has changed since it began; choose "
       "another --output");
}

// Of the held-out examples as they are asked; where their files lie has no say.
std::string held_out_hash(const Job& job) {
  Sha256 hash;
  const auto add = [&hash](const std::string& text) { hash.update(fmt::format("{}:{}", text.size(), text)); };
  for (const auto& example : job.held_out) {
    hash.update(fmt::format("\n{} {} {}\n", example.label, example.choices.size(), example.references.size()));
    for (const auto* text : {&example.id, &example.prompt, &example.continuation, &example.neutral}) add(*text);
    for (const auto* texts : {&example.choices, &example.references})
      for (const auto& text : *texts) add(text);
  }
  return hash.finish();
}

// What runs of choices are told by, and runs that write texts.
std::string main_metric(const Task& task) {
  return task.generates() ? task.metrics.front() : "accuracy";
}

// Every number of an evaluation that a run keeps, by its name.
std::map<std::string, double> kept_numbers(const Job& job, const Evaluation& evaluation) {
  std::map<std::string, double> numbers;
  if (!job.task.generates()) numbers["accuracy"] = evaluation.accuracy();
  for (const auto& metric : job.task.metrics) numbers[metric] = evaluation.metric(metric);
  if (const auto calibration = calibration_of(evaluation.ranked)) {
    numbers["expected_calibration_error"] = calibration->error;
    numbers["brier_score"] = calibration->brier;
  }
  return numbers;
}

}  // namespace

RunFolder open_run_folder(const RunConfig& config) {
  const std::filesystem::path path = config.run.output;
  RunFolder folder = RunFolder::is_run(path) ? RunFolder::open(path) : RunFolder::create(path);
  folder.write_config(write_run_config(config));
  return folder;
}

void refuse_other_run(const RunConfig& config) {
  const std::filesystem::path path = config.run.output, file = path / "config.yaml";
  if (!RunFolder::is_run(path)) return refuse_occupied(path);
  if (!std::filesystem::exists(file) || !RunFolder::has_begun(path)) return;
  const auto other = first_difference(parse_run_config(read_file(file), file.string()), config);
  if (!other) return;
  fail(Category::InvalidArgument, path.string(),
       "holds a run with other settings: {} is {} there and {} here; choose another --output, or give what the run has",
       other->name, other->before, other->now);
}

void refuse_changed_run(const Job& job, const BaseHashes& base) {
  const std::filesystem::path path = job.config.run.output;
  const RunFolder folder = RunFolder::open(path);
  if (std::filesystem::exists(state_in(path))) refuse_other_base(state_in(path), base);
  refuse_other_examples(folder, job);
  const nlohmann::json summary = read_summary(path);
  const std::string asked = held_out_hash(job);
  if (!summary.is_object() || summary.value("held_out_hash", asked) == asked) return;
  fail(Category::InvalidArgument, path.string(),
       "holds a run that was scored on other held-out examples (summary.json): the data or the task has changed since; "
       "choose another --output");
}

std::int64_t steps_left(const RunConfig& config) {
  return std::max<std::int64_t>(0, config.train.steps - steps_done(state_in(config.run.output)));
}

RunStage stage_of(const RunConfig& config) {
  if (steps_left(config) == 0) return RunStage::Trained;
  return RunFolder::has_begun(config.run.output) ? RunStage::Begun : RunStage::Fresh;
}

std::filesystem::path TuneRun::state_file() const {
  return state_in(folder_.path());
}

TuneRun::TuneRun(Job job)
    : job_(std::move(job)),
      settings_(train_settings(job_)),
      method_(job_.config.method.name),
      adapter_(new_adapter(job_, method_, settings_.seed)),
      // Last, so that a slip in anything above leaves no folder behind.
      folder_((refuse_unscorable(job_), open_run_folder(job_.config))) {
  // A start that failed may have kept another beginning.
  if (!RunFolder::has_begun(folder_.path())) std::filesystem::remove_all(kept_start(job_.config));
  if (!job_.config.method.start_from.empty() && !std::filesystem::exists(kept_start(job_.config))) {
    AtomicFolder start(kept_start(job_.config));
    save_adapter(start.path(), *adapter_, *job_.model, {});
    start.commit();
  }
}

void TuneRun::announce() const {
  std::fprintf(stderr,
               "model: %s, %s parameters (%s)\ntask: %s, %zu training examples, %zu held out\nmethod: %s, %s "
               "trainable parameters\n",
               job_.config.model.path.c_str(), grouped(job_.model->parameters().elements()).c_str(),
               job_.model->parameters().storage().c_str(), job_.task.name.c_str(),
               job_.train.size() / job_.templates.size(), job_.held_out.size(), method_.name().c_str(),
               grouped(trainable_elements(*adapter_)).c_str());
  if (!job_.config.method.start_from.empty()) {
    std::fprintf(
        stderr,
        "graft: note: training begins with %s and its options; what its file does not hold (a prefix's network, "
        "LoRA+'s and PiSSA's part of training) is not taken up again\n",
        job_.config.method.start_from.c_str());
  }
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
    std::fprintf(stderr,
                 "graft: note: the best adapter is chosen on the held-out examples, so its score there is optimistic; "
                 "--set train.best_metric=last keeps the last one\n");
  }
}

void TuneRun::estimate(const MemoryFit& fit) {
  pace_.emplace(job_, settings_, *adapter_, method_.name(), steps_left(job_.config), fit);
  const nlohmann::json summary = read_summary(folder_.path());
  tell_pace(pace_->told_before(summary.is_object() && summary.contains("before")));
}

void TuneRun::tell_pace(const std::string& line) {
  if (line.empty()) return;
  if (progress_) progress_->finish();
  std::fprintf(stderr, "%s\n", line.c_str());
}

// A run goes on with the model and the examples it began with, or not at all.
void TuneRun::write_train() {
  if (!std::filesystem::exists(state_file())) return folder_.write_train(training_examples(job_));
  refuse_other_base(state_file(), base_hashes(*job_.model));
  refuse_other_examples(folder_, job_);
}

void TuneRun::begin(const std::vector<std::filesystem::path>& others) {
  write_train();
  if (job_.held_out.empty()) return;
  // The base model answers once, as long as nothing has changed that its answers follow from.
  const std::string key = evaluation_key(job_);
  before_ = recorded_before(folder_.path(), key);
  if (before_) return;
  for (const auto& other : others) {
    if (!before_) before_ = recorded_before(other, key);
  }
  if (!before_) before_ = evaluate_all(nullptr, "evaluate before");
  folder_.write_predictions("before", predictions_of(job_, *before_));
  folder_.write_summary({{"before", summary_of(*before_, nullptr)}, {"before_key", key}});
}

void TuneRun::tell_before() const {
  if (!before_) return;
  const std::string metric = main_metric(job_.task);
  std::fprintf(stderr, "before: %s %s\n", metric.c_str(), told(job_, *before_, metric).c_str());
}

std::optional<Evaluation> TuneRun::recorded_before(const std::filesystem::path& folder, const std::string& key) const {
  const nlohmann::json summary = read_summary(folder);
  if (!summary.is_object() || summary.value("before_key", "") != key) return std::nullopt;
  std::vector<Prediction> predictions;
  for (auto& prediction : read_predictions(folder)) {
    if (prediction.phase == "before") predictions.push_back(std::move(prediction));
  }
  auto evaluation = evaluation_of(job_, predictions);
  if (!evaluation) return std::nullopt;
  const nlohmann::json& before = summary.at("before");
  evaluation->seconds = before.value("seconds", 0.0);
  if (before.contains("templates")) before.at("templates").at("accuracy").get_to(evaluation->by_template);
  return evaluation;
}

void TuneRun::go_on_from(std::int64_t step) {
  if (!verb_.empty()) {
    std::fprintf(stderr, "going on from step %lld\n", static_cast<long long>(step));
    progress_ = std::make_unique<Progress>(verb_, settings_.steps, step);
  }
  for (const auto& line : read_metrics(folder_.path())) {
    if (line.step != step || !line.loss) continue;  // an evaluation has a line of its own
    trained_.seconds = line.seconds.value_or(0);
    trained_.tokens = line.tokens.value_or(0);
  }
  folder_.drop_metrics_after(step);
}

Evaluation TuneRun::evaluate_all(const Adapter* adapter, const std::string& verb) {
  if (pace_) pace_->memory().begin_part();
  Evaluation evaluation = evaluate_templates(job_, adapter, verb);
  if (pace_) pace_->memory().end_answers();
  return evaluation;
}

double TuneRun::evaluate_during(std::int64_t step) {
  if (pace_) pace_->memory().end_training();
  const bool texts = job_.task.generates();
  const Evaluation evaluation =
      texts ? evaluate_references(job_, adapter_.get(), "evaluate") : evaluate(job_, adapter_.get(), "evaluate");
  Metrics line;
  line.step = step;
  line.scores = {{texts ? "log_likelihood" : "accuracy", evaluation.metric(texts ? "loss" : "accuracy")}};
  folder_.append(line);
  const std::string best = best_metric_of(job_.config, job_.task);
  return evaluation.metric(best == "last" ? "loss" : best);
}

void TuneRun::record_step(const StepReport& step) {
  trained_.seconds += step.seconds;
  trained_.tokens += step.tokens;
  folder_.append({step.step, step.loss, step.parts, step.lr, trained_.seconds, trained_.tokens, {}, step.examples});
  if (progress_) progress_->update(step.step, fmt::format("loss {:.3f}", step.loss));
  if (profile_) profile_->step_done();
  if (pace_) tell_pace(pace_->hear(step, before_ ? before_->seconds : 0));
}

Training TuneRun::training(const std::string& progress) {
  verb_ = progress;
  trained_ = {};
  // From before the first step, whose time counts too.
  if (!verb_.empty()) progress_ = std::make_unique<Progress>(verb_, settings_.steps);
  callbacks_.on_resume = [this](std::int64_t step) { go_on_from(step); };
  callbacks_.on_begin = [this] {
    if (pace_) pace_->memory().begin_training();
  };
  callbacks_.evaluate = [this](std::int64_t step) { return evaluate_during(step); };
  callbacks_.on_step = [this](const StepReport& step) { record_step(step); };
  // Killed before its first state, the run begins anew.
  if (!std::filesystem::exists(state_file())) folder_.drop_metrics_after(0);
  return {*adapter_, job_.train_tokens, settings_, state_file(), callbacks_};
}

void TuneRun::finish() {
  progress_.reset();
  if (profile_) profile_->training_done();
  if (pace_) pace_->memory().end_training();
  if (before_) after_ = evaluate_all(adapter_.get(), "evaluate after");
  if (after_) folder_.write_predictions("after", predictions_of(job_, *after_));
  overlap_ = overlap_of(job_);
  trained_.flops = trained_flops(job_, *adapter_, folder_);
  save();
  folder_.write_summary(summary());
  const TuneResult result{job_,    settings_, method_.name(), *adapter_, folder_, started_,
                          before_, after_,    trained_,       overlap_,  peak()};
  folder_.write_report(render_report(tune_report(result, generate_command())));
  record();
}

std::int64_t TuneRun::peak() const {
  return pace_ ? pace_->memory().peak() : peak_memory();
}

// What the run leaves to use: a PEFT folder, or where PEFT does not have the method the whole model.
void TuneRun::save() {
  if (!has_adapter_file()) {
    AtomicFolder whole(folder_.model(), AtomicFolder::Occupied::Replaced);
    open_merged(*job_.model, job_.config.model.path, *adapter_, whole.path())->write();
    whole.commit();
    return;
  }
  Manifest manifest;
  manifest.fields = {{"recipe", write_run_config(job_.config)},
                     {"weights", job_.config.model.weights},
                     {"data_hash", job_.data_hash},
                     {kTokenizerKey, tokenizer_mark(*job_.tokenizer)},
                     {"seed", std::to_string(settings_.seed)}};
  if (!job_.task.text.empty()) manifest.fields["task"] = job_.task.text;
  if (!job_.task_texts.empty()) manifest.fields["tasks"] = job_.task_texts;
  if (!job_.config.method.start_from.empty()) manifest.fields["start_from"] = job_.config.method.start_from;
  if (after_) {
    for (const auto& [name, value] : kept_numbers(job_, *after_)) manifest.fields[name] = fmt::format("{:.6f}", value);
  }
  AtomicFolder whole(folder_.adapter(), AtomicFolder::Occupied::Replaced);
  save_adapter(whole.path(), *adapter_, *job_.model, manifest);
  whole.commit();
}

nlohmann::json TuneRun::summary() const {
  nlohmann::json result = {{"graft", GRAFT_VERSION},
                           {"commit", build_commit()},
                           {"steps", settings_.steps},
                           {"train_seconds", trained_.seconds},
                           {"train_tokens", trained_.tokens},
                           {"train_flops", trained_.flops},
                           {"load_seconds", job_.load_seconds},
                           {"trainable_parameters", trainable_elements(*adapter_)},
                           {"base_parameters", job_.model->parameters().elements()},
                           {"base_weights", job_.model->parameters().storage()},
                           {"base_bytes", job_.model->parameters().bytes()},
                           {"device", job_.model->device().str()},
                           {"peak_memory_bytes", peak()}};
  if (before_) {
    result["before"] = summary_of(*before_, nullptr);
    result["before_key"] = evaluation_key(job_);
    result["held_out_hash"] = held_out_hash(job_);
  }
  if (after_) result["after"] = summary_of(*after_, adapter_.get());
  if (overlap_)
    result["overlap"] = {{"ngram", overlap_->order}, {"held_out", overlap_->examples}, {"shared", overlap_->shared}};
  return result;
}

nlohmann::json TuneRun::summary_of(const Evaluation& evaluation, const Adapter* adapter) const {
  nlohmann::json result = kept_numbers(job_, evaluation);
  result["seconds"] = evaluation.seconds;
  result["cost"]["answers"] = job_.held_out.size() * (job_.task.generates() ? 1 : job_.templates.size());
  if (const auto flops = answer_flops(job_, adapter)) result["cost"]["flops"] = *flops;
  for (const auto& [task, accuracy] : accuracy_by_task(job_, evaluation)) result["tasks"][task] = accuracy;
  if (evaluation.by_template.empty()) return result;
  const ReportScore spread = evaluation.spread();
  result["templates"] = {{"median", spread.value},
                         {"first_quartile", spread.low},
                         {"third_quartile", spread.high},
                         {"accuracy", evaluation.by_template}};
  return result;
}

// The list of runs stands beside the run folders; a run does not fail because it cannot be written.
void TuneRun::record() const {
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

std::string TuneRun::generate_command() const {
  const std::string model = has_adapter_file() ? fmt::format("{} --adapter {}", shell_word(job_.config.model.path),
                                                             shell_word(folder_.adapter().string()))
                                               : shell_word(folder_.model().string());
  const std::string& weights = job_.config.model.weights;
  return fmt::format("graft generate --model {}{} --prompt \"…\"", model,
                     weights == "dense" ? "" : " --weights " + weights);
}

void TuneRun::close() {
  if (profile_) profile_->close();
  if (pace_) pace_->keep(after_ ? after_->seconds : 0);
  if (after_) {
    for (const auto& metric : job_.task.metrics) {
      const auto count =
          job_.task.generates() ? static_cast<std::int64_t>(job_.held_out.size()) : after_->scores.examples;
      std::printf("%s before %s, after %s on %lld held-out %s\n", metric.c_str(), told(job_, *before_, metric).c_str(),
                  told(job_, *after_, metric).c_str(), static_cast<long long>(count),
                  job_.task.generates() ? "prompts" : "examples");
    }
  }
  if (after_) {
    const auto then = accuracy_by_task(job_, *before_), now = accuracy_by_task(job_, *after_);
    for (const auto& [task, accuracy] : now)
      std::printf("  %s: accuracy before %.1f%%, after %.1f%%\n", task.c_str(), 100 * then.at(task), 100 * accuracy);
  }
  if (after_ && !after_->by_template.empty()) {
    std::printf("over %zu templates, median (quartiles): before %s, after %s\n", after_->by_template.size(),
                percent_with_interval(before_->spread()).c_str(), percent_with_interval(after_->spread()).c_str());
  }
  if (overlap_) std::printf("%s\n", overlap_text(*overlap_).c_str());
  std::printf("trained in %s (%.2f s a step, %s peak memory)\nreport:  %s\n%s %s\nnext:    %s\n",
              human_seconds(trained_.seconds).c_str(),
              trained_.seconds / static_cast<double>(std::max<std::int64_t>(1, settings_.steps)),
              human_bytes(static_cast<double>(peak())).c_str(), folder_.report_file().c_str(),
              has_adapter_file() ? "adapter:" : "model:  ",
              (has_adapter_file() ? folder_.adapter() : folder_.model()).c_str(), generate_command().c_str());
  if (has_adapter_file()) std::printf("         graft verify --run %s\n", shell_word(folder_.path().string()).c_str());
}

}  // namespace graft
