// graft compare: variants × tasks × seeds, each a run of graft tune, in one report.
#include <fmt/chrono.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "adapters/core/combination.h"
#include "base/build.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/suggest.h"
#include "cli/core/columns.h"
#include "cli/core/comparison_costs.h"
#include "cli/core/comparison_fit.h"
#include "cli/core/comparison_plan.h"
#include "cli/core/comparison_run.h"
#include "cli/core/in_context_run.h"
#include "cli/core/job.h"
#include "cli/core/mixture.h"
#include "cli/core/options.h"
#include "cli/core/usage.h"
#include "cli/core/verb.h"
#include "config/comparison.h"
#include "statistics/metrics.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

struct Arguments : JobArguments {
  std::vector<std::string> methods, variants;
  std::string comparison;
  std::vector<std::int64_t> sizes;  // training examples a class
  std::int64_t seeds = 0, first_seed = 0, together = 0;
  std::string memory;
  bool skip_unfitting = false;
};

Arguments arguments;
const CLI::App* options = nullptr;

void declare(CLI::App& app) {
  app.callback([&app] { options = &app; });  // graft plan declares them too
  Arguments& a = arguments;
  a.recipe.clear();
  add_tasks_options(app, a);
  app.add_option("--comparison", a.comparison, "a shipped comparison (graft list shows them) or a YAML file");
  app.add_option("--variant", a.variants, "only this variant of the comparison, once for each");
  app.add_option(
      "--method", a.methods,
      "without --comparison: a method, once for each, or all; in_context is the base model as it answers without any, "
      "in a comparison's file also behind demonstrations (docs/compare.md)");
  app.add_option("--recipe", a.recipe, "what the variants change (default: the comparison's, else tfew)");
  app.add_option("--start-from", a.start_from,
                 "the adapter from which those variants begin that begin from one, in place of the one they name");
  app.add_option("--seeds", a.seeds, "seeds, each with its own sample of examples (default: the comparison's, else 3)")
      ->check(count_from(1));
  app.add_option("--first-seed", a.first_seed, "the first of them")->check(count_from(0))->capture_default_str();
  app.add_option("--shots", a.sizes,
                 "training examples per class (in total with --set data.balanced=false), 0: all rows, of one pool but "
                 "data.held_out_share; several, 4,8,16,32, "
                 "make a learning curve (default: the "
                 "comparison's, else the recipe's)")
      ->delimiter(',')
      ->check(count_from(0));
  app.add_option("--eval-rows", a.eval_rows, "held-out examples to score, 0: all (default: the recipe's)")
      ->check(count_from(0));
  app.add_option("--steps", a.steps, "training steps of every variant (default: the recipe's)")->check(count_from(1));
  auto* together =
      app.add_option("--together", a.together,
                     "runs that train in the same passes over the model (default: the seeds of one variant)")
          ->check(count_from(1));
  app.add_option("--memory", a.memory,
                 "resident memory that each run may take, e.g. 8GiB, by what graft tune --memory does; runs then train "
                 "one by one")
      ->excludes(together);
  app.add_flag("--skip-unfitting", a.skip_unfitting,
               "run the others where a variant does not fit the model; the report tells why it is missing");
  app.add_option("--set", a.sets, "a setting of every variant, as in graft tune");
  app.add_option("--output", a.output, "folder of the comparison; an interrupted one there goes on")->required();
}

Comparison comparison_of(const Arguments& a) {
  if (a.comparison.empty() == a.methods.empty())
    fail(Category::InvalidArgument, "--comparison", "name a comparison, or methods with --method (--method all)");
  if (a.comparison.empty() && !a.variants.empty())
    fail(Category::InvalidArgument, "--variant", "picks from a comparison; name one with --comparison");
  if (std::count(a.methods.begin(), a.methods.end(), "all") > 0 && a.methods.size() > 1)
    fail(Category::InvalidArgument, "--method", "all stands alone");
  if (a.comparison.empty()) {
    std::vector<std::string> methods = a.methods;
    if (methods == std::vector<std::string>{"all"}) {
      methods.clear();
      for (const Method* method : adapters::registry()) methods.emplace_back(method->name);
    }
    return compare_methods(methods);
  }
  Comparison comparison = load_comparison(a.comparison);
  keep_variants(comparison, a.variants);
  return comparison;
}

// Part of a folder's name.
std::string plain(std::string name) {
  std::replace(name.begin(), name.end(), '/', '-');
  return name;
}

// An unknown one is told now.
void refuse_unknown_method(const RunConfig& config) {
  if (is_in_context(config)) return;
  if (nearest(config.method.name, {kInContext}) == kInContext)
    fail(Category::InvalidArgument, "method", "unknown method '{}'{}", config.method.name,
         did_you_mean(config.method.name, {kInContext}));
  MethodChoice(config.method.name);
}

