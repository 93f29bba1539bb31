#include "cli/core/found_runs.h"

#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "cli/core/comparison_run.h"
#include "cli/core/eval_record.h"
#include "cli/core/eval_results.h"
#include "cli/core/evaluation.h"
#include "cli/core/in_context_run.h"
#include "cli/core/job.h"
#include "cli/core/mixture.h"
#include "data/task.h"
#include "report/markup.h"
#include "report/run_folder.h"
#include "statistics/bootstrap.h"
#include "statistics/metrics.h"
#include "statistics/text_metric.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

std::time_t last_written(const fs::path& folder) {
  std::time_t last = 0;
  for (const char* name : {"config.yaml", "metrics.jsonl", "summary.json", "results.json", "report.html"}) {
    struct stat status {};
    if (::stat((folder / name).c_str(), &status) == 0) last = std::max(last, status.st_mtime);
  }
  return last;
}

bool is_evaluation(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "results.json", ignored) && holds_evaluation(folder);
}

std::string task_of_run(const RunConfig& config) {
  if (!config.task.name.empty()) return short_task_name(config.task.name);
  std::vector<std::string> names;
  for (const auto& [task, data] : config.task.mixture) names.push_back(short_task_name(task));
  return names.empty() ? short_task_name(config.data.path) : fmt::format("{}", fmt::join(names, "+"));
}

// "accuracy" where there is one, else the first of the task's metrics.
std::string metric_of(const nlohmann::json& scores) {
  if (scores.contains("accuracy")) return "accuracy";
  for (const auto& [name, value] : scores.items()) {
    if (name != "seconds" && value.is_number()) return name;
  }
  return "";
}

// The first one that the task names, where its file is still there.
std::string metric_of_run(const RunConfig& config, const nlohmann::json& scores) {
  if (scores.contains("accuracy") || config.task.name.empty()) return metric_of(scores);
  try {
    for (const auto& metric : load_task(config.task.name).metrics) {
      if (scores.contains(metric)) return metric;
    }
  } catch (const Error&) {
    // What the summary says is all that is known.
  }
  return metric_of(scores);
}

std::optional<double> score_in(const nlohmann::json& summary, const char* phase, const std::string& metric) {
  if (!summary.contains(phase) || !summary.at(phase).contains(metric)) return std::nullopt;
  return summary.at(phase).at(metric).get<double>();
}

void read_tuned(FoundRun& run) {
  const RunConfig config = config_of_run(run.folder);
  run.model = config.model.path;
  FoundScore score{task_of_run(config), config.method.name, "", {}, {}};
  const nlohmann::json summary = read_summary(run.folder);
  if (summary.is_object() && summary.contains("before")) {
    score.metric = metric_of_run(config, summary.at("before"));
    score.before = score_in(summary, "before", score.metric);
    score.value = score_in(summary, "after", score.metric);
  }
  run.scores.push_back(score);
  std::error_code ignored;
  if (fs::exists(run.folder / "report.html", ignored)) return;  // the last file of a run
  if (is_in_context(config)) {
    run.state = "not all is answered";
    return;
  }
  const auto metrics = read_metrics(run.folder);
  run.state = fmt::format("step {} of {}", metrics.empty() ? 0 : metrics.back().step, config.train.steps);
}

FoundScore found_score(const EvaluatedTask& task, const EvaluatedRow& row) {
  FoundScore found{task.name, row.name, drawn_metric(task), {}, {}};
  if (const auto score = score_of(task, row, found.metric)) found.value = score->value;
  return found;
}

void read_evaluation(FoundRun& run) {
  const nlohmann::json results = read_results(run.folder);
  if (results.contains("model")) run.model = results.at("model").value("path", "");
  for (const auto& task : evaluated_tasks(run.folder))
    for (const auto& row : task.rows) run.scores.push_back(found_score(task, row));
}

// "rte.lora" of a run "rte.lora.seed0": how graft compare names the runs of a task and a variant.
std::optional<std::string> compared_name(const fs::path& run) {
  constexpr std::string_view kSeed = ".seed";
  const std::string name = run.filename().string();
  const std::size_t seed = name.rfind(kSeed), digits = seed + kSeed.size();
  if (seed == std::string::npos || digits == name.size()) return std::nullopt;
  const bool counted = name.find_first_not_of("0123456789", digits) == std::string::npos;
  if (!counted || name.find('.') == seed) return std::nullopt;
  return name.substr(0, seed);
}

