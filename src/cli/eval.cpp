// graft eval: a model without demonstrations, with some, and with adapters, side by side on the same questions.
#include <fmt/chrono.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/build.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "cli/core/decoding_options.h"
#include "cli/core/eval_adapters.h"
#include "cli/core/eval_arguments.h"
#include "cli/core/eval_progress.h"
#include "cli/core/eval_record.h"
#include "cli/core/eval_results.h"
#include "cli/core/eval_statistics.h"
#include "cli/core/eval_work.h"
#include "cli/core/evaluation.h"
#include "cli/core/lm_eval_results.h"
#include "cli/core/mixture.h"
#include "cli/core/outside_scorer.h"
#include "cli/core/overlaps.h"
#include "cli/core/pass_memory.h"
#include "cli/core/usage.h"
#include "cli/core/verb.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

EvalArguments arguments;
const CLI::App* options = nullptr;

void declare(CLI::App& app) {
  app.callback([&app] { options = &app; });  // graft plan declares them too
  declare_eval(app, arguments);
}

// What a task says of demonstrations holds where the command does not.
void take_from_task(const Task& task, const RunConfig& config, EvalSettings& settings) {
  if (!task.in_context) return;
  const InContext& shown = *task.in_context;
  const auto said = [](const char* option) { return options->count(option) > 0; };
  if (!said("--shots") && shown.shots > 0) settings.shots.push_back(shown.shots);
  const bool chosen =
      said("--demonstrations") || said("--demonstrations-file") || said("--candidates") || said("--balanced");
  if (shown.first && !chosen && !is_one_pool(task, config.data.path)) {
    settings.choice = DemonstrationChoice::Fixed;
    settings.demonstrations_file = config.data.path;  // a file of demonstrations is read in its order
  }
  PromptLayout layout = task_layout(task);
  if (said("--separator")) layout.separator = settings.layout.separator;
  if (said("--instruction")) {
    layout.instruction = settings.layout.instruction;
    layout.instruction_as_is = settings.layout.instruction_as_is;
  }
  settings.layout = layout;
}

struct Planned {
  RunConfig config;
  EvalSettings settings;
  std::string task = {};  ///< its name
  bool writes = false;    ///< texts

  bool draws() const { return settings.choice == DemonstrationChoice::Random && settings.shots.size() > 1; }
};

std::set<std::string> task_names(const std::vector<Planned>& plan) {
  std::set<std::string> names;
  for (const auto& one : plan) names.insert(one.task);
  return names;
}

// Results, kept scores and runs know a task by its name.
void refuse_name_again(const std::vector<Planned>& plan, const std::string& name, const std::string& file) {
  if (task_names(plan).count(name) > 0)
    fail(Category::InvalidArgument, "--task " + file, "has the name '{}', as a task before it; give it its own", name);
}

// Nothing is demonstrated where neither the command nor a task asks for any.
void refuse_idle_demonstrations(const std::vector<Planned>& plan) {
  if (std::any_of(plan.begin(), plan.end(), [](const Planned& one) { return one.settings.shots.size() > 1; })) return;
  for (const char* option :
       {"--demonstrations", "--demonstrations-file", "--balanced", "--orders", "--shots-for-adapters"}) {
    if (options->count(option) > 0)
      fail(Category::InvalidArgument, option,
           "is about demonstrations, and there are none; give --shots, or leave it out");
  }
}

bool writes_any(const std::vector<Planned>& plan) {
  return std::any_of(plan.begin(), plan.end(), [](const Planned& planned) { return planned.writes; });
}

std::vector<Planned> plan_of(const EvalArguments& a, const EvalSettings& settings, const std::vector<TaskData>& tasks) {
  std::vector<Planned> plan;
  for (const auto& [name, data] : tasks) {
    JobArguments one = a;
    one.tasks = name.empty() ? std::vector<std::string>() : std::vector{name};
    one.data = data;
    Planned planned{run_config_of(one, RunConfig{}), settings};
    RunConfig& config = planned.config;
    if (config.data.path.empty())
      fail(Category::InvalidArgument, "--data", "name the file or folder with your examples");
    if (!a.prompt_template.empty()) config.data.prompt_template = a.prompt_template;
    if (!a.dtype.empty()) config.model.dtype = a.dtype;
    if (!a.weights.empty()) config.model.weights = a.weights;
    planned.settings.demonstrations_file = with_task(a.demonstrations_file, short_task_name(name));
    // A slip is told before anything is loaded.
    const Task task = eval_task(config, planned.settings);
    planned.task = task.name;
    planned.writes = writes_texts(task, planned.settings);
    refuse_name_again(plan, planned.task, name);
    take_from_task(task, config, planned.settings);
    plan.push_back(planned);
  }
  refuse_idle_demonstrations(plan);
  if (!writes_any(plan)) refuse_idle_decoding(a.decoding, "none is written here");
  if (plan.size() > 1 && !a.demonstrations_file.empty() && a.demonstrations_file.find("{task}") == std::string::npos)
    fail(Category::InvalidArgument, "--demonstrations-file", "is one file for {} tasks; write {{task}} in it",
         plan.size());
  if (a.seeds > 1 && std::none_of(plan.begin(), plan.end(), [](const Planned& planned) { return planned.draws(); }))
    std::fprintf(stderr, "graft: note: nothing is drawn at random, so one run stands for all %lld seeds\n",
                 static_cast<long long>(a.seeds));
  return plan;
}