// Ascending; one, -1, where nothing says how many.
std::vector<std::int64_t> sizes_of(const Arguments& a, const Comparison& comparison) {
  const std::vector<std::int64_t>& said = a.sizes.empty() ? comparison.shots : a.sizes;
  const std::set<std::int64_t> distinct(said.begin(), said.end());
  if (distinct.empty()) return {-1};
  if (distinct.size() > 1 && *distinct.begin() == 0)
    fail(Category::InvalidArgument, "--shots", "0 stands for all rows and alone; several numbers count from 1");
  return {distinct.begin(), distinct.end()};
}

std::vector<PlannedRun> plan_of(const Arguments& a, const Comparison& comparison) {
  const RunConfig recipe = load_recipe(comparison.recipe);
  const std::vector<std::int64_t> sizes = sizes_of(a, comparison);
  const std::int64_t seeds = a.seeds > 0 ? a.seeds : comparison.seeds;
  std::vector<PlannedRun> plan;
  for (const auto& [name, data] : task_data(a.tasks, a.data)) {
    JobArguments one = a;
    one.tasks = name.empty() ? std::vector<std::string>() : std::vector{name};
    one.data = data;
    one.start_from.clear();
    const Task task = task_of(run_config_of(one, recipe));
    for (const auto& variant : comparison.variants) {
      const RunConfig config = with_settings(variant.settings, recipe);
      one.start_from = config.method.start_from.empty() ? "" : a.start_from;
      for (const auto shots : sizes) {
        one.shots = shots;
        const std::string size = sizes.size() > 1 ? fmt::format(".shots{}", shots) : "";
        for (one.seed = a.first_seed; one.seed < a.first_seed + seeds; ++one.seed) {
          const std::string folder = fmt::format("{}.{}{}.seed{}", plain(task.name), variant.name, size, one.seed);
          one.output = (fs::path(a.output) / "runs" / folder).string();
          plan.push_back({task.name, task.metrics.front(), !task.generates() && is_share(task.metrics.front()),
                          variant.name, one.seed, run_config_of(one, config), size.empty() ? 0 : shots});
          refuse_unknown_method(plan.back().config);
        }
      }
    }
  }
  return plan;
}

void refuse_unused_start(const std::string& start, const std::vector<PlannedRun>& plan) {
  const bool used = std::any_of(plan.begin(), plan.end(),
                                [](const PlannedRun& run) { return !run.config.method.start_from.empty(); });
  if (start.empty() || used) return;
  fail(Category::InvalidArgument, "--start-from",
       "no variant begins from an adapter; take --comparison tfew-ablation, or one with method.start_from");
}

void refuse_twice(const std::vector<PlannedRun>& plan) {
  std::set<std::string> folders;
  for (const auto& run : plan) {
    if (!folders.insert(run.config.run.output).second)
      fail(Category::InvalidArgument, "--task", "'{}' is compared twice; name each task once", run.task);
  }
}

void print_table(const ComparisonReport& report) {
  std::vector<std::vector<std::string>> lines = {{"variant", "trained"}};
  const bool sizes = std::any_of(report.variants.begin(), report.variants.end(),
                                 [](const ComparedVariant& variant) { return variant.shots > 0; });
  if (sizes) lines[0].emplace_back("shots");
  for (const auto& task : report.tasks) lines[0].push_back(fmt::format("{} {}", task.name, task.metric));
  const bool mean = report.tasks.size() > 1;
  if (mean) lines[0].emplace_back("mean");
  lines[0].emplace_back("s a step");
  std::vector<std::string> base = {"(base)", "0%"};
  if (sizes) base.emplace_back("0");
  for (const auto& task : report.tasks) base.push_back(task.before ? compared_value(task, *task.before) : "-");
  lines.push_back(base);
  for (const auto& variant : report.variants) {
    std::vector<std::string> line = {variant.name, fmt::format("{:.3g}%", 100 * variant.fraction)};
    if (sizes) line.push_back(std::to_string(variant.shots));
    for (std::size_t i = 0; i < report.tasks.size(); ++i) {
      const auto& score = variant.scores[i];
      const ComparedTask& task = report.tasks[i];
      line.push_back(score ? fmt::format("{} ({}–{})", compared_value(task, score->value),
                                         compared_value(task, score->low), compared_value(task, score->high))
                           : "-");
    }
    if (mean) line.push_back(variant.mean ? compared_value(report.tasks[0], variant.mean->value) : "-");
    line.push_back(variant.step_seconds > 0 ? fmt::format("{:.2f}", variant.step_seconds) : "-");
    lines.push_back(line);
  }
  print_columns(lines);
  fmt::print("\n");
  print_columns(cost_lines(report));
  for (const auto& note : cost_notes(report)) fmt::print("{}\n", note);
  for (const auto& task : report.tasks) {
    if (!task.overlap.empty()) fmt::print("{}: {}\n", task.name, task.overlap);
  }
}