// The runs of a folder of graft compare; none of any other.
std::vector<fs::path> compared_runs(const fs::path& folder) {
  std::vector<fs::path> runs;
  std::error_code error;
  for (fs::directory_iterator at(folder / "runs", error), end; !error && at != end; at.increment(error)) {
    if (!RunFolder::is_run(at->path())) continue;
    if (!compared_name(at->path())) return {};
    runs.push_back(at->path());
  }
  std::sort(runs.begin(), runs.end());
  return runs;
}

std::optional<double> median_of(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return quantile(values, 0.5);
}

struct OverSeeds {
  std::string task, metric;
  std::vector<double> before, value;  // of each seed that has measured it
  std::size_t seeds = 0;
};

FoundScore found_score(const std::string& name, const OverSeeds& variant) {
  std::string setting = name.substr(name.find('.') + 1);
  if (variant.seeds > 1) setting += fmt::format(" ({} seeds)", variant.seeds);
  return {variant.task, setting, variant.metric, median_of(variant.before), median_of(variant.value)};
}

FoundRun comparison_of(const fs::path& folder, const std::vector<fs::path>& members) {
  FoundRun run;
  run.folder = folder;
  run.verb = "compare";
  run.written = last_written(folder);
  std::map<std::string, OverSeeds> variants;
  std::size_t done = 0;
  for (const auto& member : members) {
    const auto one = found_run(member);
    if (!one) continue;
    run.model = one->model;
    run.written = std::max(run.written, one->written);
    done += one->state == "done";
    OverSeeds& variant = variants[*compared_name(member)];
    ++variant.seeds;
    for (const auto& score : one->scores) {
      variant.task = score.task;
      variant.metric = score.metric;
      if (score.before) variant.before.push_back(*score.before);
      if (score.value) variant.value.push_back(*score.value);
    }
  }
  for (const auto& [name, variant] : variants) run.scores.push_back(found_score(name, variant));
  run.state = done == members.size() ? "done" : fmt::format("{} of {} runs done", done, members.size());
  return run;
}

std::vector<Point> scores_of(const fs::path& folder, const nlohmann::json& summary, const std::string& metric) {
  std::vector<Point> points;
  if (const auto before = score_in(summary, "before", metric)) points.push_back({0, *before});
  for (const auto& line : read_metrics(folder)) {
    if (const auto found = line.scores.find(metric); found != line.scores.end())
      points.push_back({static_cast<double>(line.step), found->second});
  }
  const auto after = score_in(summary, "after", metric);
  if (!after) return points;
  const auto steps = static_cast<double>(summary.value("steps", std::int64_t{0}));
  // The adapter that was kept may be of an earlier step: what the last one measured stays.
  if (points.empty() || points.back().x < steps) points.push_back({steps, *after});
  return points;
}

std::vector<Point> losses_of(const fs::path& folder) {
  std::vector<Point> points;
  for (const auto& line : read_metrics(folder)) {
    if (line.loss) points.push_back({static_cast<double>(line.step), *line.loss});
  }
  return points;
}

bool is_fraction(const std::string& metric) {
  const auto& names = choice_metric_names();
  return is_share(metric) && std::find(names.begin(), names.end(), metric) != names.end();
}

// Adds what is measured by the plot's metric; the first that has something to draw settles it where nobody did.
void add(RunPlot& plot, Series series, const std::string& metric) {
  if (series.points.empty()) return;
  if (plot.metric.empty()) plot.metric = metric;
  if (plot.metric == metric) {
    plot.chart.series.push_back(std::move(series));
  } else {
    plot.left_out.push_back(fmt::format("{} ({})", series.name, metric));
  }
}

void add_shots(RunPlot& plot, const fs::path& folder, const std::string& wanted) {
  for (const auto& task : evaluated_tasks(folder)) {
    const std::string metric = wanted.empty() ? drawn_metric(task) : wanted;
    const std::string name = fmt::format("{} {}", folder.string(), task.name);
    Series series{name, {}, false, true};
    for (const auto& row : task.rows) {
      if (task.graded && !row.adapted() && !row.calibrated) add_over_runs(series, task, row, metric);
    }
    add(plot, std::move(series), metric);
    for (auto& own : adapter_curves(task, metric)) {
      if (own.points.size() < 2) continue;  // it read no demonstrations
      own.name = fmt::format("{} {}", name, own.name);
      add(plot, std::move(own), metric);
    }
  }
}

