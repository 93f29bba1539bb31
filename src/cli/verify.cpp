// graft verify: do training, evaluation, generation and merged weights give the same answers?
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "adapters/core/peft.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "cli/core/evaluation.h"
#include "cli/core/options.h"
#include "cli/core/pass_memory.h"
#include "cli/core/placed_tensors.h"
#include "cli/core/verb.h"
#include "cli/core/verify_plan.h"
#include "eval/verify.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kDisagree = 1;  // exit code: everything was read, and the paths differ
// Of a probability that the run recorded, however large the tolerance of logits is.
constexpr double kRecordedTolerance = 0.05;

struct Arguments : TunedArguments {
  std::string task, data, text_column, label_column, memory, dtype = "float32";
  std::int64_t rows = 16, shots = -1, seed = -1;
  std::optional<double> tolerance;
  bool json = false;
};

Arguments arguments;

// What the run wrote down about the same examples when it was done.
struct Recorded {
  std::string skipped = {};  ///< why it is not compared; empty where it is
  std::int64_t examples = 0;
  double probability_gap = 0;
  std::int64_t other_winners = 0;
};

// Another task than the run's brings its own columns, and columns are a task of their own.
void take_task(RunConfig& config) {
  const Arguments& a = arguments;
  const bool columns = !a.text_column.empty() || !a.label_column.empty();
  if (a.task.empty() && !columns) return;
  config.task.name = a.task;
  if (!a.task.empty() || !a.text_column.empty()) config.data.text_column = a.text_column;
  if (!a.task.empty() || !a.label_column.empty()) config.data.label_column = a.label_column;
  config.data.prompt_column.clear();
  config.data.target_column.clear();
}

RunConfig resolve() {
  const Arguments& a = arguments;
  RunConfig config = config_of_tuned(a);
  if (!a.data.empty() || !a.task.empty()) config.task.mixture.clear();
  if (!a.data.empty()) config.data.path = a.data;
  take_task(config);
  if (a.shots >= 0) config.data.shots = a.shots;
  if (a.seed >= 0) config.data.seed = a.seed;
  if (a.run.empty()) config.data.held_out_share = 0;  // nothing says what trained
  config.method.start_from.clear();                   // the adapter is there, and leaves what room it leaves
  const bool fewer = config.data.eval_rows == 0 || config.data.eval_rows > a.rows;
  if (fewer) config.data.eval_rows = a.rows;
  return config;
}

// With all rows in training there is nothing held out; the paths can be compared on any examples.
const std::vector<ChoiceTokens>& examples_of(Job& job) {
  if (!job.held_out.empty()) return job.templates.front().held_out;
  if (job.train_tokens.empty()) fail(Category::InvalidArgument, "data", "holds no example to replay");
  std::fprintf(stderr, "graft: note: nothing is held out, so training examples are replayed\n");
  const auto rows = static_cast<std::size_t>(arguments.rows);
  if (job.train_tokens.size() > rows) job.train_tokens.resize(rows);
  return job.train_tokens;
}

// Like is compared with like: in another dtype, or with a neutral prompt taken off, the run's own probabilities are
// other ones with nothing wrong.
std::string not_comparable(const Job& job, at::ScalarType run_dtype) {
  if (job.held_out.empty()) return "the run held nothing out";
  if (job.task.generates())
    return "they are texts, which have no probabilities; graft tune on the run writes them again";
  if (job.task.normalisation == "pmi") return "they have the neutral prompt taken off, which is not replayed";
  if (job.model->dtype() == run_dtype) return "";
  const char* recorded_in = run_dtype == at::kBFloat16 ? "bfloat16" : "float32";
  return fmt::format("they were recorded in {0}, this is {1}; --dtype {0} compares with them", recorded_in,
                     arguments.dtype);
}

