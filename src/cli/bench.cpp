// graft bench: what this machine can do, and how much of it a model's work reaches on it.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "cli/core/bench_jobs.h"
#include "cli/core/columns.h"
#include "cli/core/machine_limits.h"
#include "cli/core/options.h"
#include "cli/core/verb.h"
#include "config/model_config.h"
#include "nn/compute_dtype.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

struct Arguments : JobArguments {
  Arguments() {
    recipe = "tfew-cpu";
    shots = 16;
    eval_rows = 48;
  }
  std::string task, dtype, weights = "auto";
  std::vector<std::string> only;
  std::int64_t seconds = 45;
  bool json = false;
};

Arguments arguments;
const CLI::App* command = nullptr;

const std::vector<std::string> kParts = {"machine", "prefill", "decode", "decode_1", "decode_16",
                                         "tune",    "ia3",     "lora",   "full",     "score"};
const std::vector<std::string> kOnExamples = {"ia3", "lora", "full", "score"};

constexpr const char* kExplanation = R"(
The machine's limits are measured first: products of matrices of the model's own shapes, and the rate at which all
threads read memory. Then each kind of work is done in turn with the others until the time is up, at least once, by the
code of generate, tune and eval. "of the limit" is the least time that its products or the bytes it has to read need at
those limits, whichever is longer, as a share of the time it took (the roofline). FLOPs are counted as graft cost counts
them: without attention's products of queries, keys and values. Without --data, texts are random tokens.
)";

class Stopwatch {
 public:
  double seconds() const { return seconds_since(start_); }
  double left() const { return static_cast<double>(arguments.seconds) - seconds(); }

 private:
  Clock::time_point start_ = Clock::now();
};

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool wanted(const std::string& name) {
  if (arguments.only.empty() || among(arguments.only, name)) return true;
  if (name.starts_with("decode_")) return among(arguments.only, "decode");
  return among({"ia3", "lora", "full"}, name) && among(arguments.only, "tune");
}

bool any_wanted(const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(), wanted);
}

std::vector<BenchJob> wanted_of(const std::vector<BenchJob>& jobs) {
  std::vector<BenchJob> kept;
  std::copy_if(jobs.begin(), jobs.end(), std::back_inserter(kept), [](const auto& job) { return wanted(job.name); });
  return kept;
}

// Where data is named; a slip in it is told before anything is measured.
std::optional<RunConfig> config_of_data() {
  if (!arguments.task.empty()) arguments.tasks = {arguments.task};
  if (arguments.data.empty() && arguments.tasks.empty()) {
    if (command->count("--recipe") > 0)
      fail(
          Category::InvalidArgument, "--recipe",
          "says how the examples of --data are tuned, and none are named; give --data and --task too, or leave it out");
    if (!arguments.text_column.empty() || !arguments.label_column.empty())
      fail(Category::InvalidArgument, "--data", "name the file or folder that has the columns");
    return std::nullopt;
  }
  if (!any_wanted(kOnExamples))
    fail(Category::InvalidArgument, arguments.data.empty() ? "--task" : "--data",
         "is tuned and scored, and --only leaves both out; leave one of the two options out");
  const RunConfig config = run_config_of(arguments);
  task_of(config);
  return config;
}

TuningExamples tuning_examples(const std::optional<RunConfig>& config, const std::shared_ptr<Model>& model) {
  if (!config) return random_examples(*model);
  const Base base{model, open_tokenizer(arguments.model), 0};
  check_base(*model, *base.tokenizer, arguments.model);
  return examples_of(open_job(*config, base));
}

class Bench {
 public:
  explicit Bench(std::optional<RunConfig> config)
      : config_(std::move(config)),
        writing_(writing_model(arguments.model, arguments.dtype, arguments.weights)),
        tuning_(writing_) {
    tuning_.weights = arguments.weights == "auto" ? WeightFormat::Dense : weight_format(arguments.weights);
    result_.model = arguments.model;
    result_.dtype = dtype_name(writing_.dtype);
    result_.device = writing_.device.str();
    result_.threads = at::get_num_threads();
  }

  BenchResult run() {
    measure_machine();
    const bool tunes = any_wanted(kOnExamples);
    if (any_wanted({"prefill", "decode_1", "decode_16"})) write(tunes ? 0.4 : 1);
    if (tunes) tune();
    return std::move(result_);
  }

