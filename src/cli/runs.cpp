// graft runs: what was tuned and evaluated, listed, shown, compared and drawn from the folders themselves.
#include <fmt/chrono.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/core/columns.h"
#include "cli/core/eval_results.h"
#include "cli/core/found_runs.h"
#include "cli/core/run_comparison.h"
#include "cli/core/verb.h"
#include "report/run_folder.h"
#include "statistics/metrics.h"
#include "statistics/text_metric.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::vector<std::string>>;

struct Arguments {
  std::string action, output = "runs.svg", metric;
  std::vector<std::string> folders, settings;
  bool loss = false;
};

Arguments arguments;

void declare(CLI::App& app) {
  Arguments& a = arguments;
  app.add_option("action", a.action, "list, show, compare or plot")
      ->required()
      ->check(CLI::IsMember({"list", "show", "compare", "plot"}));
  app.add_option(
      "folders", a.folders,
      "list: the folder that runs are in (default: runs); compare: two run folders, or one whose settings are "
      "compared; show and plot: run folders of graft tune, or folders of graft eval or graft compare");
  app.add_option("--setting", a.settings,
                 "compare: before, after, 0-shot, … of both folders; given twice, of the first and of the second");
  app.add_option("--metric", a.metric,
                 "compare and plot: accuracy, another metric of choices (macro_f1, choice_entropy …), or one of texts: "
                 "bleu, rougeL, exact_match … (default: the first metric of texts where they were written, else "
                 "accuracy)");
  app.add_flag("--loss", a.loss, "plot: the training loss, not a score");
  app.add_option("--output", a.output, "plot: the drawing that is written")->capture_default_str();
}

std::string score_text(const FoundScore& score) {
  if (!score.value && !score.before) return "-";
  const auto told = [&](const std::optional<double>& value) {
    return value ? found_value(score.metric, *value) : std::string("?");
  };
  return score.metric + " " + (score.before ? told(score.before) + " → " : "") + told(score.value);
}

int list() {
  if (arguments.folders.size() > 1)
    fail(Category::InvalidArgument, "graft runs list", "takes one folder, not {}", arguments.folders.size());
  const fs::path home = arguments.folders.empty() ? "runs" : arguments.folders.front();
  const auto runs = find_runs(home);
  if (runs.empty()) {
    fmt::print("{}: no run of graft tune, compare or eval is there\n", home.string());
    return 0;
  }
  Lines lines = {{"folder", "verb", "task", "setting", "score", "last written (UTC)", "state"}};
  for (const auto& run : runs) {
    const std::string written = fmt::format("{:%F %H:%M}", fmt::gmtime(run.written));
    if (run.scores.empty()) lines.push_back({run.folder.string(), run.verb, "-", "-", "-", written, run.state});
    for (const auto& score : run.scores)
      lines.push_back(
          {run.folder.string(), run.verb, score.task, score.setting, score_text(score), written, run.state});
  }
  print_columns(lines);
  return 0;
}

void show_tuned(const FoundRun& run) {
  for (const auto& score : run.scores)
    fmt::print("task:    {}\nmethod:  {}\nscore:   {}\n", score.task, score.setting, score_text(score));
  const nlohmann::json summary = read_summary(run.folder);
  if (summary.is_object() && summary.contains("train_seconds")) {
    const double seconds = summary.at("train_seconds").get<double>();
    fmt::print("trained: {} steps in {}, {} of {} parameters\n", summary.value("steps", std::int64_t{0}),
               human_seconds(seconds), grouped(summary.value("trainable_parameters", std::int64_t{0})),
               grouped(summary.value("base_parameters", std::int64_t{0})));
  }
  for (const char* name : {"adapter", "model", "report.html"}) {
    if (fs::exists(run.folder / name)) fmt::print("holds:   {}\n", (run.folder / name).string());
  }
}

void show_evaluation(const FoundRun& run) {
  const nlohmann::json results = read_results(run.folder);
  if (results.contains("command")) fmt::print("command: {}\n\n", results.at("command").get<std::string>());
  const auto tasks = evaluated_tasks(run.folder);
  for (const auto& task : tasks) {
    print_evaluated(task);
    print_slices(task);
  }
  print_overview(tasks);
}

void show_comparison(const FoundRun& run) {
  Lines lines = {{"task", "variant", "score"}};
  for (const auto& score : run.scores) lines.push_back({score.task, score.setting, score_text(score)});
  print_columns(lines);
  if (fs::exists(run.folder / "report.html")) fmt::print("holds:   {}\n", (run.folder / "report.html").string());
  fmt::print("its runs: graft runs list {}\n", run.folder.string());
}