// Nothing where no run is given.
std::optional<Recorded> compare_with_run(const Job& job, at::ScalarType run_dtype,
                                         const std::vector<RankedExample>& now) {
  if (arguments.run.empty()) return std::nullopt;
  Recorded recorded{not_comparable(job, run_dtype)};
  if (!recorded.skipped.empty()) return recorded;
  std::map<std::string, Prediction> then;
  for (auto& prediction : read_predictions(arguments.run)) {
    if (prediction.phase == "after") then[prediction.id] = std::move(prediction);
  }
  for (std::size_t e = 0; e < now.size(); ++e) {
    const auto found = then.find(job.held_out[e].id);
    if (found == then.end() || found->second.probabilities.size() != now[e].probabilities.size()) continue;
    ++recorded.examples;
    recorded.other_winners += found->second.prediction != now[e].prediction;
    for (std::size_t c = 0; c < now[e].probabilities.size(); ++c) {
      recorded.probability_gap =
          std::max(recorded.probability_gap, std::abs(found->second.probabilities[c] - now[e].probabilities[c]));
    }
  }
  if (recorded.examples == 0) recorded.skipped = "it holds none of these examples";
  return recorded;
}

Json json_of(const VerifyReport& report, const std::optional<Recorded>& recorded, const Json& what, bool passed) {
  Json all = what;
  for (const auto& path : report.paths) {
    Json entry = {{"path", path.path}};
    if (path.skipped.empty()) {
      entry.update({{"tokens", path.tokens},
                    {"logit_gap", path.logit_gap},
                    {"log_probability_gap", path.log_probability_gap},
                    {"other_winners", path.other_winners},
                    {"passed", path.passed}});
    } else {
      entry["skipped"] = path.skipped;
    }
    all["paths"].push_back(entry);
  }
  if (recorded && !recorded->skipped.empty()) {
    all["recorded"] = {{"skipped", recorded->skipped}};
  } else if (recorded) {
    all["recorded"] = {{"examples", recorded->examples},
                       {"probability_gap", recorded->probability_gap},
                       {"other_winners", recorded->other_winners}};
  }
  all["passed"] = passed;
  return all;
}

void print_table(const VerifyReport& report, const std::optional<Recorded>& recorded) {
  fmt::print("{:<12} {:>8} {:>17} {:>23} {:>15}\n", "path", "tokens", "worst logit gap", "worst log-prob. gap",
             "other winners");
  for (const auto& path : report.paths) {
    if (path.skipped.empty()) {
      fmt::print("{:<12} {:>8} {:>17.2e} {:>23.2e} {:>15}\n", path.path, path.tokens, path.logit_gap,
                 path.log_probability_gap, path.other_winners);
    } else {
      fmt::print("{:<12} {}\n", path.path, path.skipped);
    }
  }
  if (recorded && !recorded->skipped.empty()) {
    fmt::print("the run's predictions.jsonl is not compared: {}\n", recorded->skipped);
  } else if (recorded) {
    fmt::print("the run's predictions.jsonl: {} examples, worst probability gap {:.2e}, {} other winners\n",
               recorded->examples, recorded->probability_gap, recorded->other_winners);
  }
}

void print_verdict(const VerifyReport& report, bool recorded_passed, double tolerance) {
  std::string off;
  for (const auto& path : report.paths) {
    if (!path.passed) off += (off.empty() ? "" : ", ") + path.path;
  }
  if (!off.empty()) fmt::print("NOT agreed: {} more than {} away from evaluation\n", off, tolerance);
  if (!recorded_passed) {
    fmt::print("NOT agreed: the run recorded other probabilities; its adapter, model or data have changed since\n");
  }
  if (off.empty() && recorded_passed) fmt::print("agreed: every path is within {} of evaluation\n", tolerance);
}

// What run() and plan() begin with.
struct Opened {
  MemoryBudget budget;
  at::ScalarType run_dtype = at::kFloat;
  std::string folder;  // of the adapter; empty: none
  Job job;
  LoadedAdapter loaded;
  VerifyOptions options;
};

Opened open_examples() {
  Opened opened;
  opened.budget = memory_budget(arguments.memory);
  RunConfig config = resolve();
  opened.run_dtype = compute_dtype(config);
  config.model.dtype = arguments.dtype;
  Job& job = opened.job = open_job(config, opened.budget.said());
  opened.folder = adapter_of_tuned(arguments);
  LoadedAdapter& loaded = opened.loaded;
  if (!opened.folder.empty()) {
    loaded = load_adapter(opened.folder, *job.model, *job.tokenizer);
    tell_placed(opened.folder, loaded.method, loaded.tensors);
  }
  if (loaded.adapter != nullptr &&
      config_beside(*job.model, loaded.adapter.get()).max_positions != job.texts.max_positions)
    job = open_job(config, {job.model, job.tokenizer, job.load_seconds}, loaded.adapter.get());
  VerifyOptions& options = opened.options;
  options.tolerance = arguments.tolerance.value_or(verify_tolerance(job.model->dtype()));
  options.batch_size = job.config.train.batch_size;
  options.checkpoint_layers = job.config.train.checkpoint_layers;
  if (job.task.normalisation != "pmi") options.normalisation = normalisation_of(job.task.normalisation);
  return opened;
}