// Once for all tasks, which are written with the same settings.
void settle_decoding(std::vector<Planned>& plan, const Base& base) {
  const auto writer = std::find_if(plan.begin(), plan.end(), [](const Planned& planned) { return planned.writes; });
  if (writer == plan.end()) return;
  const Task task = eval_task(writer->config, writer->settings);
  const DecodingArguments decoding = settled_decoding(writer->settings.decoding, writer->config, task, base);
  for (auto& planned : plan) planned.settings.decoding = decoding;
}

// In the order of the choices.
std::vector<EvalAdapter> open_adapters(const std::vector<AdapterChoice>& choices, const Base& base) {
  std::vector<EvalAdapter> adapters;
  std::map<std::string, std::string> known;
  for (const auto& choice : choices) {
    adapters.push_back(open_eval_adapter(choice.path, base));
    const auto [same, fresh] = known.emplace(adapters.back().hash, choice.path);
    if (!fresh)
      fail(Category::InvalidArgument, "--adapter " + choice.path, "is named twice, or a copy of {}; name one of them",
           same->second);
  }
  return adapters;
}

bool answers(const AdapterChoice& choice, std::size_t task) {
  return std::find(choice.tasks.begin(), choice.tasks.end(), task) != choice.tasks.end();
}

// Of one pool, whatever was not set aside is asked: also what trained an adapter.
void note_training_rows(EvalData& data, const EvalAdapter& adapter) {
  const auto& manifest = adapter.loaded.manifest;
  if (!data.one_pool || !manifest.is_object() || !manifest.contains("data_hash")) return;
  if (manifest.at("data_hash") == data.candidates_hash) return;
  data.notes.push_back(
      fmt::format("{} was tuned on other rows than the candidates; if they were of this pool, some may be asked here: "
                  "--candidates and --seed as its run's --shots and --seed set them aside",
                  adapter.name));
}

std::vector<EvalData> open_all(const std::vector<Planned>& plan, const Base& base,
                               const std::vector<AdapterChoice>& choices, const std::vector<EvalAdapter>& adapters) {
  std::vector<EvalData> all;
  for (std::size_t t = 0; t < plan.size(); ++t) {
    all.push_back(open_eval_data(plan[t].config, plan[t].settings, *base.tokenizer));
    std::vector<const EvalAdapter*> here;
    for (std::size_t a = 0; a < adapters.size(); ++a) {
      if (answers(choices[a], t)) here.push_back(&adapters[a]);
    }
    for (const EvalAdapter* adapter : here) note_training_rows(all.back(), *adapter);
    note_overlaps(all.back(), here);
    for (const auto& note : all.back().notes)
      std::fprintf(stderr, "graft: note: %s: %s\n", all.back().task.name.c_str(), note.c_str());
  }
  return all;
}

std::vector<std::unique_ptr<EvalScorer>> scorers_of(const Base& base, const ModelHashes& hashes,
                                                    const std::vector<EvalAdapter>& adapters, const fs::path& folder,
                                                    EvalWork* work) {
  const std::int64_t batch = arguments.batch_tokens;
  std::vector<std::unique_ptr<EvalScorer>> scorers;
  scorers.push_back(std::make_unique<EvalScorer>(base, hashes, nullptr, folder, batch, work));
  for (const auto& adapter : adapters)
    scorers.push_back(std::make_unique<EvalScorer>(base, hashes, &adapter, folder, batch, work));
  return scorers;
}