 private:
  void tell(const std::string& what) {
    progress_.update(std::min(static_cast<std::int64_t>(watch_.seconds()), arguments.seconds - 1), what);
  }

  void measure_machine() {
    tell("the machine");
    LimitSettings settings;
    settings.device = writing_.device;
    settings.dtype = writing_.dtype;
    settings.seconds = std::min(5.0, 0.1 * static_cast<double>(arguments.seconds));
    const auto outline = outline_model(open_model_files(arguments.model).config);
    result_.machine = measure_limits(map_shapes(*outline), settings);
  }

  void write(double share) {
    model_ = load_model(arguments.model, writing_);
    result_.written_weights = model_->parameters().storage();
    add(writing_jobs(*model_, result_.machine, arguments.dtype == "float32"), share);
  }

  void tune() {
    if (model_ == nullptr || writing_.weights != tuning_.weights) {
      model_.reset();  // before the other is there
      model_ = load_model(arguments.model, tuning_);
    }
    result_.tuned_weights = model_->parameters().storage();
    const TuningExamples examples = tuning_examples(config_, model_);
    add(tuning_jobs(*model_, result_.machine, examples), 1);
  }

  // `share`: of the seconds that are left.
  void add(const std::vector<BenchJob>& jobs, double share) {
    const auto rows =
        run_in_turn(wanted_of(jobs), share * watch_.left(), [this](const std::string& what) { tell(what); });
    result_.rows.insert(result_.rows.end(), rows.begin(), rows.end());
  }

  std::optional<RunConfig> config_;
  ModelOptions writing_, tuning_;
  Stopwatch watch_;
  Progress progress_{"bench", arguments.seconds};
  std::shared_ptr<Model> model_;
  BenchResult result_;
};

void print(const BenchResult& result) {
  fmt::print("{} in {} on {}, {} threads\n\n", result.model, result.dtype, result.device, result.threads);
  print_columns(machine_table(result.machine));
  const auto made = [](const BenchRow& row) { return row.repetitions > 0; };
  if (std::any_of(result.rows.begin(), result.rows.end(), made)) {
    fmt::print("\n");
    print_columns(bench_table(result.rows));
  }
  for (const auto& row : result.rows) {
    if (!made(row)) fmt::print("{}: not made, {}\n", row.what, row.not_made);
  }
  const std::string bounds = bounds_text(result.rows);
  if (!bounds.empty()) fmt::print("\n{}\n", bounds);
}

int run() {
  const BenchResult result = Bench(config_of_data()).run();
  if (arguments.json) {
    fmt::print("{}\n", json_text(bench_json(result), 2));
  } else {
    print(result);
  }
  return 0;
}

void declare(CLI::App& app) {
  command = &app;
  Arguments& a = arguments;
  app.add_option("--model", a.model, "model folder (Hugging Face) or .gguf file")->required();
  app.add_option("--only", a.only,
                 "parts, with commas between: machine, prefill, decode (decode_1, decode_16), tune (ia3, lora, full), "
                 "score; the machine is always measured (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember(kParts));
  app.add_option("--seconds", a.seconds,
                 "to take in all, about; each part has its turn at least once, however long it takes")
      ->check(count_from(1))
      ->capture_default_str();
  app.add_option("--data", a.data, "tune and score these examples, a file or folder, instead of random tokens");
  add_task_options(app, a.task, a.text_column, a.label_column);
  app.add_option("--recipe", a.recipe, "with --data: whose splits, losses, optimiser and batch size hold")
      ->capture_default_str();
  add_writing_options(app, a.dtype, a.weights);
  app.add_flag("--json", a.json, "as one JSON object");
  app.footer(kExplanation + app.get_footer());
}

}  // namespace

namespace cli {
extern const Verb bench;
const Verb bench{"bench",
                 "how fast a model reads, writes, tunes and scores here, and what share of the machine that is",
                 "  graft bench --model SmolLM2.gguf\n"
                 "  graft bench --model SmolLM2.gguf --only prefill,decode --seconds 20 --json\n"
                 "  graft bench --model SmolLM2.gguf --only machine\n"
                 "  graft bench --model SmolLM2.gguf --only tune,score --task bbc_news --data articles/\n",
                 declare, run};
}  // namespace cli
}  // namespace graft
