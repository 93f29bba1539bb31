#include "cli/core/eval_arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "base/error.h"
#include "cli/core/options.h"
#include "data/task.h"

namespace graft {
namespace {

void declare_demonstrations(CLI::App& app, EvalArguments& a) {
  app.add_option("--shots", a.in_context,
                 "demonstrations, one number or several: 0,1,8; a row each (0 is always there)")
      ->delimiter(',')
      ->check(count_from(0));
  app.add_option(
         "--demonstrations", a.demonstrations,
         "random (drawn by a seed, the same for every question), fixed (the first ones) or bm25 (the nearest to "
         "each question)")
      ->capture_default_str();
  app.add_flag("--balanced", a.balanced, "--shots counts random demonstrations of each class, not in all");
  app.add_flag("--shots-for-adapters", a.shots_for_adapters,
               "each --adapter answers behind the demonstrations of --shots, too, a row each (without it: as it was "
               "trained, without any)");
  app.add_option("--seeds", a.seeds, "draws of random demonstrations")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--orders", a.orders, "orders of the same demonstrations, each a run: how much accuracy hangs on them")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--seed", a.seed, "of the questions' sample, and the first draw's (default: 0)")->check(count_from(0));
  app.add_option(
      "--demonstrations-file", a.demonstrations_file,
      "rows to demonstrate, in their order; {task} stands for the task (default: the split that trains, or a "
      "part of a pool)");
  app.add_option("--candidates", a.candidates,
                 "rows of each class to take demonstrations from: with N and --seed S these are the rows that graft "
                 "tune --shots N --seed S trains on (default: all that train; of one pool up to four times --shots)")
      ->check(count_from(1));
  app.add_option("--instruction", a.instruction,
                 "text in front of everything; \\n is a line break (default: the task's, if it has one)");
  app.add_option(
         "--separator", a.separator,
         "text behind the instruction and each demonstration (where the task says another, that is the default)")
      ->capture_default_str();
}

}  // namespace

void declare_eval(CLI::App& app, EvalArguments& a) {
  add_tasks_options(app, a);
  app.add_option("--adapter", a.adapters,
                 std::string(kAdapterFiles) +
                     ", or a run folder; once for each, a row each; rte=ADAPTER is for that task alone, {task} stands "
                     "for the task");
  declare_demonstrations(app, a);
  app.add_option("--eval-rows", a.eval_rows, "questions; 0, the default: all held-out rows")->check(count_from(0));
  app.add_option("--normalisation", a.normalisation,
                 "how choices are compared: none, tokens, chars, bytes or pmi (default: the task's)");
  app.add_option("--calibrate", a.calibrate,
                 "contextual: also a row of each number of shots whose answers have the choices' probabilities after a "
                 "content-free question (the mean of N/A, [MASK] and an empty one) divided out")
      ->check(CLI::IsMember({"contextual"}));
  app.add_option("--template", a.prompt_template,
                 "prompt template by name or number, or all, each of which is a run of every row (default: the first)");
  const auto& of_choices = choice_metric_names();  // accuracy is the first
  app.add_option("--metric", a.metrics,
                 fmt::format("beside accuracy: {}, as far as the task tells what they need; of texts to write bleu, "
                             "rougeL, exact_match, squad_f1 … (docs/metrics.md), token_perplexity, word_perplexity, "
                             "byte_perplexity (default: the task's); without one of the former nothing is written; of "
                             "running text the latter and bits_per_byte",
                             fmt::join(of_choices.begin() + 1, of_choices.end(), ", ")));
  auto* scorer = app.add_option(
      "--scorer", a.scorer,
      "a command that judges the texts: it reads a JSON line each on standard input and answers with one, "
      "{\"score\": NUMBER} or several named numbers, whose means are columns (docs/eval.md)");
  app.add_option("--scorer-seconds", a.scorer_seconds,
                 "seconds in which it may neither read nor answer before it is ended")
      ->check(positive_number())
      ->needs(scorer)
      ->capture_default_str();
  app.add_option("--slice", a.slices,
                 "a field of the rows: accuracy (and the first metric of texts) for each of its values, in the report "
                 "and printed; once for each, beside those that the task file names");
  app.add_option("--batch-tokens", a.batch_tokens,
                 "tokens computed at a time: fewer take less memory; scores are the same")
      ->check(count_from(1))
      ->capture_default_str();
  app.add_option("--dtype", a.dtype, "float32 or bfloat16 (default: float32)")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--weights", a.weights, "how matrices are kept; block types quantise while loading (default: dense)")
      ->check(weights_name());
  add_memory_option(app, a.memory);
  add_decoding_options(app, a.decoding);
  app.add_option("--set", a.sets,
                 "a setting of graft tune that has a say here, e.g. data.held_out_split=test, generation.beams=5, "
                 "generation.max_new_tokens=60");
  app.add_option("--output", a.output, "folder of the results; an interrupted evaluation there goes on")->required();
  app.add_option("--scores", a.scores,
                 "folder where scores are kept, for all evaluations that name it: what was scored once is not scored "
                 "again (default: graft/scores in XDG_CACHE_HOME or ~/.cache, of at most 4 GiB; else in --output)");
  app.add_option("--output-format", a.output_format,
                 "lm-eval: the files of lm-evaluation-harness too, in the folder's lm-eval/")
      ->check(CLI::IsMember({"lm-eval"}));
}

EvalSettings eval_settings(const EvalArguments& a) {
  EvalSettings settings;
  const std::set<std::int64_t> shots(a.in_context.begin(), a.in_context.end());
  for (const auto count : shots) {
    if (count > 0) settings.shots.push_back(count);
  }
  settings.choice = demonstration_choice_of(a.demonstrations);
  settings.seeds = a.seeds;
  settings.balanced = a.balanced;
  settings.shots_for_adapters = a.shots_for_adapters;
  settings.orders = a.orders;
  settings.contextual = !a.calibrate.empty();
  settings.candidates = a.candidates;
  settings.layout = {unescaped(a.instruction), unescaped(a.separator)};
  settings.normalisation = a.normalisation;
  settings.metrics = a.metrics;
  settings.decoding = a.decoding;
  settings.slices = a.slices;
  settings.scorer = a.scorer;
  settings.scorer_patience = a.scorer_seconds;
  if (a.balanced && settings.choice != DemonstrationChoice::Random)
    fail(Category::InvalidArgument, "--balanced", "is for random demonstrations, not for {}", a.demonstrations);
  if (a.shots_for_adapters && a.adapters.empty())
    fail(Category::InvalidArgument, "--shots-for-adapters",
         "is about adapters, and none is named; give --adapter, or leave it out");
  if (a.candidates > 0 && !a.demonstrations_file.empty())
    fail(Category::InvalidArgument, "--candidates", "are all rows of --demonstrations-file; leave one out");
  if (a.orders > 1 && settings.choice == DemonstrationChoice::Bm25)
    fail(Category::InvalidArgument, "--orders", "is not for bm25, which puts the nearest demonstration last");
  return settings;
}

}  // namespace graft