// "rte.ia3" of "rte.ia3.shots8", which graft compare names a variant on several numbers of examples.
std::string without_shots(const std::string& name) {
  constexpr std::string_view kShots = ".shots";
  const std::size_t shots = name.rfind(kShots);
  const bool counted =
      shots != std::string::npos && name.find_first_not_of("0123456789", shots + kShots.size()) == std::string::npos;
  return counted ? name.substr(0, shots) : name;
}

constexpr const char* kExamplesInAll = "training examples";

// The scores of the seeds, by the number of examples. Of runs that are not at their end there are none.
struct Examples {
  std::string metric;
  bool of_each_class = true;
  std::map<std::int64_t, std::vector<double>> scores;
};

std::map<std::string, Examples> examples_of(const fs::path& folder, const std::string& wanted) {
  std::map<std::string, Examples> variants;
  for (const auto& member : compared_runs(folder)) {
    const nlohmann::json summary = read_summary(member);
    if (!summary.is_object() || !summary.contains("after")) continue;
    const RunConfig config = config_of_run(member);
    const std::string metric = wanted.empty() ? metric_of_run(config, summary.at("before")) : wanted;
    const auto score = compared_score(summary, "after", metric);
    if (!score || config.data.shots == 0) continue;
    Examples& variant = variants[without_shots(*compared_name(member))];
    variant.metric = metric;
    variant.of_each_class = config.data.balanced;
    variant.scores[config.data.shots].push_back(*score);
  }
  return variants;
}

void add_examples(RunPlot& plot, const fs::path& folder, const std::string& wanted) {
  for (const auto& [name, variant] : examples_of(folder, wanted)) {
    if (variant.scores.size() < 2) continue;
    Series series{fmt::format("{} {}", folder.string(), name), {}, false, true};
    for (const auto& [shots, scores] : variant.scores) {
      const ReportScore score = quartiles_of(scores);
      series.points.push_back({static_cast<double>(shots), score.value});
      series.band.emplace_back(score.low, score.high);
    }
    add(plot, std::move(series), variant.metric);
    if (!variant.of_each_class) plot.chart.x_label = kExamplesInAll;
  }
}

void add_steps(RunPlot& plot, const fs::path& folder, bool loss, const std::string& wanted) {
  if (!RunFolder::is_run(folder))
    fail(Category::InvalidArgument, folder.string(), "is no folder that graft tune, compare or eval wrote");
  if (loss) return add(plot, {folder.string(), losses_of(folder), true, false}, "loss");
  const nlohmann::json summary = read_summary(folder);
  std::string metric = wanted;
  if (metric.empty() && summary.is_object() && summary.contains("before"))
    metric = metric_of_run(config_of_run(folder), summary.at("before"));
  if (metric.empty()) metric = "accuracy";
  add(plot, {folder.string(), scores_of(folder, summary, metric), false, true}, metric);
}

// What the horizontal axis of a folder counts.
enum class Drawn { Shots, Examples, Steps };

Drawn drawn_of(const fs::path& folder) {
  if (is_evaluation(folder)) return Drawn::Shots;
  return !RunFolder::is_run(folder) && !compared_runs(folder).empty() ? Drawn::Examples : Drawn::Steps;
}

void add_curves(RunPlot& plot, const fs::path& folder, Drawn kind, bool loss, const std::string& wanted) {
  try {
    if (kind == Drawn::Shots) return add_shots(plot, folder, wanted);
    if (kind == Drawn::Examples) return add_examples(plot, folder, wanted);
    add_steps(plot, folder, loss, wanted);
  } catch (const nlohmann::json::exception& error) {
    fail(Category::Corruption, folder.string(), "holds a file that is not as graft writes it ({})", error.what());
  }
}

std::string nothing_to_draw(Drawn kind, bool loss, const std::string& metric) {
  if (loss) return "no loss was measured yet";
  if (kind == Drawn::Examples)
    return "two or more numbers of training examples make a curve (graft compare --shots 4,8,16)";
  return fmt::format("no {} was measured yet", metric.empty() ? "accuracy" : metric);
}

}  // namespace

std::string found_value(const std::string& metric, double value) {
  return is_fraction(metric) ? percent(value) : number(value);
}