int run() {
  Opened opened = open_examples();
  Job& job = opened.job;
  const std::string& folder = opened.folder;
  VerifyOptions& options = opened.options;
  const auto& examples = examples_of(job);
  settle(fit_verification(*job.model, opened.loaded.adapter.get(), examples, opened.budget, options));
  const VerifyReport report = verify(*job.model, opened.loaded.adapter.get(), examples, options);
  const auto recorded = compare_with_run(job, opened.run_dtype, report.evaluation);
  const bool recorded_passed =
      !recorded || recorded->probability_gap <= std::min(options.tolerance, kRecordedTolerance);
  const bool passed = report.passed() && recorded_passed;
  const Json what = {{"model", job.config.model.path}, {"adapter", folder.empty() ? Json() : Json(folder)},
                     {"dtype", arguments.dtype},       {"weights", job.config.model.weights},
                     {"examples", examples.size()},    {"tolerance", options.tolerance}};
  if (arguments.json) {
    fmt::print("{}\n", json_text(json_of(report, recorded, what, passed), 2));
    return passed ? 0 : kDisagree;
  }
  fmt::print("{} examples through {}{} in {}, against evaluation\n\n", examples.size(), job.config.model.path,
             folder.empty() ? "" : " with " + folder, arguments.dtype);
  print_table(report, recorded);
  print_verdict(report, recorded_passed, options.tolerance);
  return passed ? 0 : kDisagree;
}

void plan(bool json) {
  Opened opened = open_examples();
  const auto& examples = examples_of(opened.job);
  print_plan(plan_verification(*opened.job.model, opened.loaded.adapter.get(), examples, opened.budget, opened.options,
                               opened.job.load_seconds),
             json || arguments.json);
}

void declare(CLI::App& app) {
  Arguments& a = arguments;
  add_tuned_options(app, a);
  add_task_options(app, a.task, a.text_column, a.label_column);
  app.add_option("--data", a.data, "file or folder with the examples (default: the run's)");
  app.add_option("--shots", a.shots,
                 "examples per class that trained, so that they are not replayed (default: the run's)")
      ->check(count_from(0));
  app.add_option("--seed", a.seed, "of the sample (default: the run's)")->check(count_from(0));
  app.add_option("--eval-rows,--rows", a.rows,
                 "held-out examples to replay, or training examples where nothing is held out")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--dtype", a.dtype,
                 "float32, or bfloat16 (in a run's own dtype its predictions.jsonl is compared too)")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--tolerance", a.tolerance,
                 fmt::format("largest gap allowed (default: {} in float32, {} in bfloat16)",
                             verify_tolerance(at::kFloat), verify_tolerance(at::kBFloat16)))
      ->check(number_from_zero());
  app.add_option(
      "--memory", a.memory,
      "resident memory that it may take, e.g. 8GiB (default: what the machine has free). Where more would be "
      "taken, the training path computes layers again, then logits, then weights are read from the mapped "
      "file layer by layer; the results are the same");
  app.add_flag("--json", a.json, "as one JSON object");
}

}  // namespace

namespace cli {
extern const Verb verify;
const Verb verify{"verify",
                  "replay held-out examples through training, evaluation, generation and merged weights",
                  "  graft verify --run runs/bbc\n"
                  "  graft verify --run runs/bbc --eval-rows 100 --dtype bfloat16 --json\n"
                  "  graft verify --model ./smollm2 --adapter runs/bbc/adapter --task bbc_news --data articles/\n"
                  "Exit code 0: all paths agree; 1: a path differs by more than the tolerance.\n",
                  declare,
                  run,
                  plan};
}  // namespace cli
}  // namespace graft