// The base's, then those of the adapters that answer the task.
std::vector<EvalScorer*> scorers_on(std::size_t task, const std::vector<AdapterChoice>& choices,
                                    const std::vector<std::unique_ptr<EvalScorer>>& scorers) {
  std::vector<EvalScorer*> result = {scorers.front().get()};
  for (std::size_t a = 0; a < choices.size(); ++a) {
    if (answers(choices[a], task)) result.push_back(scorers[a + 1].get());
  }
  return result;
}

Json results_head(const EvalArguments& a, const Planned& planned, const Base& base, const ModelHashes& hashes,
                  const std::string& started) {
  return {{"graft", GRAFT_VERSION},
          {"commit", build_commit()},
          {"command", command_line(*options)},
          {"started", started},
          {"model", model_json(a.model, base, hashes)},
          {"settings", settings_json(planned.settings, planned.config)},
          {"tasks", Json::array()}};
}

EvaluationReport report_of(const EvalArguments& a, const Json& head) {
  EvaluationReport report;
  report.model = a.model;
  report.started = head.at("started").get<std::string>();
  report.version = build_version();
  report.reproducibility = model_lines(head.at("model"));
  report.reproducibility.emplace_back("settings", json_text(head.at("settings")));
  report.commands = {{"The same evaluation", command_line(*options)}};
  return report;
}

// What run() and plan() begin with. With `work`, what is to be done is counted in it.
struct Opened {
  explicit Opened(EvalWork* work)
      : budget(memory_budget(arguments.memory)),
        tasks(task_data(arguments.tasks, arguments.data)),
        plan(plan_of(arguments, eval_settings(arguments), tasks)),
        choices(adapter_choices(arguments.adapters, tasks)),
        home(arguments.output),
        base((refuse_other_folder(home, task_names(plan)), open_base(plan.front().config, budget.said()))),
        adapters((settle_decoding(plan, base), open_adapters(choices, base))),
        data(open_all(plan, base, choices, adapters)),
        hashes(hashes_of(*base.model, arguments.model)),
        scorers(scorers_of(base, hashes, adapters, score_folder(arguments.scores, home), work)) {}
  Opened(const Opened&) = delete;  // parts refer to each other

  std::vector<EvalRow> rows(std::size_t task) const {
    return evaluate_rows(data[task], plan[task].settings, plan[task].config, scorers_on(task, choices, scorers));
  }

  MemoryBudget budget;
  std::vector<TaskData> tasks;
  std::vector<Planned> plan;
  std::vector<AdapterChoice> choices;
  fs::path home;
  Base base;
  std::vector<EvalAdapter> adapters;
  std::vector<EvalData> data;
  ModelHashes hashes;
  std::vector<std::unique_ptr<EvalScorer>> scorers;
};

// What is not kept yet, of all passes of all tasks.
EvalWork work_left(const Opened& opened) {
  EvalWork work;
  for (const auto& scorer : opened.scorers) scorer->count_in(&work);
  for (std::size_t t = 0; t < opened.plan.size(); ++t) opened.rows(t);
  for (const auto& scorer : opened.scorers) scorer->count_in(nullptr);
  return work;
}

// Scores do not follow from it.
void keep_to(const MemoryFit& fit, const Opened& opened) {
  for (const auto& scorer : opened.scorers) scorer->read_fewer(fit.choice.smaller_evaluations);
}

// What is to be done is counted only where that may decide anything: not beside weights that leave as much room again.
MemoryFit fit_evaluation(const Opened& opened) {
  const Model& model = *opened.base.model;
  const std::int64_t kept = private_memory() + model.parameters().bytes();
  if (!opened.budget.asked && 2 * kept <= opened.budget.room()) return {opened.budget, RunStage::Fresh, {}, {}};
  return fit_passes(model, work_left(opened).needs(model), opened.budget);
}