Comparison comparison_asked() {
  Comparison comparison = comparison_of(arguments);
  if (!arguments.recipe.empty()) comparison.recipe = arguments.recipe;
  return comparison;
}

std::string results_text(const ComparisonReport& report, const Comparison& comparison,
                         const std::vector<PlannedRun>& plan, const std::vector<MeasuredRun>& measured) {
  nlohmann::ordered_json results = {
      {"graft", GRAFT_VERSION},     {"commit", build_commit()}, {"command", command_line(*options)},
      {"started", report.started},  {"model", report.model},    {"description", comparison.description},
      {"recipe", comparison.recipe}};
  results.update(comparison_json(report, plan, measured));
  return json_text(results, 2) + "\n";
}

int run() {
  const Arguments& a = arguments;
  const std::time_t started = std::time(nullptr);
  const MemoryBudget budget = memory_budget(a.memory);
  const Comparison comparison = comparison_asked();
  const std::vector<PlannedRun> plan = plan_of(a, comparison);
  refuse_twice(plan);
  refuse_unused_start(a.start_from, plan);
  const FittingRuns fitting = fitting_runs(plan, a.skip_unfitting);
  const fs::path home = a.output;
  if (!fs::exists(home / "runs")) refuse_occupied(home);
  make_folder(home / "runs");
  const auto failures = run_all(fitting.runs, static_cast<std::size_t>(a.together), budget);
  auto missing = fitting.left_out;
  missing.insert(failures.begin(), failures.end());
  const auto measured = measured_runs(plan);
  ComparisonReport report = compared(plan, measured, missing, home);
  report.model = a.model;
  report.description = comparison.description;
  report.started = fmt::format("{:%F %H:%M} UTC", fmt::gmtime(started));
  report.version = build_version();
  report.reproducibility = {{"Recipe", comparison.recipe}};
  report.commands = {{"The same comparison", command_line(*options)}};
  write_files({{home / "results.csv", comparison_csv(plan, measured)},
               {home / "results.json", results_text(report, comparison, plan, measured)},
               {home / "report.html", render_comparison(report)}});
  print_table(report);
  fmt::print("report:  {}\nfigures: {}, {}\nruns:    {}\n", (home / "report.html").string(),
             (home / "results.json").string(), (home / "results.csv").string(), (home / "runs").string());
  return failures.empty() ? 0 : 1;
}

void plan(bool json) {
  const MemoryBudget budget = memory_budget(arguments.memory);
  const std::vector<PlannedRun> runs = plan_of(arguments, comparison_asked());
  refuse_twice(runs);
  refuse_unused_start(arguments.start_from, runs);
  const FittingRuns fitting = fitting_runs(runs, arguments.skip_unfitting);
  print_plan(plan_comparison(fitting.runs, static_cast<std::size_t>(arguments.together), budget), json);
}

}  // namespace

namespace cli {
extern const Verb compare;
const Verb compare{
    "compare",
    "methods × tasks × numbers of examples × seeds: one command, one report",
    "  graft compare --model SmolLM2.gguf --comparison methods-cpu --task bbc_news --data articles/ --shots 8 "
    "--eval-rows 200 --seeds 3 --output runs/methods\n"
    "  graft compare --model ./t0 --comparison tfew-methods --task rte --task cb --task copa --data 'few-shot/{task}' "
    "--output runs/paper\n"
    "  graft compare --model ./t0-3b --comparison tfew-pretraining --start-from t03b_ia3_finish.pt --task cb "
    "--data cb/ --shots 32 --set data.balanced=false --output runs/worth\n"
    "  graft compare --model ./smollm2 --method ia3 --method lora --recipe tfew-cpu --task rte='tfew/rte/*.jsonl' "
    "--shots 8 --output runs/two\n"
    "  graft compare --model ./smollm2 --method ia3 --method lora --recipe tfew-cpu --task rte --data superglue/rte/ "
    "--shots 4,8,16,32 --seeds 5 --output runs/curve\n"
    "  graft compare --model ./smollm2 --comparison tfew-in-context --task rte --task cb --task copa --task wic --task "
    "boolq --task sst2 --data 'data/{task}' --output runs/tfew-and-icl\n"
    "  graft compare --model ./smollm2 --comparison lora-ranks --data mine.csv --text-column text --label-column label "
    "--shots 8 --output runs/ranks\n",
    declare,
    run,
    plan};
}  // namespace cli
}  // namespace graft