void show(const std::string& folder) {
  const auto run = found_run(folder);
  if (!run)
    fail(Category::NotFound, folder,
         "holds nothing that graft tune, compare or eval wrote; graft runs list {} shows what is below it", folder);
  fmt::print("{}: graft {}, {}\nmodel:   {}\n", folder, run->verb, run->state, run->model);
  try {
    if (run->verb == "tune") return show_tuned(*run);
    if (run->verb == "compare") return show_comparison(*run);
    show_evaluation(*run);
  } catch (const nlohmann::json::exception& error) {
    fail(Category::Corruption, folder, "holds a file that is not as graft writes it ({})", error.what());
  }
}

int show() {
  if (arguments.folders.empty()) fail(Category::InvalidArgument, "graft runs show", "name a run folder");
  for (const auto& folder : arguments.folders) show(folder);
  return 0;
}

std::vector<std::string> compared_line(const ComparedAnswers& one) {
  const auto& [difference, interval, p] = one.difference;
  const ReportScore score{difference, interval.low, interval.high};
  const bool share = !is_text_metric(one.metric) && is_share(one.metric);
  return {one.task.empty() ? "-" : one.task,
          one.first,
          one.second,
          grouped(one.questions),
          one.metric,
          found_value(one.metric, one.first_score),
          found_value(one.metric, one.second_score),
          share ? points_text(score) : text_difference_text({score, p}),
          p_value_text(p),
          one.mcnemar ? p_value_text(one.mcnemar->p_value) : "-",
          one.mcnemar ? fmt::format("{} : {}", one.mcnemar->only_first, one.mcnemar->only_second) : "-"};
}

int compare() {
  const auto& folders = arguments.folders;
  if (folders.empty() || folders.size() > 2)
    fail(Category::InvalidArgument, "graft runs compare", "takes two run folders, or one, not {}", folders.size());
  const auto all = compare_answers(folders.front(), folders.back(), arguments.settings, arguments.metric);
  fmt::print("first:  {}\nsecond: {}\n", folders.front(), folders.back());
  Lines lines = {{"task", "first", "second", "questions", "metric", "first's", "second's", "difference (95%)", "p",
                  "McNemar p", "first : second alone"}};
  for (const auto& one : all) lines.push_back(compared_line(one));
  print_columns(lines);
  for (const auto& one : all) {
    if (one.others > 0)
      fmt::print("{} against {}: {} questions that one of both alone answered were left out\n", one.first, one.second,
                 grouped(one.others));
  }
  return 0;
}

int plot() {
  const Arguments& a = arguments;
  if (a.folders.empty()) fail(Category::InvalidArgument, "graft runs plot", "name the run folders to draw");
  const RunPlot made = plot_of(std::vector<fs::path>(a.folders.begin(), a.folders.end()), a.loss, a.metric);
  const LineChart& chart = made.chart;
  for (const auto& other : made.left_out)
    std::fprintf(stderr, "graft: note: %s is measured by another metric than %s and left out; --metric draws it\n",
                 other.c_str(), made.metric.c_str());
  write_file(a.output, svg_file(draw(chart)));
  fmt::print("{}: {}, {} {}\n", a.output, chart.title, chart.series.size(),
             chart.series.size() == 1 ? "curve" : "curves");
  return 0;
}

int run() {
  if (arguments.action == "list") return list();
  if (arguments.action == "show") return show();
  return arguments.action == "compare" ? compare() : plot();
}

}  // namespace

namespace cli {
extern const Verb runs;
const Verb runs{"runs", "list, show, compare and draw what was tuned and evaluated",
                "  graft runs list runs/\n"
                "  graft runs show runs/bbc\n"
                "  graft runs compare runs/bbc-ia3 runs/bbc-lora\n"
                "  graft runs compare runs/eval-rte --setting 0-shot --setting 8-shot\n"
                "  graft runs compare runs/e2e-ia3 runs/e2e-lora --metric rougeL\n"
                "  graft runs plot runs/eval-rte runs/eval-cb --output shots.svg\n"
                "  graft runs plot runs/curve --output examples.svg\n"
                "  graft runs plot runs/bbc-ia3 runs/bbc-lora --loss --output loss.svg\n",
                declare, run};
}  // namespace cli
}  // namespace graft