std::optional<FoundRun> found_run(const fs::path& folder) {
  const bool evaluation = is_evaluation(folder);
  if (!evaluation && !RunFolder::is_run(folder)) {
    const auto members = compared_runs(folder);
    return members.empty() ? std::nullopt : std::optional(comparison_of(folder, members));
  }
  FoundRun run;
  run.folder = folder;
  run.verb = evaluation ? "eval" : "tune";
  run.state = "done";
  run.written = last_written(folder);
  try {
    if (evaluation) {
      read_evaluation(run);
    } else {
      read_tuned(run);
    }
  } catch (const Error& error) {
    run.state = error.what();
  } catch (const nlohmann::json::exception& error) {
    run.state = fmt::format("cannot be read ({})", error.what());
  }
  return run;
}

std::string told_text_metric(const fs::path& path, const std::string& task) {
  std::error_code ignored;
  const auto run = found_run(fs::is_directory(path, ignored) ? path : path.parent_path());
  if (!run) return "";
  for (const auto& score : run->scores) {
    if ((task.empty() || score.task == task) && is_text_metric(score.metric)) return score.metric;
  }
  return "";
}

std::vector<FoundRun> find_runs(const fs::path& home) {
  std::error_code error;
  if (!fs::is_directory(home, error))
    fail(Category::NotFound, home.string(), "no such folder; name the folder that your runs are in");
  std::vector<FoundRun> runs;
  if (auto run = found_run(home); run && run->verb != "compare") runs.push_back(std::move(*run));
  auto it = fs::recursive_directory_iterator(home, fs::directory_options::skip_permission_denied, error);
  for (; it != fs::recursive_directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    if (!it->is_directory(ignored)) continue;
    auto run = found_run(it->path());
    if (!run) continue;
    runs.push_back(std::move(*run));
    it.disable_recursion_pending();  // what is in a run is its own
  }
  if (error) fail(Category::Io, home.string(), "cannot be read: {}", error.message());
  std::stable_sort(runs.begin(), runs.end(),
                   [](const FoundRun& a, const FoundRun& b) { return a.written > b.written; });
  return runs;
}

std::vector<EvaluatedTask> evaluated_tasks(const fs::path& folder) {
  const nlohmann::json results = read_results(folder);
  if (!results.is_object()) fail(Category::NotFound, folder.string(), "holds no results.json of graft eval");
  std::vector<EvaluatedTask> tasks;
  try {
    for (const auto& task : results.at("tasks")) tasks.push_back(evaluated_of(task));
  } catch (const nlohmann::json::exception& error) {
    fail(Category::Corruption, (folder / "results.json").string(), "is not as graft eval writes it ({})", error.what());
  }
  return tasks;
}

RunPlot plot_of(const std::vector<fs::path>& folders, bool loss, const std::string& metric) {
  RunPlot plot;
  const Drawn kind = drawn_of(folders.front());
  if (kind != Drawn::Steps && loss)
    fail(Category::InvalidArgument, "--loss", "is of the runs of graft tune, and {} is of graft {}; leave it out",
         folders.front().string(), kind == Drawn::Shots ? "eval" : "compare");
  if (loss && !metric.empty())
    fail(Category::InvalidArgument, "--loss", "is drawn in place of a metric; leave --metric out");
  for (const auto& folder : folders) {
    if (drawn_of(folder) != kind)
      fail(Category::InvalidArgument, folder.string(),
           "is of another verb than {}: evaluations are drawn over demonstrations, comparisons over training examples, "
           "tuning runs over steps; draw them apart",
           folders.front().string());
    add_curves(plot, folder, kind, loss, metric);
  }
  LineChart& chart = plot.chart;
  if (chart.series.empty())
    fail(Category::InvalidArgument, folders.front().string(), "holds nothing to draw: {}",
         nothing_to_draw(kind, loss, metric));
  const std::string what = loss ? "training loss" : plot.metric;
  const std::string over = kind == Drawn::Shots ? "demonstrations" : kind == Drawn::Examples ? kExamplesInAll : "step";
  if (chart.x_label.empty()) chart.x_label = kind == Drawn::Examples ? over + " a class" : over;
  chart.y_label = what;
  chart.title = fmt::format("{} by {}{}", what, kind == Drawn::Steps ? "" : "the number of ", over);
  chart.percent = is_fraction(plot.metric);
  chart.log_x = kind != Drawn::Steps;
  chart.whole_x = true;
  chart.width = 720;
  chart.height = 400;
  return plot;
}

}  // namespace graft
