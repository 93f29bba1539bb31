// graft tune: adapt a model to a task, report before and after.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/progress.h"
#include "cli/core/options.h"
#include "cli/core/tune_memory.h"
#include "cli/core/tune_plan.h"
#include "cli/core/tune_run.h"
#include "cli/core/usage.h"
#include "cli/core/verb.h"
#include "cli/core/work_plan.h"

namespace graft {
namespace {

JobArguments arguments;
std::int64_t profile_steps = 0;
std::string memory;

void declare(CLI::App& app) {
  JobArguments& a = arguments;
  app.add_option("--model", a.model, "model folder (Hugging Face) or .gguf file")->required();
  app.add_option("--data", a.data,
                 "file or folder with the examples, or a pattern of files ('rte/*.jsonl'); {task} stands for the task");
  app.add_option("--task", a.tasks,
                 "a shipped task or a task YAML (graft list shows them); several, once for each, train one adapter; "
                 "rte=FILE names its data, else --data does");
  add_column_options(app, a.text_column, a.label_column);
  app.add_option("--prompt-column", a.prompt_column, "without --task: the column that holds what the model reads …");
  app.add_option("--target-column", a.target_column, "… and the one with the text that it learns to write");
  app.add_option(
         "--recipe", a.recipe,
         "tfew, tfew-authors, tfew-cpu, ia3-pretraining, lora, lora-e2e, lora-webnlg, lora-dart, "
         "prefix-tuning-e2e, prefix-tuning-webnlg, prefix-tuning-dart, prefix-tuning-xsum, e2e-cpu, or a YAML file")
      ->capture_default_str();
  app.add_option("--method", a.method, "one that graft list shows, or several: lora+bitfit (default: the recipe's)");
  app.add_option("--start-from", a.start_from,
                 std::string("an adapter of this method whose values training begins with: ") + kAdapterFiles);
  app.add_option("--output", a.output,
                 "run folder; an interrupted run there goes on, a finished one writes its results and its adapter anew")
      ->required();
  app.add_option(
         "--shots", a.shots,
         "training examples per class (in total where the task has no classes, or with --set data.balanced=false), the "
         "others are held out; 0, which is the default: all rows, but for a fifth (at most 200) where the data is one "
         "pool (data.held_out_share)")
      ->check(count_from(0));
  app.add_option("--eval-rows", a.eval_rows,
                 "held-out examples (prompts, where texts are written) to score, 0: all (default: the recipe's)")
      ->check(count_from(0));
  app.add_option("--seed", a.seed, "of the sample and of training (default: the recipe's)")->check(count_from(0));
  app.add_option("--steps", a.steps, "training steps (default: the recipe's)")->check(count_from(1));
  app.add_option("--set", a.sets, "any setting below, e.g. --set optimizer.lr=1e-3");
  app.add_option("--memory", memory,
                 "resident memory that the run may take, e.g. 8GiB (default: what the machine has free). Where keeping "
                 "everything takes more, layers are computed again, then logits, then weights are read from the mapped "
                 "file layer by layer, then evaluations take smaller batches; the results are the same");
  add_device_option(app);
  app.add_flag(
         "--profile{5}", profile_steps,
         "record 5 steps, or --profile=N: a table of what took the time, and profile.json in the run folder, which "
         "ui.perfetto.dev opens")
      ->check(count_from(1));
  app.footer(app.get_footer() + "\nSettings (the keys of a recipe and of --set):\n" + settings_text());
}

int run() {
  const RunConfig config = run_config_of(arguments);
  refuse_other_run(config);  // before anything is loaded
  const MemoryBudget budget = memory_budget(memory);
  Job job = open_job(config, budget.said());
  const MemoryFit fit = fit_memory(job, budget, stage_of(config));
  refuse_unfitting(fit);
  TuneRun run(std::move(job));
  run.announce();
  if (const std::string line = told(fit); !line.empty()) fmt::print(stderr, "{}\n", line);
  run.estimate(fit);
  run.begin();
  run.tell_before();
  if (profile_steps > 0) run.profile(profile_steps);
  train(*run.job().model, run.training("tune"));
  run.finish();
  run.close();
  return 0;
}

WorkPlan told_plan(const TunePlan& plan, const MemoryFit& fit, const Model& model) {
  WorkPlan told = begin_plan(model, plan.load_seconds, fit);
  told.memory = plan.memory;
  told.changes = fit.changes;
  told.parts.push_back({"training", plan.train_seconds,
                        fmt::format("{} steps, {} tokens in a batch, {} in the largest", plan.steps,
                                    grouped(plan.mean_tokens), grouped(plan.largest_tokens))});
  if (plan.evaluations > 0)
    told.parts.push_back({"scoring", plan.evaluate_seconds * static_cast<double>(plan.evaluations),
                          fmt::format("{} times {}{}", plan.evaluations, human_seconds(plan.evaluate_seconds),
                                      plan.writes ? " (as long as the base model's texts are)" : "")});
  told.figures = {{"recompute_layers", fit.choice.recompute_layers},
                  {"recompute_logits", fit.choice.recompute_logits},
                  {"stream_weights", fit.choice.stream_weights},
                  {"smaller_evaluations", fit.choice.smaller_evaluations},
                  {"train_seconds", plan.train_seconds},
                  {"evaluate_seconds", plan.evaluate_seconds},
                  {"evaluations", plan.evaluations},
                  {"steps", plan.steps},
                  {"mean_tokens", plan.mean_tokens},
                  {"largest_tokens", plan.largest_tokens},
                  {"largest_made", plan.largest_made}};
  return told;
}

void plan(bool json) {
  if (profile_steps > 0)
    fail(Category::InvalidArgument, "--profile", "goes with graft tune, whose steps it records; leave it out");
  const MemoryBudget budget = memory_budget(memory);
  Job job = open_job(run_config_of(arguments), budget.said());
  const MemoryFit fit = fit_memory(job, budget);
  print_plan(told_plan(plan_tuning(job, budget.bytes), fit, *job.model), json);
}

}  // namespace

namespace cli {
extern const Verb tune;
const Verb tune{
    "tune",
    "adapt a model to a task; report before and after",
    "  graft tune --model SmolLM2.gguf --task bbc_news --data articles/ --shots 8 --eval-rows 200 --recipe tfew-cpu "
    "--output runs/bbc\n"
    "  graft tune --model ./smollm2 --data mine.csv --text-column text --label-column label --output runs/mine\n"
    "  graft tune --model SmolLM2.gguf --task e2e --data e2e/ --shots 100 --recipe e2e-cpu --method prefix_tuning "
    "--output runs/e2e\n"
    "  graft tune --model ./smollm2 --data pairs.csv --prompt-column question --target-column answer --output "
    "runs/pairs\n"
    "  graft tune --model ./t0 --task rte --data rte/ --method lora --set method.options.rank=4 --output runs/rte\n"
    "  graft tune --model ./t0 --task rte --task boolq --task wic --data 'tfew/{task}/*.jsonl' --recipe "
    "ia3-pretraining --output runs/vectors\n"
    "  graft tune --model ./t0-11b-bf16 --task rte --data rte/ --set train.precision=bfloat16 --memory 20GiB --output "
    "runs/rte-11b   (its files hold bfloat16: weights that are converted while loading would have to fit)\n"
    "  graft tune --model ./t0-3b --task cb --data cb/ --shots 32 --set data.balanced=false --start-from "
    "t03b_ia3_finish.pt --output runs/cb\n",
    declare,
    run,
    plan};
}  // namespace cli
}  // namespace graft