int run() {
  const EvalArguments& a = arguments;
  const std::time_t now = std::time(nullptr);
  const std::string started = fmt::format("{:%F %H:%M} UTC", fmt::gmtime(now));
  const Opened opened(nullptr);
  const std::vector<Planned>& plan = opened.plan;
  const std::vector<EvalData>& data = opened.data;
  const fs::path& home = opened.home;
  const MemoryFit fit = fit_evaluation(opened);
  settle(fit);
  keep_to(fit, opened);
  if (a.scores.empty()) clear_user_scores();  // behind what is used here, which now counts as used
  record_scores(home, opened.scorers);
  Json results = results_head(a, plan.front(), opened.base, opened.hashes, started);
  EvaluationReport report = report_of(a, results);
  std::optional<LmEvalResults> lm_eval;
  if (!a.output_format.empty()) lm_eval.emplace(home / "lm-eval", results, std::chrono::system_clock::now());
  EvalProgress progress([&opened] { return work_left(opened).amounts(); });
  for (const auto& scorer : opened.scorers) scorer->tell(&progress);
  std::string predictions;
  for (std::size_t t = 0; t < plan.size(); ++t) {
    auto rows = opened.rows(t);
    if (!a.scorer.empty()) judge_texts(plan[t].settings, data[t], rows);
    report.tasks.push_back(evaluated(data[t], rows));
    results["tasks"].push_back(results_of(data[t], rows, report.tasks.back()));
    results["tasks"].back()["settings"] = settings_json(plan[t].settings, plan[t].config);
    predictions += prediction_lines(data[t], rows);
    if (lm_eval) lm_eval->add(data[t], plan[t].settings, *opened.base.tokenizer, rows);
    print_evaluated(report.tasks.back());
    if (a.slices.empty()) {
      print_parts(report.tasks.back());
    } else {
      print_slices(report.tasks.back());
    }
  }
  print_overview(report.tasks);
  write_files({{home / "predictions.jsonl", predictions},
               {home / "results.json", json_text(results, 2) + "\n"},
               {home / "report.html", render_evaluation(report)}});
  record_evaluation(home, now, report);
  if (lm_eval) lm_eval->finish();
  fmt::print("report:  {}\nresults: {}\n", (home / "report.html").string(), (home / "results.json").string());
  return 0;
}

void plan(bool json) {
  const auto began = Clock::now();
  EvalWork work;
  const Opened opened(&work);
  const double load_seconds = seconds_since(began);
  for (std::size_t t = 0; t < opened.plan.size(); ++t) opened.rows(t);
  const Model& model = *opened.base.model;
  const MemoryFit fit = fit_passes(model, work.needs(model), opened.budget);
  keep_to(fit, opened);
  const bool smaller = fit.choice.smaller_evaluations > 1;
  print_plan((smaller ? work_left(opened) : work).plan(model, load_seconds, fit), json);
}

}  // namespace

namespace cli {
extern const Verb eval;
const Verb eval{
    "eval",
    "a model without demonstrations, with some, and with adapters, side by side on a task",
    "  graft eval --model SmolLM2.gguf --task rte --data superglue/rte/ --output runs/eval-rte\n"
    "  graft eval --model SmolLM2.gguf --task rte --task boolq --data 'superglue/{task}' --shots 0,1,8 --seeds 5 "
    "--output runs/icl\n"
    "  graft eval --model ./smollm2 --task bbc_news --data articles/ --shots 8 --candidates 8 --adapter "
    "runs/bbc/adapter --output runs/eval-bbc\n"
    "  graft eval --model ./smollm2 --task rte --task cb --task copa --data 'superglue/{task}' --shots 8 --adapter "
    "'runs/{task}' --output runs/tfew-and-icl\n"
    "  graft eval --model ./smollm2 --task rte --data superglue/rte/ --shots 4,8 --seeds 5 --adapter runs/rte "
    "--shots-for-adapters --output runs/rte-with-shots\n"
    "  graft eval --model ./smollm2 --task banking77 --data banking77/ --shots 16 --demonstrations bm25 --eval-rows "
    "500 "
    "--output runs/nearest\n"
    "  graft eval --model ./smollm2 --task cb --data superglue/cb/ --shots 4 --orders 10 --calibrate contextual "
    "--output runs/orders\n"
    "  graft eval --model ./smollm2 --data mine.csv --text-column text --label-column label --shots 0,4 --instruction "
    "'Sort these messages.' --output runs/mine\n"
    "  graft eval --model SmolLM2.gguf --task e2e --data e2e/ --shots 0,3 --eval-rows 200 --adapter runs/e2e --set "
    "generation.beams=5 --output runs/eval-e2e\n"
    "  graft eval --model ./smollm2 --task prompts.yaml --data prompts.jsonl --scorer 'python3 toxicity.py' --output "
    "runs/toxicity\n"
    "  graft eval --model SmolLM2.gguf --task mmlu --data mmlu/ --slice subject --output runs/mmlu\n"
    "  graft eval --model SmolLM2.gguf --task crows_pairs --data crows_pairs_anonymized.csv --template respectful "
    "--output runs/bias-respectful\n"
    "  graft eval --model SmolLM2.gguf --task running_text --data book.txt --output runs/book\n"
    "  graft eval --model SmolLM2.gguf --task copa --data superglue/copa/ --normalisation none --output-format lm-eval "
    "--output runs/copa\n",
    declare,
    run,
    plan};
}  // namespace cli
}  // namespace graft
